"""YOLOv8's heads: the note, decoding, and the way through channels, pruning and other classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models import Darknet
from tests.support.checkpoints.like_v8 import decoded
from tests.support.dfl_net import NC, dfl_heads, head, note, two_levels
from tests.support.nets import conv, healthy_state, net
from utils.cfg import (
    CfgError,
    drop_layers,
    format_cfg,
    parse_cfg,
    plain_text,
    read_note,
    splice_layers,
    with_note,
    without_note,
)
from utils.cfg.head_note import HEAD_NOTE
from utils.network.for_data.retarget import with_classes
from utils.network.graph import channel_graph
from utils.network.layers import build_layers
from utils.pruning.blocks import find_blocks
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.plan import drop_blocks, make_plan
from utils.pruning.proof.gate import prove
from utils.pruning.strategy import ChannelRule
from utils.pruning.surgery import prune
from utils.zoo import ZOO


def test_note_is_a_comment_and_survives_every_way_of_writing() -> None:
    cfg = two_levels()
    for text in (format_cfg(cfg), plain_text(cfg)):
        again = parse_cfg(text)
        assert [read_note(h.section, HEAD_NOTE)["level"] for h in dfl_heads(again)] == [0, 1]
    assert all(not line.key for h in dfl_heads(cfg) for line in h.section.lines if "#" in line.text)


def test_notes_can_be_replaced_and_removed() -> None:
    bare = parse_cfg("[net]\nwidth=1").net
    assert read_note(bare, "names") is None
    noted = with_note(with_note(bare, "names", ["a"]), "names", ["b", "né # ["])
    assert read_note(noted, "names") == ["b", "né # ["]
    assert sum("darkslim" in line.text for line in noted.lines) == 1
    assert "".join(line.text for line in noted.lines).isascii()
    assert noted.integer("width") == 1
    assert read_note(without_note(noted, "names"), "names") is None
    broken = parse_cfg("[net]\n# darkslim names [1,\n").net
    with pytest.raises(CfgError, match=r":2.*no JSON"):
        read_note(broken, "names")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reg_max": 0}, "reg_max"),
        ({"one2one": 1}, "one2one"),
        ({"reg_max": "16"}, "reg_max"),
        ({"classes": 4}, "channels"),
        ({"classes": 0}, "classes"),
        ({"kind": "obb"}, "no head that is known"),
        ({"stride": None}, "stride"),
    ],
)
def test_notes_that_say_something_else(change: dict[str, object], message: str) -> None:
    with pytest.raises(CfgError, match=message):
        build_layers(net(conv(4), head(0, **change)))


def test_note_in_another_section() -> None:
    text = f"[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n{note(0)}filters=4\n"
    with pytest.raises(CfgError, match=r"only a \[route\]"):
        build_layers(parse_cfg(text))


@torch.no_grad()
def test_decoding_by_hand() -> None:
    cfg = two_levels()
    model = Darknet(cfg).eval()
    model.load_state(healthy_state(model))
    x = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    raw = model.raw_heads(x)
    boxes = model(x)
    wanted = decoded(raw, (4, 8), NC)
    assert boxes.shape == (2, 12 * 16 + 6 * 8, 5 + NC)
    assert torch.allclose(boxes[..., :4], wanted[..., :4], atol=1e-3)
    assert torch.allclose(boxes[..., 5:], wanted[..., 4:], atol=1e-6)
    assert (boxes[..., 4] == 1).all()
    assert [tuple(r.shape[1:]) for r in raw] == [(67, 12, 16), (67, 6, 8)]
    model.train()
    assert [r.shape for r in model(x)] == [r.shape for r in raw]


def test_a_box_that_is_certain() -> None:
    """All mass on the bins 2, 1, 3, 5 of the cell (1, 0) at stride 8."""
    layer = dfl_heads(two_levels())[0]
    raw = torch.full((1, 67, 2, 3), -50.0)
    for side, value in enumerate((2, 1, 3, 5)):
        raw[0, 16 * side + value, 0, 1] = 50.0
    raw[0, 65, 0, 1] = 50.0
    box = layer.decode(raw, (16, 24))[0, 1]
    left, top, right, bottom = 12 - 16, 4 - 8, 12 + 24, 4 + 40
    wanted = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top, 1, 0, 1, 0]
    assert box.tolist() == pytest.approx(wanted, abs=1e-4)


def test_classes_are_replaced() -> None:
    cfg = with_classes(two_levels(), 7)
    model = Darknet(cfg)
    assert model.nc == 7
    assert [read_note(h.section, HEAD_NOTE)["classes"] for h in dfl_heads(cfg)] == [7, 7]
    assert Darknet(with_classes(parse_cfg(ZOO["yolov8n"]()), 3)).nc == 3


def test_head_channels_are_pinned_with_the_reason_and_others_are_free() -> None:
    graph = channel_graph(build_layers(two_levels()))
    box, classes = dfl_heads(two_levels())[0].sources
    for index in (box, classes):
        assert all("dfl" in graph.pinned[c] for c in graph.outputs[index].tolist())
    for index in (2, 4, box - 1, classes - 1):  # both halves, the branches' hidden layers
        assert not set(graph.outputs[index].tolist()) & set(graph.pinned)
    halves = set(graph.outputs[2].tolist()), set(graph.outputs[4].tolist())
    assert not halves[0] & halves[1]


@pytest.mark.parametrize("ratio", [0.2, 0.4, 0.6, 0.8])
@pytest.mark.parametrize("blocks", [0, 1])
def test_pruned_through_halves_blocks_and_heads(ratio: float, blocks: int) -> None:
    """The gate passes, and the notes stand at the heads after layers were renumbered."""
    cfg = two_levels()
    state = healthy_state(Darknet(cfg))
    graph = channel_graph(build_layers(cfg))
    scores = batch_norm_scale(graph, state)
    plan = make_plan(graph, scores, ChannelRule(tied="max"), ratio)
    if blocks:
        plan = drop_blocks(plan, scores, 1, find_blocks(graph)[0], {})
    small_cfg, small = prune(cfg, state, plan)
    again = parse_cfg(plain_text(small_cfg))
    prove(state, plan, again, small)
    assert len(again.layers) == len(cfg.layers) - 3 * blocks
    heads = dfl_heads(again)
    assert [h.index for h in heads] == [h.index - 3 * blocks for h in dfl_heads(cfg)]
    assert [read_note(h.section, HEAD_NOTE)["level"] for h in heads] == [0, 1]
    before = sum(t.numel() for t in state.values())
    assert sum(t.numel() for t in small.values()) < before * (1 - ratio / 2)


def test_halves_come_out_uneven() -> None:
    cfg = two_levels()
    state = healthy_state(Darknet(cfg))
    state["layers.2.bn.weight"][:3] = 0
    graph = channel_graph(build_layers(cfg))
    scores = batch_norm_scale(graph, state)
    small, _ = prune(cfg, state, make_plan(graph, scores, ChannelRule(tied="max"), 0.05))
    assert small.layers[2].integer("filters") == 3 < small.layers[4].integer("filters")


def test_splice_and_drop_keep_what_readers_read() -> None:
    """A layer put in behind layer 2 is read in its place; dropping it again gives the same cfg."""
    cfg = two_levels()
    added = parse_cfg("[net]\n[dropout]\n").layers[0]
    longer, places = splice_layers(cfg, {2: [cfg.layers[2], added]})
    assert places[2] == 3 and places[3] == 4 and len(longer.layers) == len(cfg.layers) + 1
    route = longer.layers[places[8]]
    assert route.text("layers") == "3,5,8"
    build_layers(longer)
    back, _ = drop_layers(longer, {3: 2})
    assert format_cfg(back) == format_cfg(cfg)


def test_the_zoo_reads_as_published(root: Path) -> None:
    """Parameters as ultralytics gives them, but for the 16 numbers of its fixed decoding kernel."""
    for name, count in {"n": 3157200, "s": 11166560, "m": 25902640, "l": 43691520}.items():
        layers = build_layers(parse_cfg(ZOO[f"yolov8{name}"]()))
        fields = [f for layer in layers for f in layer.fields()]
        learnt = sum(f.size for f in fields if "running" not in f.name)
        assert learnt == count - 16
