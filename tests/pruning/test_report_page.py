"""`--report`: report.json for programs, report.html for people."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import layer_channel_prune
from tests.support.nets import conv, head, healthy, net, section
from tests.support.prune_case import prune_by_flags
from tests.support.tiny_data import make_set
from utils.cfg import plain_text
from utils.command.errors import UserError
from utils.pictures.charts import BLUE, PALE, inline_svg
from utils.pruning.command.flags import prune_flags
from utils.pruning.options import PruneOptions
from utils.pruning.report.charts import LayerBar, channels_chart
from utils.pruning.report.record import layer_rows, make_record
from utils.pruning.report.result import Pruned
from utils.pruning.sweeps.curve import Sweep, SweepPoint

NAME = "a&b<i>"  # what must be escaped in a page
TINY = net(
    conv(8, stride=2),
    *[conv(4, 1), conv(8), section("shortcut", frm=-3)] * 3,
    conv(12, stride=2, activation="mish"),
    head(),
)
html_report = importlib.import_module("utils.pruning.report.page")
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


def make_inputs(folder: Path) -> Path:
    """`NAME.cfg`, last.weights, and my.data with six images; the folder."""
    folder.mkdir(exist_ok=True)
    (folder / f"{NAME}.cfg").write_text(plain_text(TINY))
    healthy(TINY).save_weights(folder / "last.weights")
    make_set(folder / "set")
    (folder / "set" / "my.names").write_text("disc\nstar\n")
    lists = "valid=set/list.txt\ntrain=set/list.txt\nnames=set/my.names\n"
    (folder / "my.data").write_text(f"classes=2\n{lists}")
    return folder


def script(folder: Path, *flags: str) -> Pruned:
    files = ["--cfg", str(folder / f"{NAME}.cfg"), "--weights", str(folder / "last.weights")]
    usual = ["--shortcuts", "1", "--global-percent", "0.5", "--workers", "0", "--device", "cpu"]
    found = prune_by_flags(layer_channel_prune.STRATEGY, [*files, *usual, *flags])
    assert isinstance(found, Pruned)
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pruned]:
    """A prune with data and everything that a report can hold, and its folder."""
    folder = make_inputs(tmp_path_factory.mktemp("report"))
    flags = ["--data", str(folder / "my.data"), "--report", str(folder / "out")]
    return folder, script(folder, *flags, "--recalibrate", "4")


@pytest.fixture(scope="module")
def page(done: tuple[Path, Pruned]) -> str:
    return (done[0] / "out" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def record(done: tuple[Path, Pruned]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((done[0] / "out" / "report.json").read_text("utf-8"))
    return found


# -- report.json -----------------------------------------------------------------------------


def test_json_has_every_part(record: dict[str, Any]) -> None:
    wanted = {
        "format": int, "created": str, "command": str, "seed": int, "versions": dict,
        "inputs": dict, "outputs": dict, "options": dict, "threshold": float, "layers": list,
        "removed_blocks": list, "metrics": dict, "recalibration": dict, "proof": dict,
        "sweep": type(None), "latency": type(None), "cost_of_form": type(None),
    }  # fmt: skip
    assert {key: type(value) for key, value in record.items()} == wanted
    assert {"python", "torch", "numpy", "opencv"} <= record["versions"].keys()
    assert record["command"].startswith("python ")
    assert "--shortcuts 1" in record["command"]
    assert record["options"]["ratio"] == 0.5


def test_json_names_its_files_by_their_hash(record: dict[str, Any]) -> None:
    files = {**record["inputs"], **{f"new {k}": v for k, v in record["outputs"].items()}}
    assert set(files) == {"cfg", "weights", "data", "valid", "new cfg", "new weights"}
    for file in files.values():
        content = Path(file["path"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()


def test_json_has_the_layers(done: tuple[Path, Pruned], record: dict[str, Any]) -> None:
    _, pruned = done
    rows = {row["layer"]: row for row in record["layers"]}
    before = {layer.index: layer.shape[0] for layer in pruned.plan.graph.layers}
    assert all(row["before"] == before[index] for index, row in rows.items())
    places = iter(s.integer("filters", 0) for s in pruned.cfg.layers if s.kind == "convolutional")
    kept = [row["after"] for row in record["layers"] if row["after"]]
    assert kept == list(places)
    (block,) = record["removed_blocks"]
    start, end = block["layers"]
    gone = [row for index, row in rows.items() if start <= index <= end]
    assert {row["after"] for row in gone} == {0}
    assert {row["reason"] for row in gone} == {"removed with its block"}
    assert "no batch normalisation" in record["layers"][-1]["reason"]


def test_json_has_the_figures(done: tuple[Path, Pruned], record: dict[str, Any]) -> None:
    _, pruned = done
    for when, figures in (("before", pruned.before), ("after", pruned.after)):
        found = record["metrics"][when]
        assert (found["parameters"], found["macs"]) == (figures.parameters, figures.macs)
        assert found["map50"] == figures.map50
        assert found["latency"]["median_ms"] == figures.latency.median_ms
    assert record["proof"]["masked"] == pruned.proof.masked < record["proof"]["tolerance"]


def test_json_knows_no_nan(done: tuple[Path, Pruned]) -> None:
    folder, pruned = done
    poor = replace(pruned, before=replace(pruned.before, map50=float("nan")))
    found = make_record(poor, options_of(folder, "--data", str(folder / "my.data")))
    assert found["metrics"]["before"]["map50"] is None
    json.dumps(found, allow_nan=False)


def options_of(folder: Path, *flags: str) -> PruneOptions:
    """What the flags of a finished prune asked for."""
    argv = ["--cfg", str(folder / f"{NAME}.cfg"), "--weights", str(folder / "last.weights")]
    return prune_flags(layer_channel_prune.STRATEGY, None, [*argv, *flags, "--shortcuts", "1"])


# -- report.html -----------------------------------------------------------------------------


def test_page_needs_nothing_from_outside(page: str) -> None:
    assert "<script" not in page
    assert "http://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "https://" not in page
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert re.findall(r"url\((?!#)", page) == []


def test_page_escapes_names(page: str) -> None:
    assert "a&amp;b&lt;i&gt;" in page
    assert NAME not in page


def test_page_has_every_section(page: str) -> None:
    heads = re.findall(r"<h2>(.*?)</h2>", page)
    assert heads == [
        "Before and after", "Channels per layer", "Which channels go", "Residual blocks removed",
        "Detections before and after", "Proof", "Made from",
    ]  # fmt: skip
    assert page.count("<svg ") == 2
    assert page.count("data:image/jpeg;base64,") == 8
    assert "threshold" in page
    assert "4 training images" in page


def test_page_says_what_every_layer_lost(page: str, done: tuple[Path, Pruned]) -> None:
    for row in layer_rows(done[1].plan):
        assert f"<title>layer {row['layer']}: {row['before']} to {row['after']}" in page


def test_page_without_data(tmp_path: Path) -> None:
    folder = make_inputs(tmp_path)
    script(folder, "--report", str(folder / "out"))
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    record = json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))
    assert "Detections" not in page
    assert "mAP@.5" not in re.sub("<p>.*?</p>", "", page)
    assert record["metrics"]["before"]["map50"] is None
    assert set(record["inputs"]) == {"cfg", "weights"}


def test_page_with_a_sweep(done: tuple[Path, Pruned], tmp_path: Path) -> None:
    folder, pruned = done
    tenths = [k / 10 for k in range(10)]
    points = [SweepPoint(v, 1000, 100, 10, 1.0, 0.8 if v < 0.6 else 0.1, 0.4) for v in tenths]
    sweep = Sweep("ratio", tuple(points), 0.05, 0.5)
    html_report.write_report(tmp_path / "out", replace(pruned, sweep=sweep), options_of(folder))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    record = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert "<h2>Sweep</h2>" in page
    assert page.count("<svg ") == 3
    assert "knee 0.5" in page
    assert (record["sweep"]["knee"], record["sweep"]["chosen"]) == (0.5, 0.5)
    assert [point["value"] for point in record["sweep"]["points"]] == tenths


# -- whole or not at all ---------------------------------------------------------------------


def test_a_folder_that_holds_something_is_refused_before_the_work(tmp_path: Path) -> None:
    folder = make_inputs(tmp_path)
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("")
    with pytest.raises(UserError, match=r"--report .*holds other files"):
        script(folder, "--report", str(folder / "out"))
    assert list(folder.glob("prune_*")) == []
    script(folder, "--report", str(folder / "out"), "--force")
    assert {path.name for path in (folder / "out").iterdir()} == {
        "mine.txt", "report.html", "report.json",
    }  # fmt: skip


def test_a_dry_run_writes_no_report(tmp_path: Path) -> None:
    folder = make_inputs(tmp_path)
    script(folder, "--report", str(folder / "out"), "--dry-run")
    assert not (folder / "out").exists()


def test_a_report_that_fails_leaves_nothing(
    done: tuple[Path, Pruned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise OSError("the disk is full")

    monkeypatch.setattr(html_report, "render", fail)
    with pytest.raises(UserError, match="the disk is full"):
        html_report.write_report(tmp_path / "out", done[1], options_of(done[0]))
    assert list(tmp_path.iterdir()) == []


# -- the charts ------------------------------------------------------------------------------


def test_the_same_chart_gives_the_same_text() -> None:
    bars = [LayerBar(3, 8, 5, False, "layer 3: <8>"), LayerBar(7, 4, 0, True, "gone")]
    titles = {"layer-3": bars[0].said}
    first, second = (inline_svg(channels_chart(bars), 'a "label"', titles) for _ in range(2))
    assert first == second
    assert "<title>layer 3: &lt;8&gt;</title>" in first
    assert first.startswith("<svg ")
    assert "width=" not in first.partition(">")[0]
    assert first != inline_svg(channels_chart(bars[:1]), 'a "label"', titles)


# -- in a browser ----------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
def test_the_page_in_a_browser(done: tuple[Path, Pruned], page: str, tmp_path: Path) -> None:
    said, picture = rendered(page, tmp_path / "good.html")
    assert said == []
    # Bars fill a good part of the charts; where they were missing, none of these colours is left.
    assert share(picture, BLUE) > 0.003
    assert share(picture, PALE) > 0.002
    bare = re.sub(r"<svg .*?</svg>", "", page, flags=re.DOTALL)
    broken = bare.replace("</body>", "<script>1</script><img src='http://localhost/x'></body>")
    said, picture = rendered(broken, tmp_path / "broken.html")
    assert len(said) >= 2
    assert share(picture, PALE) < 0.0005


def rendered(page: str, path: Path) -> tuple[list[str], np.ndarray]:
    """What a browser writes to its console about a page, and its picture (RGB)."""
    path.write_text(page, encoding="utf-8")
    shot = path.with_suffix(".png")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    flags += ["--enable-logging=stderr", f"--user-data-dir={path.with_suffix('')}"]
    flags += [f"--screenshot={shot}", "--window-size=1200,2400", path.as_uri()]
    done = subprocess.run(
        [BROWSER, *flags], capture_output=True, text=True, timeout=240, check=True
    )
    lines = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return lines, cv2.cvtColor(cv2.imread(str(shot)), cv2.COLOR_BGR2RGB)


def share(picture: np.ndarray, colour: str) -> float:
    """Share of the pixels that have a colour `#rrggbb`, but for rounding."""
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    return float((np.abs(picture.astype(int) - wanted).max(-1) <= 2).mean())
