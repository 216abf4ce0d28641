"""compress.py: what it decides, what it leaves, what it refuses, and going on after a kill."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import compress
import slim_prune
import train
from models import Darknet
from tests.support.prune_case import prune_by_flags
from tests.support.training_project import run as train_project
from tests.support.training_project import write_project
from utils.chains.compress import decisions
from utils.chains.compress.chance import Drop
from utils.chains.compress.decisions import Order, best_of, default_epochs, orders, split
from utils.chains.compress.estimate import Pace
from utils.chains.compress.flags import read_flags
from utils.chains.compress.job import Amount, Job
from utils.chains.compress.latency import _measured_ms, pass_in_runtime
from utils.chains.compress.options import CompressOptions, Goals, Machine
from utils.chains.compress.stages import Line, Tools
from utils.chains.journal import Journal
from utils.command.errors import UserError
from utils.command.machine.timing import Latency
from utils.detection.options import Inputs, Scoring
from utils.network.weights import load_checkpoint
from utils.pruning.goals.table_file import (
    LayerTimes,
    TableFile,
    read_table_file,
    write_table_file,
)
from utils.pruning.sensitivity.caps import cfg_hash
from utils.training.flags import make_parser, typed_flags

QUICK = ("--epochs", "6", "--batch-size", "2", "--workers", "0", "--device", "cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with a network that finds the squares: base.pt."""
    folder = tmp_path_factory.mktemp("trained")
    write_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        flags = ("--epochs", "40", "--lr0", "0.01", "--mosaic", "0", "--notest", "--name", "base")
        shutil.copyfile(train_project(*flags) / "last.pt", "base.pt")
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it, as the working directory. A cut is never free there, so that all stages run."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(decisions, "FREE", -1.0)
    yield tmp_path


def run(*flags: str, output: str = "out") -> object:
    goals = ("--keep", "--latency", "--max-map")
    named = any(flag.startswith(goals) for flag in flags)
    goal = flags if named else ("--keep-params", "0.5", *flags)
    words = ["--weights", "base.pt", "--data", "my.data", "--img-size", "32", *QUICK]
    return compress.main([*words, *goal, "--output", output])


def weights_of(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).glob("out*.weights")}


def commands_of(folder: str) -> dict[str, list[str]]:
    text = Path(folder, "recipe.yaml").read_text()
    found = re.findall(r"- name: (.*)\n    words: (.*)\n", text)
    return {json.loads(name): json.loads(words) for name, words in found}


def test_it_hands_over_a_smaller_pair_a_page_and_a_recipe(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in (Path("base.pt"), Path("weights/last.pt"))}
    run("--export", "opencv")
    said = capsys.readouterr().out
    model = Darknet("out/out.cfg", weights="out/out.weights")
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters <= 0.5 * 950
    page = Path("out/report/report.html").read_text()
    assert "What was decided, and why" in page and "<li>Ranking: " in page
    assert "Detections of base and out" in page and "Detections of cut and out" in page
    assert list(commands_of("out")) == ["aim", "pulled", "cut", "tuned"]
    assert "Ranking: " in said and "% of the parameters are gone" in said
    # No copies of its inner runs lie over those of the user's.
    assert {path: path.read_bytes() for path in before} == before


