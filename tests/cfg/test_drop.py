"""Dropping layers: what stays reads the tensors that it read, by whatever number they now have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.nets import conv, net, section
from utils.cfg import Cfg, CfgError, Section, drop_layers, format_cfg, reads_previous, references

INPUT = -1


def sources(layer: Section, index: int) -> list[int]:
    """What the layer at `index` reads: the layer before it, then what its keys name."""
    named = [i for key in ("layers", "from") for i in references(layer, index, key)]
    return ([index - 1] if reads_previous(layer) else []) + named


def value(layer: Section, key: str) -> str:
    return layer.text(key)


# -- by hand ---------------------------------------------------------------------------------------


def residual() -> Cfg:
    """0 conv, 1-3 block, 4-6 block, 7 conv, then readers of several of them."""
    block = conv(4, 1) + conv(8) + section("shortcut", frm=-3, activation="linear")
    return net(
        conv(8), block, block, conv(8),
        section("route", layers="-1, 3, 6"),
        section("route", layers="-2,-9"),
    )  # fmt: skip


def test_a_residual_block_goes() -> None:
    after, new_index = drop_layers(residual(), {1: 0, 2: 0, 3: 0})
    assert new_index == {0: 0, 4: 1, 5: 2, 6: 3, 7: 4, 8: 5, 9: 6}
    assert [layer.kind[:5] for layer in after.layers] == [
        "convo", "convo", "convo", "short", "convo", "route", "route",
    ]  # fmt: skip
    assert value(after.layers[3], "from") == "-3"
    # 3 was the sum of the block, which the stem now stands for; 6 moved down by three.
    assert value(after.layers[5], "layers") == "-1,0,3"
    assert value(after.layers[6], "layers") == "-2,-6"


def test_untouched_sections_keep_their_text() -> None:
    before = residual()
    after, _ = drop_layers(before, {})
    assert format_cfg(after) == format_cfg(before)
    one_less, _ = drop_layers(before, {7: 6})
    assert format_cfg(one_less) != format_cfg(before)
    assert [a.lines for a in one_less.layers[:7]] == [b.lines for b in before.layers[:7]]


def test_every_kind_of_reference_is_renumbered() -> None:
    cfg = net(
        conv(4), conv(4), conv(4), conv(4),
        section("sam", frm=2),
        section("scale_channels", frm=-3),
        conv(4, share_index=3),
        section("shortcut", frm="-2, 0"),
    )  # fmt: skip
    after, _ = drop_layers(cfg, {1: 0})
    keys = [(3, "from"), (4, "from"), (5, "share_index"), (6, "from")]
    assert [value(after.layers[i], key) for i, key in keys] == ["1", "-3", "2", "-2,0"]


def test_a_reader_that_would_follow_another_layer_gets_a_route() -> None:
    """The last convolution read layer 2, for which layer 0 stands, not layer 1 before it."""
    cfg = net(conv(4), conv(4), conv(4), conv(8), section("route", layers="-2,1"))
    after, new_index = drop_layers(cfg, {2: 0})
    assert [layer.kind for layer in after.layers] == [
        "convolutional", "convolutional", "route", "convolutional", "route",
    ]  # fmt: skip
    assert value(after.layers[2], "layers") == "0"
    assert value(after.layers[4], "layers") == "-4,1"
    assert new_index == {0: 0, 1: 1, 3: 3, 4: 4}
    # A route reads nothing by position, so it needs none of that.
    cfg = net(conv(4), conv(4), conv(4), section("route", layers="0"))
    after, _ = drop_layers(cfg, {2: 0})
    assert [layer.kind for layer in after.layers] == ["convolutional", "convolutional", "route"]


def test_the_first_layers_may_go() -> None:
    after, new_index = drop_layers(net(conv(4), conv(5), conv(6)), {0: INPUT, 1: 0})
    assert new_index == {2: 0}
    assert [layer.integer("filters") for layer in after.layers] == [6]


def test_the_input_has_no_number() -> None:
    """A reference to it cannot be written, nor can reading it behind another layer."""
    named = net(conv(4), conv(4), section("route", layers=0))
    with pytest.raises(CfgError, match=r"\[route\].*network's input"):
        drop_layers(named, {0: INPUT})
    followed = net(conv(4), conv(4), conv(5))
    with pytest.raises(CfgError, match=r"\[convolutional\].*network's input"):
        drop_layers(followed, {1: INPUT})


def test_a_shared_kernel_cannot_be_replaced() -> None:
    cfg = net(conv(4), conv(4), conv(4), conv(4, share_index=1))
    with pytest.raises(CfgError, match=r"share_index: .*layer 1"):
        drop_layers(cfg, {1: 0})
    after, _ = drop_layers(cfg, {2: 1})
    assert value(after.layers[2], "share_index") == "1"


# -- any cfg ---------------------------------------------------------------------------------------


@st.composite
def dropped(draw: st.DrawFn) -> tuple[Cfg, dict[int, int]]:
    """A cfg of readers of all kinds, and some layers to drop with what stands for them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    layers, stand_in = [], {}
    for index in range(int(rng.integers(1, 12))):
        kind = rng.choice(["convolutional", "route", "shortcut", "sam"]) if index else "conv"
        wanted = rng.integers(0, max(1, index), 1 if kind == "sam" else rng.integers(1, 4))
        numbers = [int(i) - index * int(rng.integers(2)) for i in wanted]
        key = {"route": "layers", "shortcut": "frm", "sam": "frm"}.get(str(kind))
        layers.append(section(str(kind), **({key: ",".join(map(str, numbers))} if key else {})))
        if rng.random() < 0.35:
            stand_in[index] = int(rng.integers(-1 if rng.random() < 0.2 else 0, max(1, index)))
            if index == 0:
                stand_in[index] = INPUT
    return net(*layers), stand_in


