"""Who is tied to whom, who must stay and why, on graphs small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.nets import conv, head, rules, same_input, section
from utils.network.graph import ChannelGraph, GraphBuilder, channel_graph, interpret
from utils.network.layers import INPUT


def graph_of(*sections: str, channels: int = 3, hw: tuple[int, int] = (32, 32)) -> ChannelGraph:
    return channel_graph(rules(*sections, channels=channels, hw=hw))


def ids(graph: ChannelGraph, index: int) -> list[int]:
    return [int(c) for c in graph.outputs[index]]


def test_each_convolution_has_channels_of_its_own() -> None:
    graph = graph_of(conv(4), conv(5), head(classes=1, anchors=1))
    found = [ids(graph, i) for i in range(3)]
    assert [len(set(classes)) for classes in found] == [4, 5, 6]
    assert len({c for classes in found for c in classes}) == 15
    assert graph.count == 3 + 15
    assert graph.inputs[1][0].tolist() == found[0]
    assert {i: classes.tolist() for i, classes in graph.issued.items()} == dict(enumerate(found))
    assert graph.equal_parts == ()
    assert graph.summed.tolist() == []


def test_what_passes_channels_on() -> None:
    through = [
        section("maxpool", stride=2), section("upsample"), section("dropout"), section("empty"),
        section("local_avgpool", size=2), section("activation", activation="relu"),
        section("batchnorm"), section("avgpool"),
    ]  # fmt: skip
    graph = graph_of(conv(4), *through)
    assert all(ids(graph, i) == ids(graph, 0) for i in range(1, 9))
    assert set(graph.issued) == {0}


def test_route_concatenates() -> None:
    graph = graph_of(conv(4), conv(5), section("route", layers="1,0,1"))
    assert ids(graph, 2) == ids(graph, 1) + ids(graph, 0) + ids(graph, 1)
    assert [found.tolist() for found in graph.inputs[2]] == [ids(graph, i) for i in (1, 0, 1)]


@pytest.mark.parametrize("part", [0, 1])
def test_grouped_route_cuts_each_source(part: int) -> None:
    graph = graph_of(conv(4), conv(6), section("route", layers="0,1", groups=2, group_id=part))
    assert ids(graph, 2) == ids(graph, 0)[2 * part :][:2] + ids(graph, 1)[3 * part :][:3]
    assert [parts.tolist() for parts in graph.equal_parts] == [
        [ids(graph, 0)[:2], ids(graph, 0)[2:]], [ids(graph, 1)[:3], ids(graph, 1)[3:]],
    ]  # fmt: skip


@pytest.mark.parametrize(("before", "source"), [(4, 4), (4, 6), (6, 4)])
def test_shortcut_ties_what_it_adds(before: int, source: int) -> None:
    graph = graph_of(conv(source), conv(before), section("shortcut", frm=0))
    common = min(before, source)
    assert ids(graph, 2) == ids(graph, 1)
    assert ids(graph, 1)[:common] == ids(graph, 0)[:common]
    assert not set(ids(graph, 1)[common:]) & set(ids(graph, 0)[common:])
    assert graph.summed.tolist() == sorted(ids(graph, 0)[:common])


def test_ties_reach_through_a_stage() -> None:
    """Three blocks on one stem: 0, 2, 5, 8 are one group; the insides 1, 4, 7 are free."""
    block = conv(2, 1) + conv(4) + section("shortcut", frm=-3)
    graph = graph_of(conv(4), block, block, block)
    for i in (2, 3, 5, 6, 8, 9):
        assert ids(graph, i) == ids(graph, 0)
    insides = [set(ids(graph, i)) for i in (1, 4, 7)]
    assert len(set().union(*insides)) == 6
    assert not set(ids(graph, 0)) & set().union(*insides)


def test_a_sum_of_several_ties_all() -> None:
    graph = graph_of(conv(4), conv(4), conv(4), section("shortcut", frm="0,1"))
    assert ids(graph, 0) == ids(graph, 1) == ids(graph, 2) == ids(graph, 3)


def test_adding_a_layer_in_another_order_ties_channels_to_each_other() -> None:
    """Channels 0,1 and 2,3 of layer 0 are swapped by the routes, then added: 0~2, 1~3."""
    graph = graph_of(
        conv(4),
        section("route", layers=0, groups=2, group_id=1),
        section("route", layers=0, groups=2, group_id=0),
        section("route", layers="1,2"),
        section("shortcut", frm=0),
    )
    a, b, c, d = ids(graph, 0)
    assert a == c
    assert b == d
    assert a != b
    assert ids(graph, 4) == [a, b, a, b]


def test_products_tie() -> None:
    graph = graph_of(conv(4), conv(4), section("sam", frm=0))
    assert ids(graph, 0) == ids(graph, 1) == ids(graph, 2)
    squeeze = [section("avgpool"), conv(2, 1), conv(4, 1), section("scale_channels", frm=0)]
    graph = graph_of(conv(4), *squeeze)
    assert ids(graph, 3) == ids(graph, 0) == ids(graph, 4)
    assert not set(ids(graph, 2)) & set(ids(graph, 0))
    # Only a shortcut adds: for "keep" and "first" a product is not a sum.
    assert graph.summed.tolist() == []


def test_depthwise_ties_outputs_to_inputs() -> None:
    graph = graph_of(conv(4), conv(4, groups=4), conv(8, groups=4))
    assert ids(graph, 1) == ids(graph, 0)
    assert ids(graph, 2) == [c for c in ids(graph, 0) for _ in range(2)]
    assert graph.equal_parts == ()


def test_grouped_convolution_keeps_equal_parts() -> None:
    graph = graph_of(conv(4), conv(6, groups=2))
    assert [parts.tolist() for parts in graph.equal_parts] == [
        [ids(graph, 0)[:2], ids(graph, 0)[2:]], [ids(graph, 1)[:3], ids(graph, 1)[3:]],
    ]  # fmt: skip
    assert not set(ids(graph, 0)) & set(ids(graph, 1))


def test_a_shared_kernel_ties_both_its_uses() -> None:
    graph = graph_of(conv(4), conv(4), conv(4, share_index=1))
    assert ids(graph, 2) == ids(graph, 1)
    # Layer 2 reads layer 1 by the kernel that reads layer 0.
    assert ids(graph, 1) == ids(graph, 0)
    assert set(graph.issued) == {0, 1}


def test_rearranged_pixels() -> None:
    graph = graph_of(conv(2), section("reorg3d", stride=2))
    assert ids(graph, 1) == ids(graph, 0) * 4
    graph = graph_of(conv(5), section("maxpool", maxpool_depth=1, out_channels=2))
    a, b, c, d, e = ids(graph, 0)
    assert (a, b) == (c, d)
    assert a == e
    assert a != b
    assert ids(graph, 1) == [a, b]


def test_fully_connected_reads_every_position() -> None:
    graph = graph_of(conv(4), section("connected", output=5), section("connected", output=6))
    assert len(set(ids(graph, 1))) == 5
    assert graph.inputs[2][0].tolist() == ids(graph, 1)
    assert set(graph.issued) == {0, 1, 2}


# -- pins ------------------------------------------------------------------------------------------


def reasons(graph: ChannelGraph, index: int) -> set[str]:
    return {graph.pinned.get(c, "") for c in ids(graph, index)}


def test_input_and_head_are_pinned() -> None:
    graph = graph_of(same_input(), conv(4), head(classes=1, anchors=1))
    assert reasons(graph, 0) == {"the network's input"}
    assert reasons(graph, 1) == {""}
    assert reasons(graph, 2) == {"read by the [yolo] head at layer 3"}
    assert set(graph.pinned) == set(ids(graph, 0)) | set(ids(graph, 2))


def test_every_head_pins() -> None:
    last = conv(14, 1)
    graph = graph_of(
        conv(4), last, section("region", classes=2, num=2), section("route", layers=0), last,
        section("Gaussian_yolo", classes=5, num=1), section("route", layers=0), conv(4),
    )  # fmt: skip
    assert reasons(graph, 1) == {"read by the [region] head at layer 2"}
    assert reasons(graph, 4) == {"read by the [Gaussian_yolo] head at layer 5"}
    # With heads, the last layer is not the result.
    assert reasons(graph, 7) == {""}


def test_the_output_of_a_network_without_heads_is_pinned() -> None:
    graph = graph_of(conv(4), conv(5), section("cost"))
    assert reasons(graph, 1) == {"the network's output"}
    assert reasons(graph, 0) == {""}


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ([conv(4, activation="normalize_channels")], "normalize_channels at layer 0"),
        ([conv(4), section("softmax")], "read by [softmax] at layer 1"),
        ([conv(16), section("reorg3d", stride=2, reverse=1)], "[reorg3d] at layer 1"),
        ([conv(4), conv(1), section("scale_channels", frm=0, scale_wh=1)], "scale_wh at layer 2"),
    ],
)  # fmt: skip
def test_what_mixes_channels_is_pinned(sections: list[str], reason: str) -> None:
    graph = graph_of(*sections, conv(4))
    (found,) = reasons(graph, 0)
    assert found.startswith(reason)


def test_a_pin_reaches_all_that_is_tied() -> None:
    graph = graph_of(conv(6, 1), conv(6, 1), section("shortcut", frm=0), section("yolo", classes=1))
    assert reasons(graph, 0) == reasons(graph, 1) == {"read by the [yolo] head at layer 3"}


# -- the machinery ---------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 12), st.data())
def test_ties_are_those_of_a_plain_union_find(count: int, data: st.DataObject) -> None:
    builder = GraphBuilder([])
    fresh = builder.fresh(count)
    members = {int(i): {int(i)} for i in fresh}
    numbers = st.lists(st.integers(0, count - 1), min_size=1, max_size=6)
    for _ in range(data.draw(st.integers(1, 4))):
        a = data.draw(numbers)
        b = data.draw(st.lists(st.integers(0, count - 1), min_size=len(a), max_size=len(a)))
        builder.unite(np.array(a), np.array(b))
        for x, y in zip(a, b, strict=True):
            joined = members[x] | members[y]
            members |= dict.fromkeys(joined, joined)
    roots = builder._find(fresh)
    for i in range(count):
        assert {j for j in range(count) if roots[j] == roots[i]} == members[i]


def test_the_walk_hands_each_layer_its_sources() -> None:
    layers = rules(conv(4), conv(4), section("shortcut", frm=0), section("route", layers="2,0"))
    names = interpret(layers, lambda layer, inputs: f"{layer.index}({','.join(inputs)})", "x")
    assert names[2] == "2(1(0(x)),0(x))"
    assert names[3] == f"3({names[2]},{names[0]})"
    assert layers[0].sources == (INPUT,)
