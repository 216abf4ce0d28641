"""The drawing of a network: everything is on it, and nothing lies on anything else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.nets import conv, head, net, random_net, rules, section
from utils.cfg import load_cfg
from utils.command.errors import UserError
from utils.network.layers import INPUT, Layer, build_layers
from utils.pictures.diagram import draw_network, save_svg
from utils.pictures.diagram.columns import BOX_HEIGHT, HEADER_HEIGHT, place_layers
from utils.pictures.diagram.wires import Wire, Wiring, is_direct, route_wires

BOX_WIDTH = 150
SVG = "{http://www.w3.org/2000/svg}"
CFGS = sorted((Path(__file__).resolve().parents[2] / "cfg").glob("*.cfg"))
NETWORKS = [build_layers(load_cfg(path)) for path in CFGS] + [
    build_layers(random_net(seed)) for seed in range(6)
]
IDS = [path.stem for path in CFGS] + [f"random {seed}" for seed in range(6)]
networks = pytest.mark.parametrize("layers", NETWORKS, ids=IDS)


@networks
def test_boxes_and_headers_do_not_overlap(layers: Sequence[Layer]) -> None:
    places, headers = place_layers(layers)
    assert sorted(places) == [layer.index for layer in layers]
    spans = [(p.column, p.top, p.top + BOX_HEIGHT) for p in places.values()]
    spans += [(h.column, h.top, h.top + HEADER_HEIGHT) for h in headers]
    for a, b in combinations(sorted(spans), 2):
        assert a[0] != b[0] or a[2] <= b[1]


@networks
def test_every_read_is_drawn(layers: Sequence[Layer]) -> None:
    places, _ = place_layers(layers)
    wiring = route_wires(layers, places, BOX_WIDTH)
    drawn = {(wire.source, wire.target) for wire in wiring.wires}
    reads = {(source, layer.index) for layer in layers for source in layer.sources}
    direct = {
        (layer.index - 1, layer.index)
        for layer in layers
        for source in layer.sources
        if is_direct(source, layer, places)
    }
    assert drawn | direct == reads | {(INPUT, 0)}
    assert not drawn & direct


def vertical_pieces(wires: Sequence[Wire]) -> Iterator[tuple[int, float, float, float]]:
    for wire in wires:
        for (x, y), (x2, y2) in zip(wire.points, wire.points[1:], strict=False):
            if x == x2 and y != y2:
                yield wire.source, x, min(y, y2), max(y, y2)


def buses(wires: Sequence[Wire]) -> Iterator[tuple[int, float, float, float]]:
    for wire in wires:
        for (x, y), (x2, y2) in zip(wire.points, wire.points[1:], strict=False):
            if y == y2 and y < 0:
                yield wire.source, y, min(x, x2), max(x, x2)


def collisions(pieces: Iterator[tuple[int, float, float, float]]) -> list[tuple[int, int]]:
    """Pairs of sources whose pieces share a line and overlap on it."""
    return [
        (a[0], b[0])
        for a, b in combinations(set(pieces), 2)
        if a[0] != b[0] and a[1] == b[1] and a[2] < b[3] and b[2] < a[3]
    ]


def wiring_of(layers: Sequence[Layer]) -> Wiring:
    return route_wires(layers, place_layers(layers)[0], BOX_WIDTH)


@networks
def test_wires_of_different_layers_never_share_a_lane(layers: Sequence[Layer]) -> None:
    wires = wiring_of(layers).wires
    assert not collisions(vertical_pieces(wires))
    assert not collisions(buses(wires))


def test_collisions_are_found() -> None:
    wires = wiring_of(NETWORKS[IDS.index("yolov4")]).wires
    squeezed = [
        Wire(w.source, w.target, tuple((x // 100 * 100, y) for x, y in w.points)) for w in wires
    ]
    assert collisions(vertical_pieces(squeezed))


@networks
def test_wires_keep_out_of_the_columns(layers: Sequence[Layer]) -> None:
    wiring = wiring_of(layers)
    for _, x, _, _ in vertical_pieces(wiring.wires):
        assert not any(left <= x <= left + BOX_WIDTH for left in wiring.columns_x)
        assert x < wiring.width


def test_columns_stay_near_their_height() -> None:
    places, _ = place_layers(NETWORKS[IDS.index("yolov4")])
    in_column = [sum(p.column == c for p in places.values()) for c in range(20)]
    assert max(in_column) <= 40
    assert 4 <= sum(count > 0 for count in in_column) <= 9


def test_squeeze_and_excite_stays_in_its_column() -> None:
    layers = rules(
        conv(4), section("avgpool"), conv(4, 1), section("scale_channels", frm=0), conv(4)
    )
    _, headers = place_layers(layers)
    assert [header.map_hw for header in headers] == [(12, 16)]


@networks
def test_svg_holds_every_layer(layers: Sequence[Layer]) -> None:
    root = ElementTree.fromstring(draw_network(layers, "a & b <c>"))
    titles = [e.text or "" for e in root.iter(f"{SVG}title")]
    for layer in layers:
        assert any(title.startswith(f"{layer.index} {layer.role} ") for title in titles)
    assert any("a & b <c>" in (e.text or "") for e in root.iter(f"{SVG}text"))


def test_nothing_from_outside() -> None:
    text = draw_network(NETWORKS[0], "a")
    assert "href" not in text
    assert text.count("http") == 1  # the name space


def test_text_fits_its_box() -> None:
    layers = build_layers(net(conv(64, 3, activation="mish", groups=1), conv(64), head(80, 3)))
    root = ElementTree.fromstring(draw_network(layers, "a"))
    for group in root.iter(f"{SVG}g"):
        box, texts = group.find(f"{SVG}rect"), group.findall(f"{SVG}text")
        if box is not None:
            characters = sum(len(text.text or "") for text in texts)
            assert characters * 6.03 < float(box.get("width", 0)) - 12


def test_only_svg(tmp_path: Path) -> None:
    save_svg("<svg/>", tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == "<svg/>"
    with pytest.raises(UserError, match=r"a\.png.*\.svg"):
        save_svg("<svg/>", tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
