"""sensitivity.py from end to end: what it measures, its files, and going on after a kill."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import sensitivity
import slim_prune
from models import Darknet
from tests.support.prune_case import prune_by_flags
from utils.cfg import format_cfg
from utils.chains.journal import Journal
from utils.chains.sensitivity.subject import Subject
from utils.command.errors import UserError
from utils.detection.options import Inputs, Scoring
from utils.network.graph import channel_graph
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.report.result import Pruned
from utils.pruning.sensitivity.file import read_sensitivity
from utils.pruning.sensitivity.groups import make_cutter
from utils.pruning.sensitivity.record import Sensitivity, spearman
from utils.runtimes.val.options import ValOptions
from utils.runtimes.val.run import evaluate_files

GROUPS = [((0, 2), 8), ((1,), 6), ((4,), 10)]
FLAGS = [
    "--cfg", "my.cfg", "--weights", "my.pt", "--data", "my.data", "--development", "0.7",
    "--device", "cpu", "--workers", "0", "--batch-size", "4",
]  # fmt: skip


def measured(*flags: str, name: str = "out") -> Sensitivity:
    found = sensitivity.main([*FLAGS, *flags, "--output", name])
    assert isinstance(found, Sensitivity)
    return found


def contents(name: str) -> dict[str, bytes]:
    """Its files but for the state, which holds times; the page without the minute it began in."""
    found = {
        str(path.relative_to(name)): path.read_bytes()
        for path in sorted(Path(name).rglob("*"))
        # A kill in the middle of a write may leave a hidden file, never a half-written one.
        if path.is_file() and path.name != "state.json" and not path.name.startswith(".")
    }
    began = json.loads((Path(name) / "state.json").read_text())["started"]
    found["report.html"] = found["report.html"].replace(began.encode(), b"")
    return found


@pytest.mark.usefixtures("here")
def test_each_group_at_each_share(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured()
    assert [(curve.layers, curve.channels) for curve in found.curves] == GROUPS
    assert found.shares == tuple(k / 10 for k in range(1, 10))
    assert [point.gone for point in found.curves[2].points] == list(range(1, 10))
    assert found.base.map50 is not None and found.base.map50 > 0.5
    assert found.images.count == 5
    for curve in found.curves:
        for point in curve.points:
            assert point.scores.map50 is not None
            assert point.drop == found.base.map50 - point.scores.map50
    assert max(point.drop for curve in found.curves for point in curve.points) > 0.2
    assert read_sensitivity("out/sensitivity.json") == found
    with Path("out/sensitivity.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["drop"]) for row in rows] == [p.drop for c in found.curves for p in c.points]
    assert Path("out/sensitivity.png").stat().st_size > 10_000
    said = capsys.readouterr().out
    agreement = re.search(r"Fast against slow, loss \(Spearman\): \S+ over all points.*", said)
    assert agreement is not None
    page = Path("out/report.html").read_text()
    assert agreement.group() in page
    assert page.count("background:rgb(") == sum(p.gone > 0 for c in found.curves for p in c.points)


@pytest.mark.usefixtures("here")
def test_the_next_command_prunes_within_the_caps(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured()
    (line,) = [li for li in capsys.readouterr().out.splitlines() if "python slim_prune.py" in li]
    words = [word for word in shlex.split(line)[2:] if word != "--data"]
    words.remove("my.data")  # its validation list, which the prune would score on, is not there
    done = prune_by_flags(slim_prune.STRATEGY, [*words, "--global-percent", "0.9", "--dry-run"])
    assert isinstance(done, Pruned)  # the gate was passed
    most = {curve.layers[0]: curve.most_gone(0.005) for curve in found.curves}
    gone = {index: int((~done.plan.kept(index)).sum()) for index in most}
    assert gone == most
    free = prune_by_flags(slim_prune.STRATEGY, [*words[:4], "--global-percent", "0.9", "--dry-run"])
    assert isinstance(free, Pruned)  # negative control
    assert any((~free.plan.kept(index)).sum() > most[index] for index in most)


@pytest.mark.usefixtures("here")
def test_a_point_is_what_val_py_says_of_the_cut_network() -> None:
    """Of the whole network, by another way: written, read, and scored on the same images."""
    found = measured("--shares", "0.5")
    model = Darknet("my.cfg", weights="my.pt")
    graph = channel_graph(model.rules)
    rule = slim_prune.STRATEGY.channels
    assert rule is not None
    cutter = make_cutter(graph, batch_norm_scale(graph, model.state_dict()), rule, {})
    subject = Subject(Darknet, model, model.state_dict())
    scoring = Scoring("out/development/development.data", workers=0, device="cpu")
    for group, curve in zip(cutter.groups(), found.curves, strict=True):
        small = subject.cut(cutter.plan(group, 0.5))
        small.save_weights("cut.weights")
        Path("cut.cfg").write_text(format_cfg(small.cfg))
        whole = evaluate_files(ValOptions(Inputs("cut.cfg", "cut.weights"), scoring), Darknet)
        point = curve.points[0]
        assert (whole.map50, whole.map) == pytest.approx((point.scores.map50, point.scores.map))
        assert whole.map != pytest.approx(found.base.map)  # negative control


@pytest.mark.usefixtures("here")
def test_the_fast_form_ranks_as_the_slow_one_does() -> None:
    slow = measured("--measure", "loss", name="slow")
    fast = measured("--fast", name="fast")
    drops = [[p.drop for c in found.curves for p in c.points] for found in (slow, fast)]
    assert spearman(*drops) > 0.8
    assert spearman(drops[0], drops[1][::-1]) < 0.5  # negative control
    foretold = [[p.predicted for c in f.curves for p in c.points] for f in (slow, fast)]
    assert foretold[0] == foretold[1]
    assert fast.base.loss == slow.base.loss
    assert all(p.scores.loss is None for c in fast.curves for p in c.points)
    assert read_sensitivity("fast/sensitivity.json") == fast


@pytest.mark.usefixtures("here")
def test_chosen_layers_importance_and_recalibration() -> None:
    found = measured("--only", "1", "--shares", "0.5", "--importance", "l1", "--recalibrate", "2")
    assert [curve.layers for curve in found.curves] == [(1,)]
    assert (found.ranked.importance, found.ranked.normalize) == ("l1", "layer")
    assert found.recalibrate == 2
    plain = measured("--only", "1", "--shares", "0.5", "--importance", "l1", name="plain")
    assert found.base == plain.base
    assert found.curves[0].points[0].scores != plain.curves[0].points[0].scores


class Killed(BaseException):
    """In place of a signal: nothing catches it."""


@pytest.mark.usefixtures("here")
def test_after_a_kill_anywhere_the_files_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ("--shares", "0.3,0.6", "--recalibrate", "2")
    measured(*flags)
    Path("out").rename("whole")
    real = Journal.save
    kills = 0

    def killed_after(self: Journal) -> None:
        real(self)
        raise Killed

    monkeypatch.setattr(Journal, "save", killed_after)
    with pytest.raises(Killed):
        measured(*flags)
    while True:
        # Saves until there is one more point, or one more of what comes before the points.
        before = json.loads(Path("out/state.json").read_text())

        def killed_if_new(self: Journal, before: Mapping[str, Any] = before) -> None:
            real(self)
            if parts(self.content) != parts(before):
                raise Killed

        monkeypatch.setattr(Journal, "save", killed_if_new)
        try:
            sensitivity.main(["--resume", "out"])
        except Killed:
            kills += 1
            assert kills < 20
            continue
        break
    assert kills >= 3 + 6  # network, base, predictions; three groups at two shares
    # The page names the command, which is the same.
    assert contents("out") == contents("whole")
    Path("out").rename("cut")
    monkeypatch.setattr(Journal, "save", real)
    measured(*flags, "--seed", "1")
    assert contents("out")["sensitivity.csv"] != contents("cut")["sensitivity.csv"]  # control


def parts(content: Mapping[str, Any]) -> tuple[set[str], int]:
    """What a state holds: the parts, and how many points."""
    return set(content) - {"points", "digest"}, len(content.get("points", {}))


def test_a_resumed_run_goes_on_with_the_same_network(here: Path) -> None:
    measured("--fast")
    before = contents("out")
    sensitivity.main(["--resume", "out"])  # a run that is done writes the same again
    assert contents("out") == before
    model = Darknet("my.cfg", weights="my.pt")
    model.layers[0].bn.bias.data += 0.1
    Path("my.pt").unlink()
    model.save_weights("my.weights")
    state = here / "out" / "state.json"
    changed = state.read_text().replace("my.pt", "my.weights")
    state.write_text(changed)
    with pytest.raises(UserError, match="was changed since it was written"):
        sensitivity.main(["--resume", "out"])
    content = json.loads(changed)
    del content["digest"]
    Journal(here / "out", content, ExitStack()).save()  # as if it had been begun with that file
    with pytest.raises(UserError, match="--resume out: the cfg or the weights are no longer"):
        sensitivity.main(["--resume", "out"])


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--shares", "0.5,1"], "--shares: must lie between 0 and 1"),
        (["--fast", "--recalibrate", "8"], "--recalibrate: comes after a cut"),
        (["--development", "0"], "--development: must lie between 0 and 1"),
        (["--development", "0.9", "--recalibrate", "2"], "make --development smaller"),
        (["--only", "99"], "--only 99: names no layer"),
        (["--resume", "out"], "a resumed run keeps its flags"),
        (["--data", "gone.data"], "gone.data"),
    ],
)
def test_mistakes(flags: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        sensitivity.main([*FLAGS, *flags])


@pytest.mark.usefixtures("here")
def test_a_place_that_is_taken_and_states_of_others() -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("")
    with pytest.raises(UserError, match="holds other files"):
        measured()
    Journal.start("begun", "--output", "iterative_prune.py", {})
    with pytest.raises(UserError, match=r"is no state of sensitivity\.py"):
        sensitivity.main(["--resume", "begun"])


@pytest.mark.usefixtures("here")
def test_a_network_that_finds_nothing_has_nothing_to_lose() -> None:
    model = Darknet("my.cfg", weights="my.pt")
    model.layers[5].conv.bias.data -= 50
    model.save_weights("blind.weights")
    with pytest.raises(UserError, match="finds nothing on the development images"):
        measured("--weights", "blind.weights")
    found = measured("--weights", "blind.weights", "--measure", "loss", name="loss")
    assert found.base.map50 is None  # a loss it has all the same


def points_done() -> int:
    state = Path("out/state.json")
    return len(json.loads(state.read_text()).get("points", ())) if state.exists() else -1


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_killed_by_a_signal_it_ends_the_same(root: Path) -> None:
    measured()
    Path("out").rename("whole")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    moments = random.Random(0)
    argv, kills = [*FLAGS, "--output", "out"], 0
    while kills < 6:
        begun = points_done()
        command = [sys.executable, str(root / "sensitivity.py"), *argv]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        while process.poll() is None and points_done() == begun:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.06))  # a point takes as long: some kills hit a write
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        argv = ["--resume", "out"]
    assert kills >= 3
    sensitivity.main(["--resume", "out"])
    assert contents("out") == contents("whole")