@settings(max_examples=300, deadline=None)
@given(dropped())
def test_who_stays_reads_what_it_read(case: tuple[Cfg, dict[int, int]]) -> None:
    cfg, stand_in = case

    def stands(index: int) -> int:
        return stands(stand_in[index]) if index in stand_in else index

    kept = [i for i in range(len(cfg.layers)) if i not in stand_in]
    wanted = {i: [stands(s) for s in sources(cfg.layers[i], i)] for i in kept}
    try:
        after, new_index = drop_layers(cfg, stand_in)
    except CfgError as error:
        assert "network's input" in str(error)
        # Only the first layer that stays can read the input, by standing first.
        first = wanted[kept[0]][reads_previous(cfg.layers[kept[0]]) :]
        assert INPUT in first or any(INPUT in wanted[i] for i in kept[1:])
        return
    assert all(INPUT not in wanted[i] for i in kept[1:])
    assert list(new_index) == kept
    old_index = {new: old for old, new in new_index.items()}
    for new, layer in enumerate(after.layers):
        # A [route] that was put in is another name of the layer that it names.
        if new not in old_index:
            (target,) = references(layer, new, "layers")
            old_index[new] = old_index[target]
    old_index[INPUT] = INPUT
    for old in kept:
        new = new_index[old]
        layer = after.layers[new]
        assert layer.kind == cfg.layers[old].kind
        assert [old_index[s] for s in sources(layer, new)] == wanted[old]
        for key in ("layers", "from"):
            signs = [number < 0 for number in cfg.layers[old].integers(key)]
            assert [number < 0 for number in layer.integers(key)] == signs


def test_the_comparison_sees_a_layer_that_was_not_renumbered() -> None:
    cfg = residual()
    after, _ = drop_layers(cfg, {1: 0, 2: 0, 3: 0})
    assert sources(after.layers[5], 5) == [4, 0, 3]
    assert sources(cfg.layers[8], 8) == [7, 3, 6]
