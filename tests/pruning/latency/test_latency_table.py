"""A latency table as a file: what one device measured, another one plans by."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latency_table
import slim_prune
from models import Darknet
from tests.support.nets import conv, head, net
from tests.support.prune_case import prune_by_flags
from utils.cfg import format_cfg
from utils.command.errors import UserError
from utils.command.machine.timing import Latency
from utils.network.graph import channel_graph
from utils.pruning.goals.known_table import as_file, read_matching_table
from utils.pruning.goals.latency import LatencyTable, WidthTimes
from utils.pruning.goals.table_file import read_table_file, write_table_file
from utils.pruning.options import PruneOptions


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network; the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("my.cfg").write_text(format_cfg(net(conv(8, stride=2), conv(16, stride=2), head())))
    Darknet("my.cfg").save_weights("my.weights")
    return tmp_path


def measured() -> LatencyTable:
    """A table as if it had been measured: time grows with both widths."""
    network = Darknet("my.cfg")
    times = {}
    for layer in network.rules:
        if layer.macs():
            inputs, outputs = (
                np.array([1.0, count]) for count in (layer.inputs[0][0], layer.shape[0])
            )
            times[layer.index] = WidthTimes(inputs, outputs, np.outer(inputs, outputs) / 50)
    return LatencyTable(channel_graph(network.rules), times, Latency(12.0, 10.0, 14.0))


def write(path: str) -> LatencyTable:
    table, network = measured(), Darknet("my.cfg")
    write_table_file(as_file(table, network.cfg, network.img_size, "ncnn", "pi"), Path(path))
    return table


def test_what_is_read_says_the_same_times(here: Path) -> None:
    table, network = write("t.json"), Darknet("my.cfg")
    found, told = read_matching_table("t.json", table.graph, network.cfg, network.img_size)
    assert (told.runtime, told.device) == ("ncnn", "pi")
    for share in (1.0, 0.5):
        keep = np.arange(table.graph.count) < share * table.graph.count
        assert found.sum_ms(keep) == table.sum_ms(keep)
    assert found.whole == table.whole
    write_table_file(told, Path("again.json"))
    assert Path("again.json").read_bytes() == Path("t.json").read_bytes()


def test_a_prune_goes_by_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("t.json")
    words = ["--weights", "my.weights", "--latency-table", "t.json", "--at-most", "--dry-run"]
    prune_by_flags(slim_prune.STRATEGY, [*words, "--target-latency-ms", "7"])
    said = capsys.readouterr().out
    assert "Latency (ncnn, pi): 10.000 ms by t.json" in said
    assert "by the table, not measured here; before it was 10.000" in said
    with pytest.raises(UserError, match=r"takes 10\.000 ms as it is"):
        prune_by_flags(slim_prune.STRATEGY, [*words, "--target-latency-ms", "11"])
    with pytest.raises(UserError, match="nothing asks: give --target-latency-ms"):
        prune_by_flags(slim_prune.STRATEGY, [*words, "--target-params", "0.5"])
    assert PruneOptions.__dataclass_fields__["latency_table"].default == ""


def test_a_table_of_something_else_is_refused(here: Path) -> None:
    table, network = write("t.json"), Darknet("my.cfg")
    good, graph = read_table_file("t.json"), table.graph

    def refused(message: str, **changes: Any) -> None:
        write_table_file(replace(good, **changes), Path("u.json"))
        with pytest.raises(UserError, match=message):
            read_matching_table("u.json", graph, network.cfg, network.img_size)

    refused("another network", cfg_sha256="0" * 64)
    refused("of images of 7x9 px", img_hw=(9, 7))
    refused("has no times of layer 0", layers=good.layers[1:])
    shrunk = replace(good.layers[0], outputs=(1, 7))
    refused("full width, 3 channels in and 8 out", layers=(shrunk, *good.layers[1:]))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", "x", "is no latency table"),
        ("version", 2, "of version 2"),
        ("img_hw", [32], "height and width"),
        ("img_hw", [0, 32], "positive"),
        ("whole_ms", {"median": 1, "p10": -1, "p90": 1}, "positive number of milliseconds"),
        ("layers", [], "there are none"),
        ("layers", [{"layers": [0]}], "tied: must be true or false"),
        ("runtime", 3, "must be a word"),
    ],
)
def test_strange_files_are_told_in_one_line(
    here: Path, key: str, value: object, message: str
) -> None:
    write("t.json")
    content = json.loads(Path("t.json").read_text())
    read_table_file("t.json")  # control: as it is, it can be read
    Path("t.json").write_text(json.dumps({**content, key: value}))
    with pytest.raises(UserError, match=message):
        read_table_file("t.json")


def test_the_command_measures_and_keeps_what_is_there(here: Path) -> None:
    words = ["--weights", "my.weights", "--output", "t.json", "--device", "cpu"]
    latency_table.main(words)
    found = read_table_file("t.json")
    assert found.runtime == "torch" and found.img_hw == Darknet("my.cfg").img_size
    assert {index for each in found.layers for index in each.layers} == {0, 1, 2}
    with pytest.raises(UserError, match="is there already"):
        latency_table.main(words)
