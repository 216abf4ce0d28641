"""train.py: --freeze, stopbackward, --hyp, weights of other classes, copies, teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import train
from models import Darknet
from tests.support.nets import conv, head, net
from tests.support.training_project import CFG, content, run
from utils.command.errors import UserError
from utils.network.for_data.transfer import load_but_heads
from utils.training import build
from utils.training.flags import make_parser, with_hyp
from utils.training.optimization.freezing import Freezing
from utils.training.options import TrainOptions

STOP = CFG.replace("stride=4", "stride=4\nstopbackward=1")


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[int]:
    return {int(k.split(".")[1]) for k in after if not torch.equal(before[k], after[k])}


@pytest.mark.parametrize("flags", [("--freeze", "2"), ()])
def test_frozen_layers_stay_and_the_others_learn(project: Path, flags: tuple[str, ...]) -> None:
    if not flags:
        (project / "my.cfg").write_text(STOP)
    start = content(run("--epochs", "1", "--name", "a", "--lr0", "0") / "best.pt")["model"]
    weights = ("--weights", "runs/train/a/best.pt")
    after = content(run("--epochs", "1", *weights, *flags, "--no-ema", "-sr") / "last.pt")["model"]
    assert changed(start, after) == {2}
    (project / "my.cfg").write_text(CFG)
    free = content(run("--epochs", "1", *weights, "--no-ema") / "last.pt")["model"]
    assert changed(start, free) == {0, 1, 2}  # negative control


def test_stopbackward_with_a_number_holds_that_many_steps() -> None:
    model = Darknet(net(conv(4), conv(4, stopbackward=3), head()))
    freezing = Freezing.of(model.rules, 0, temporary=True)
    counts = []
    for step in range(5):
        model.train()
        freezing.apply(model.layers, step, anew=True)
        counts.append(sum(not module.training for module in model.layers))
        grads = [p.requires_grad for p in model.layers[1].parameters()]
        assert set(grads) == {step >= 3}
    assert counts == [2, 2, 2, 0, 0]
    assert Freezing.of(model.rules, 0, temporary=False).count(0) == 0


def test_layers_that_learn_later_do(project: Path) -> None:
    """SGD's momenta of theirs begin when the others' are there already."""
    (project / "my.cfg").write_text(CFG.replace("stride=4", "stride=4\nstopbackward=2"))
    flags = ("--epochs", "1", "--hyp-from-cfg", "--no-ema", "--amp", "off")
    start = content(run(*flags, "--lr0", "0", "--name", "a") / "last.pt")["model"]
    weights = ("--weights", "runs/train/a/best.pt", "--lr0", "0.01", "--momentum", "0.9")
    after = content(run(*flags, *weights) / "last.pt")["model"]
    assert changed(start, after) == {0, 1, 2}


def test_hyper_parameters_of_a_file_give_way_to_flags(project: Path) -> None:
    (project / "h.yaml").write_text("lr0: 0.5\nbatch-size: 3\ncache_images: true\nmosaic: 0\n")
    parser = make_parser("", ("prune",))
    args = parser.parse_args(with_hyp(parser, ["--hyp", "h.yaml", "--lr0", "0.1"]))
    assert (args.lr0, args.batch_size, args.cache_images, args.mosaic) == (0.1, 3, True, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrO: 1", "lrO: no such"),
        ("weights: x.pt", "weights: no such"),
        ("lr0: fast", "lr0: 'fast' does not fit"),
        ("batch_size: 0", "batch_size: '0' does not fit"),
        ("optimizer: rmsprop", "optimizer: must be one of"),
        ("cache_images: 3", "resized images are kept in RAM only"),
        ("rect: 3", "must be true or false"),
        ("lr0: true", "must be a value"),
        ("- 1", "key: value"),
        ("a: [", "not YAML"),
        ("!!python/object/apply:os.system ['touch hacked']", "not YAML"),
    ],
)
def test_hyper_parameters_that_mean_nothing_are_errors(
    project: Path, text: str, message: str
) -> None:
    (project / "h.yaml").write_text(text)
    with pytest.raises(UserError, match=r"h\.yaml") as error:
        run("--hyp", "h.yaml", "--epochs", "1")
    assert message in str(error.value)
    assert not (project / "hacked").exists()


def test_the_hyper_parameters_that_we_ship_are_flags(root: Path) -> None:
    parser = make_parser("", tuple(train.STRATEGIES))
    files = sorted((root / "data" / "hyp").glob("*.yaml"))
    assert files
    for file in files:
        parser.parse_args(with_hyp(parser, ["--hyp", str(file)]))


def test_the_file_of_defaults_changes_nothing(root: Path) -> None:
    parser = make_parser("", tuple(train.STRATEGIES))
    plain = TrainOptions.of_flags(vars(parser.parse_args([]))).rates
    rates = {"optimizer": plain.kind, "lr0": plain.lr0, "momentum": plain.momentum}
    base = ["--hyp", str(root / "data" / "hyp" / "base.yaml")]
    args = parser.parse_args(with_hyp(parser, base))
    assert vars(args) == {**vars(parser.parse_args([])), **rates, "hyp": base[1]}


@pytest.mark.parametrize("kind", ["pt", "weights"])
def test_weights_for_other_classes_load_up_to_the_heads(project: Path, kind: str) -> None:
    other = Darknet(net(conv(8, stride=2), conv(8, stride=4), head(5)))
    mine = Darknet(net(conv(8, stride=2), conv(8, stride=4), head(2)))
    path = project / f"other.{kind}"
    if kind == "pt":
        torch.save({"format": 1, "cfg": "", "model": other.state_dict()}, path)
    else:
        other.save_weights(path)
    state = load_but_heads(path, mine.cfg, mine.state_dict())
    assert state is not None
    assert {int(key.split(".")[1]) for key in state} == {0, 1}
    assert all(torch.equal(tensor, other.state_dict()[key]) for key, tensor in state.items())
    wider = Darknet(net(conv(9, stride=2), conv(8, stride=4), head(2)))
    assert load_but_heads(path, wider.cfg, wider.state_dict()) is None  # negative control


def test_train_takes_weights_for_other_classes_unless_strict(project: Path) -> None:
    other = Darknet(net(conv(8, stride=2), conv(8, stride=4), head(7)))
    other.save_weights(project / "coco.weights")
    flags = ("--epochs", "1", "--weights", "coco.weights", "--lr0", "0", "--no-ema")
    after = content(run(*flags) / "best.pt")["model"]
    for index in (0, 1):
        key = f"layers.{index}.conv.weight"
        assert torch.equal(after[key], other.state_dict()[key])
    with pytest.raises(UserError, match=r"does not fit|left over"):
        run(*flags, "--strict-weights")


def test_checkpoints_are_left_where_people_know_them(project: Path) -> None:
    folder = run("--epochs", "1")
    for name in ("last.pt", "best.pt"):
        assert (project / "weights" / name).read_bytes() == (folder / name).read_bytes()
    (project / "weights" / "best.pt").write_bytes(b"mine")
    second = run("--epochs", "1", "--seed", "8")
    assert (project / "weights" / "best.pt").read_bytes() == b"mine"
    assert (project / "weights" / "last.pt").read_bytes() == (second / "last.pt").read_bytes()


def test_a_teacher_teaches_and_stays_as_it_is(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--epochs", "1", "--name", "t", "--seed", "5")
    teachers = []
    real = build.build_distiller

    def kept(*arguments: Any) -> Any:
        distiller = real(*arguments)
        state = {k: v.clone() for k, v in distiller.teacher.state_dict().items()}
        teachers.append((distiller.teacher, state))
        return distiller

    monkeypatch.setattr(build, "build_distiller", kept)
    teacher = ("--t-cfg", "my.cfg", "--t-weights", "runs/train/t/best.pt")
    rows = content(run("--epochs", "1", *teacher, "--distill", "1", "2") / "last.pt")["results"]
    assert rows[0]["loss/kd"] > 0
    ((network, before),) = teachers
    assert not network.training
    assert all(torch.equal(tensor, before[k]) for k, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--t-cfg", "my.cfg"), "knows nothing"),
        (("--t-weights", "x.weights"), "--t-cfg"),
        (("--t-cfg", "my.cfg", "--t-weights", "w.weights", "--distill", "feature"), "plan.json"),
    ],
)
def test_teachers_that_cannot_teach(project: Path, flags: tuple[str, ...], message: str) -> None:
    Darknet("my.cfg").save_weights("w.weights")
    with pytest.raises(UserError, match=message):
        run("--epochs", "1", *flags)
    assert not Path("runs").exists()


def test_sparse_runs_measure_their_statistics_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is saved has the statistics of its own weights, not an average of earlier ones."""
    flags = ("--epochs", "2", "-sr", "--s", "0.5", "--notest")
    fresh = content(run(*flags) / "last.pt")["model"]
    stale = content(run(*flags, "--remeasure", "0") / "last.pt")["model"]
    assert torch.equal(fresh["layers.0.bn.weight"], stale["layers.0.bn.weight"])
    assert not torch.allclose(fresh["layers.0.bn.running_var"], stale["layers.0.bn.running_var"])