def test_the_commands_of_the_recipe_give_the_same_weights(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the widths are those of a search, whose file stays in the run's folder."""
    monkeypatch.setattr(decisions, "best_of", lambda scores, _: len(scores) - 1)
    run("--search")
    tuned = Path("out/train/tuned/last.pt")
    model, cut = load_checkpoint(tuned)["model"], Path("out/cut/cut.weights").read_bytes()
    commands = commands_of("out")
    assert "out/search/widths-3.json" in commands["aim"] and "--widths" in commands["cut"]
    for folder in ("train", "aim", "cut"):
        shutil.rmtree(Path("out", folder))
    for script, *words in commands.values():
        if script == "train.py":
            train.main(words)
        else:
            prune_by_flags(slim_prune.STRATEGY, words)
    again = load_checkpoint(tuned)["model"]
    assert Path("out/cut/cut.weights").read_bytes() == cut
    assert all((again[key] == model[key]).all() for key in model)
    # Control: with another seed they do not.
    train.main([*commands["tuned"][1:], "--seed", "7"])
    assert any((load_checkpoint(tuned)["model"][key] != model[key]).any() for key in model)


@pytest.mark.parametrize(("pulled", "cut_from"), [(0.4, "pulled/last.pt"), (0.1, "out/base.pt")])
def test_a_pull_that_leaves_less_than_a_cut_at_once_is_undone(
    project: Path, monkeypatch: pytest.MonkeyPatch, pulled: float, cut_from: str
) -> None:
    def scores(job: Job, model: Inputs, words: object, ways: tuple[object, ...]) -> list[float]:
        return [0.3 if model == job.base else pulled] * len(ways)

    monkeypatch.setattr("utils.chains.compress.choices.scored_cuts", scores)
    run()
    cut = commands_of("out")["cut"]
    assert cut[cut.index("--weights") + 1].endswith(cut_from)


class KilledError(Exception):
    """Stands for a kill."""


SLOW = [pytest.param(at, marks=pytest.mark.slow) for at in (1, 4, 9, 10, 11, 12)]


@pytest.mark.parametrize("at", [7, *SLOW])
def test_killed_and_resumed_it_ends_with_the_same_weights(
    project: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """KilledError at a moment when something was done and is not written down yet."""
    run(output="whole/out")
    saved, save = 0, Journal.save

    def bomb(journal: Journal) -> None:
        nonlocal saved
        saved += 1
        if saved == at + 1:
            raise KilledError
        save(journal)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "save", bomb)
        with pytest.raises(KilledError):
            run()
    assert not Path("out/out.weights").is_file() or at > 10
    compress.main(["--resume", "out"])
    assert weights_of("out") == weights_of("whole/out") != {}
    before = Path("out/out.weights").stat().st_mtime_ns
    compress.main(["--resume", "out"])  # nothing is left to do
    assert Path("out/out.weights").stat().st_mtime_ns == before


def test_killed_within_a_training(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(output="whole/out")
    from utils.training import record

    epochs, finish = 0, record.Record.epoch

    def bomb(self: record.Record, *args: object, **kwargs: object) -> object:
        nonlocal epochs
        epochs += 1
        if epochs == 4:  # two of the pull, one of the finetuning are done
            raise KilledError
        return finish(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "epoch", bomb)
        with pytest.raises(KilledError):
            run()
    assert "tuned" not in Journal.load("out", "--resume", "compress.py").content["commands"]
    compress.main(["--resume", "out"])
    assert weights_of("out") == weights_of("whole/out")


def test_as_small_as_a_drop_allows(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decisions, "SIZES", (0.8, 0.6, 0.4))
    run("--max-map-drop", "1")
    said = capsys.readouterr().out
    assert "At 40.0%" in said and "--max-map-drop 1: held" in said  # all hold


def test_where_no_size_is_sure_to_hold_the_nearest_is_handed_over(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second, larger one: it loses as much, with less of a spread."""
    drops = iter([Drop(0.5, 0.9), Drop(0.5, 0.6)])
    monkeypatch.setattr(decisions, "SIZES", (0.8, 0.6))
    monkeypatch.setattr("utils.chains.compress.smallest.drop_between", lambda *_: next(drops))
    monkeypatch.setattr("utils.chains.compress.smallest._lost", lambda *_: 0.0)
    run("--max-map-drop", "0.1")
    said = capsys.readouterr().out
    assert "At 60.0%: 0.500 lost, at most 0.900 with 90%: not sure to hold" in said
    assert "No size that was tried is sure to hold in 6 epochs; this one, 7" in said
    assert Path("out/out.weights").is_file()


def test_a_size_and_a_drop_that_contradict_each_other(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("utils.chains.compress.smallest.drop_between", lambda *_: Drop(0.03, 0.05))
    run("--keep-params", "0.5", "--max-map-drop", "0.01")
    said = capsys.readouterr().out
    assert "0.030 lost, at most 0.050 with 90%" in said
    assert "contradict each other" in said and "--max-map-drop 0.01 alone finds" in said


def write_table(path: Path, whole_ms: float = 60.0) -> None:
    """A table in which time is MACs."""
    layers = [layer for layer in Darknet("my.cfg", (32, 32)).rules if layer.macs()]
    times = tuple(
        LayerTimes(
            (layer.index,), (1, layer.inputs[0][0]), (1, layer.shape[0]),
            tuple(
                tuple(a * b * layer.macs() / layer.inputs[0][0] / layer.shape[0] / 1e3
                      for b in (1, layer.shape[0]))
                for a in (1, layer.inputs[0][0])
            ),
            False,
        )
        for layer in layers
    )  # fmt: skip
    whole = {"median": whole_ms, "p10": whole_ms, "p90": whole_ms}
    text = cfg_hash(Darknet("my.cfg", (32, 32)).cfg)
    write_table_file(TableFile(text, (32, 32), "onnx", "a board", whole, times), path)


def test_times_of_another_device(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(Path("board.json"))
    run("--latency-ms", "45", "--latency-table", "board.json")
    said = capsys.readouterr().out
    told = re.search(r"Latency \(onnx, a board\): goal 45 ms, ([\d.]+) by the table, not", said)
    assert told is not None and 20 < float(told[1]) <= 45
    cut = commands_of("out")["cut"]
    assert "out/latency.json" in cut and "--round-to" in cut
    Path("board.json").unlink()  # the run has its own
    assert Path("out/latency.json").is_file()
    write_table(Path("board.json"), 44.0)
    with pytest.raises(UserError, match=r"the network takes 44\.000 ms as it is"):
        run("--latency-ms", "45", "--latency-table", "board.json", output="out2")


def test_a_latency_is_aimed_at_until_it_holds_end_to_end(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cut takes 1.25 times what the table says; so the aim becomes as much less."""
    monkeypatch.setattr(decisions, "FREE", 1.0)  # no pull
    tables: list[Path] = []

    def table(model: object, runtime: str, *_: object) -> TableFile:
        assert runtime == "opencv"
        write_table(Path("board.json"))
        tables.append(Path("board.json"))
        return read_table_file("board.json")

    def measured(job: object, model: object, amount: Amount, as_it_is: object) -> float:
        aim = float(amount.words[amount.words.index("--target-latency-ms") + 1])
        return 1.25 * aim

    monkeypatch.setattr("utils.chains.compress.latency.measure_table_file", table)
    monkeypatch.setattr("utils.chains.compress.latency._measured_ms", measured)
    monkeypatch.setattr("utils.chains.compress.ending.at_the_tables_speed", lambda *_: 44.0)
    # Its kernels like multiples of 8, and here are no more than 8 channels in a layer.
    with pytest.raises(UserError, match=r"its floor, 5% of its channels in multiples of 8 \(--for"):
        run("--latency-ms", "45", "--runtime", "opencv", output="of8")
    run("--latency-ms", "45", "--runtime", "opencv", "--for", "mnn")
    said = capsys.readouterr().out
    assert "Milliseconds in opencv: 45 by the table are 56.2, 36 by the table are 45; the" in said
    assert re.search(
        r"Milliseconds of an image in opencv: \S+ \(.*\) -> .*measured at: 44 .*: held", said
    )
    cut = commands_of("out")["cut"]
    assert cut[cut.index("--target-latency-ms") + 1] == "36.0"
    assert len(tables) == 2  # one a run: all its prunes go by it


def test_what_a_cut_takes_is_measured_in_the_runtime(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = Tools(Darknet, train.main, slim_prune.STRATEGY)
    line = Line(Journal.start("out", "--output", "compress.py", {}), tools, Path("my.data"), None)  # type: ignore[arg-type]
    model = Inputs("base.pt", "base.pt", (32, 32))
    goals = Goals(latency_ms=5.0, runtime="opencv")
    machine = Machine(2, 0, "cpu")
    options = CompressOptions(model, "my.data", goals, machine=machine, made_for="mnn")
    job = Job(options, line, model, model, Scoring(), 1.0, 1.0, Pace(1.0, 0.0), 6, 2, 7, 7)
    write_table(Path("out/latency.json"), whole_ms=60.0)
    monkeypatch.setattr(
        "utils.chains.compress.latency.time_alternately_ms",
        lambda calls, *_: [Latency(3.0 * len(calls), 3.0, 9.0), Latency(4.0, 2.0, 5.0)],
    )
    as_it_is = pass_in_runtime(job, model)

    def measured_ms(share: str) -> float | None:
        amount = Amount(Order("bn"), ("--target-params", share))
        return _measured_ms(job, model, amount, lambda: as_it_is)

    assert measured_ms("0.5") == pytest.approx(60 * 2 / 3)  # whatever else the machine does
    assert measured_ms("0.0001") is None


def test_what_cannot_be(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UserError, match=r"--keep-params 0\.001: cannot be.*its floor, 2%.* at least"
    ):
        run("--keep-params", "0.001", output="a")
    assert not Path("a").exists()  # so that the name is free for another goal
    blind = Darknet("my.cfg")
    torch.nn.init.constant_(blind.layers[2].get_parameter("conv.bias"), -30.0)
    blind.save_weights("fresh.weights")
    shutil.copyfile("my.cfg", "fresh.cfg")
    words = ["--data", "my.data", "--img-size", "32", *QUICK, "--keep-params", "0.5"]
    with pytest.raises(UserError, match=r"fresh\.weights: finds nothing.*python train\.py"):
        compress.main(["--weights", "fresh.weights", *words, "--output", "b"])
    with pytest.raises(UserError, match="an epoch takes"):
        words = ["--weights", "base.pt", "--data", "my.data", "--img-size", "32", *QUICK[2:]]
        compress.main([*words, "--keep-params", "0.5", "--hours", "1e-9", "--output", "c"])


def test_a_dry_run_trains_nothing_and_can_go_on(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--dry-run")
    said = capsys.readouterr().out
    assert re.search(r"Plan: 2 epochs of pulling what \S+.* would cut, the cut, 4 epochs", said)
    assert not Path("out/train").exists() and not Path("out/out.weights").exists()
    compress.main(["--resume", "out"])
    assert Path("out/out.weights").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "what is the goal"),
        (["--keep-params", "0.5", "--epochs", "3", "--hours", "1"], "give one"),
        (["--file-kb", "-3"], "--file-kb: must be a positive number"),
        (["--keep-params", "1"], "leaves all of it"),
        (["--keep-params", ".5", "--runtime", "onnx"], "give --latency-ms, too"),
        (["--keep-params", ".5", "--latency-table", "x.json"], "give --latency-ms, too"),
        (["--latency-ms", "9", "--latency-table", "x", "--runtime", "onnx"], "give one of the two"),
        (["--latency-ms", "0"], "--latency-ms: must be a positive number"),
        (["--latency-ms", "9", "--search"], "--search: finds widths within --keep-params"),
        (["--max-map-drop", "0.1", "--search"], "--search: finds widths within --keep-params"),
        (["--keep-params", "0.5", "--resume", "x"], "a resumed run keeps its flags"),
    ],
)
def test_flags(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_flags(None, ["--weights", "my.pt", "--data", "my.data", *words])


def test_goals_become_targets() -> None:
    words = Goals(0.25, 0.3, file_kb=2.0).words(file_bytes=8000)
    assert words == ["--target-params", "0.25", "--target-macs", "0.3", "--target-file", "0.25"]
    with pytest.raises(UserError, match="8 KB as it is"):
        Goals(file_kb=9).words(8000)


def test_decisions() -> None:
    assert (split(30, True), split(30, False)) == (
        decisions.Epochs(10, 20, 4), decisions.Epochs(0, 30, 4),
    )  # fmt: skip
    assert split(4, True).pull == 0  # a pull of one epoch frees nothing
    assert best_of([0.3, 0.305, 0.2]) == 0 and best_of([0.3, 0.32, 0.2]) == 1
    assert best_of([0.3, 0.32, 0.2], images=16) == 0 and best_of([0.3, 0.35], images=16) == 1
    assert [default_epochs(n) for n in (10, 300, 1000, 100_000)] == [80, 55, 30, 8]
    assert [decisions.search_trials(False, s, 0.5) for s in (1, 9, 10, 30, 900)] == [
        0, 0, 20, 60, 200,
    ]  # fmt: skip
    assert decisions.search_trials(True, 1, 0.5) == 20
    assert "taylor:macs" in map(str, orders(Goals(keep_macs=0.5)))
    assert str(orders(Goals(keep_params=0.5, keep_macs=0.5))[0]) == "taylor:params"
    assert str(orders(Goals(keep_params=0.25))[0]) == "taylor"
    assert all(":" not in str(order) for order in orders(Goals(latency_ms=3.0)))


@pytest.mark.parametrize(
    ("file", "words"), [("pull.yaml", decisions.PULLING), ("finetune.yaml", decisions.FINETUNING)]
)
def test_the_files_for_people_say_what_is_decided(
    file: str, words: tuple[str, ...], root: Path
) -> None:
    parser = make_parser(None, tuple(train.STRATEGIES))
    same = ["--optimizer", "adamw"]  # which is what is taken where nothing is said
    told = typed_flags(parser, ["--hyp", str(root / "data/hyp" / file), *same])
    ours = typed_flags(parser, [*words, *same])
    assert {key for key, value in ours.items() if told[key] != value} == {"hyp"}
