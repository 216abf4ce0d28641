"""The picture itself: one SVG file that needs nothing but a viewer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from ...command.errors import UserError
from ...command.files import atomic_write
from ...network.cost import count_bflops, count_parameters
from ...network.layers import Layer, Shape
from .columns import BOX_HEIGHT, HEADER_HEIGHT, Header, Place, place_layers
from .wires import Point, Wire, Wiring, is_direct, route_wires

_MARGIN = 20
_TITLE_HEIGHT = 62  # title and legend
_CHARACTER = 6.2  # width of a character of the boxes' font, px
_LONGEST = 40  # characters of a box's text
_TITLE_CHARACTER = 9.04  # of the title's
_FLOW = 9  # from a box's left side to the line that joins it to the next one
_CORNER = 4  # radius of a wire's corners

_SHORT = {
    "convolutional": "conv",
    "grouped convolution": "conv",
    "shared kernel": "conv",
    "scale_channels": "scale",
    "local_avgpool": "local_avg",
    "Gaussian_yolo": "gaussian",
}

# What a box's colour says: (name in the legend, fill, border, the kinds or roles it is for).
_FAMILIES = (
    ("convolution", "#dbe9f8", "#5b8fc7", ("convolutional", "shared kernel", "connected")),
    ("grouped, depthwise", "#cdeeee", "#3f9a9a", ("depthwise", "grouped convolution")),
    ("pooling", "#fde3c4", "#d08a35", ("maxpool", "avgpool", "local_avgpool")),
    ("upsample, reorg", "#e7dcf6", "#8b69bd", ("upsample", "reorg", "reorg3d")),
    ("sum, product", "#d7efd2", "#5da24f", ("shortcut", "sam", "scale_channels", "attention")),
    ("route", "#eeeeee", "#999999", ("route",)),
    ("head", "#f9d3d3", "#c94f4f", ("yolo", "region", "Gaussian_yolo", "softmax", "cost")),
    ("other", "#fbf6d0", "#b3a132", ()),
)
_WIRE_COLOURS = ("#1f5fa8", "#c0392b", "#2e8b57", "#8e44ad", "#c77400", "#00838f", "#ad1457")

_STYLE = (
    "text{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:10px;fill:#222}"
    ".t{font-size:15px;font-weight:bold}.h{font-weight:bold;fill:#555}.n{text-anchor:end}"
    ".l,.w{fill:none;stroke-width:1.2}.l{stroke:#555}"
)


def draw_network(layers: Sequence[Layer], title: str) -> str:
    """The SVG text: a box per layer, a wire to whatever it reads."""
    places, headers = place_layers(layers)
    labels = {layer.index: _label(layer) for layer in layers}
    box_width = _box_width(layers, labels)
    wiring = route_wires(layers, places, box_width)
    top = _MARGIN + _TITLE_HEIGHT + wiring.bus_height
    lowest = max(place.top for place in places.values()) + BOX_HEIGHT
    said = _summary(layers, title)
    inner_width = max(wiring.width, len(said) * _TITLE_CHARACTER)
    width, height = inner_width + 2 * _MARGIN, top + lowest + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<style>{_STYLE}</style>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text class="t" x="{_MARGIN}" y="{_MARGIN + 14}">{escape(said)}</text>',
        *_legend(layers),
        f'<g transform="translate({_MARGIN},{top:.1f})">',
        *(_header(h, layers[0].inputs[0], wiring) for h in headers),
        *_wires(wiring.wires),
        *_flow_lines(layers, places, wiring),
        *(_box(layer, places[layer.index], labels, wiring, box_width) for layer in layers),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def save_svg(text: str, path: str | Path) -> None:
    """Write the picture. Raises UserError for a name that is not an SVG's."""
    if Path(path).suffix.lower() != ".svg":
        raise UserError(f"{path}: the drawing is an SVG; give it a name that ends in .svg")
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _label(layer: Layer) -> str:
    traits = layer.traits()
    if len(layer.shape) == 3 and layer.shape[1:] == (1, 1) and layer.inputs:
        traits = f"{traits} 1x1 map" if layer.inputs[0][1:] != (1, 1) else traits
    text = f"{layer.index} {_SHORT.get(layer.role, layer.role)} {traits}".rstrip()
    return text if len(text) <= _LONGEST else text[: _LONGEST - 2] + ".."


def _box_width(layers: Sequence[Layer], labels: Mapping[int, str]) -> int:
    longest = max(len(labels[layer.index]) + len(str(layer.shape[0])) for layer in layers)
    return round((longest + 2) * _CHARACTER + 12)


def _summary(layers: Sequence[Layer], title: str) -> str:
    channels, height, width = layers[0].inputs[0]
    return (
        f"{title}: {width} x {height} x {channels}, {len(layers)} layers, "
        f"{count_parameters(layers):,} parameters, {count_bflops(layers):.3f} BFLOPs"
    )


def _legend(layers: Sequence[Layer]) -> Iterator[str]:
    x, y = float(_MARGIN), _MARGIN + 30
    used = {_family(layer)[0] for layer in layers}
    for name, fill, border, _ in _FAMILIES:
        if name in used:
            look = f'fill="{fill}" stroke="{border}"'
            yield f'<rect x="{x:.0f}" y="{y}" width="14" height="12" {look}/>'
            yield f'<text x="{x + 20:.0f}" y="{y + 10}">{escape(name)}</text>'
            x += 36 + len(name) * _CHARACTER
    yield f'<text x="{x:.0f}" y="{y + 10}">on the right: channels</text>'


def _family(layer: Layer) -> tuple[str, str, str, tuple[str, ...]]:
    return next((f for f in _FAMILIES if layer.role in f[3]), _FAMILIES[-1])


def _header(header: Header, image: Shape, wiring: Wiring) -> str:
    map_h, map_w = header.map_hw
    text = f"{map_w} x {map_h}, cells of {image[2] / map_w:g} px"
    x, y = wiring.columns_x[header.column] + 2 * _FLOW, header.top + HEADER_HEIGHT - 8
    return f'<text class="h" x="{x:.1f}" y="{y}">{text}</text>'


def _box(
    layer: Layer, place: Place, labels: Mapping[int, str], wiring: Wiring, box_width: int
) -> str:
    _, fill, border, _ = _family(layer)
    x, baseline = wiring.columns_x[place.column], place.top + 14
    full = f"{layer.index} {layer.role} {layer.traits()}: {layer.shape}"
    return (
        f"<g><title>{escape(full)}</title>"
        f'<rect x="{x:.1f}" y="{place.top}" width="{box_width}" height="{BOX_HEIGHT}" rx="3" '
        f'fill="{fill}" stroke="{border}"/>'
        f'<text x="{x + 6:.1f}" y="{baseline}">{escape(labels[layer.index])}</text>'
        f'<text class="n" x="{x + box_width - 6:.1f}" y="{baseline}">{layer.shape[0]}</text></g>'
    )


def _flow_lines(
    layers: Sequence[Layer], places: Mapping[int, Place], wiring: Wiring
) -> Iterator[str]:
    """From a box to the one below that reads it."""
    for layer in layers[1:]:
        place = places[layer.index]
        if any(s == layer.index - 1 and is_direct(s, layer, places) for s in layer.sources):
            x = wiring.columns_x[place.column] + _FLOW
            above = places[layer.index - 1].top + BOX_HEIGHT
            yield f'<path class="l" d="M{x:.1f} {above}V{place.top}"/>'


def _wires(wires: Sequence[Wire]) -> Iterator[str]:
    colours = _colours(wires)
    for wire in wires:
        colour = _WIRE_COLOURS[colours[wire.source]]
        title = f"<title>{wire.source} -> {wire.target}</title>"
        yield f'<path class="w" stroke="{colour}" d="{_rounded(wire.points)}">{title}</path>'
        (x, y), before = wire.points[-1], wire.points[-2][0]
        back = x - 6 if before < x else x + 6
        yield f'<path fill="{colour}" d="M{x:.1f} {y:.1f}L{back:.1f} {y - 3:.1f}V{y + 3:.1f}Z"/>'


def _colours(wires: Sequence[Wire]) -> dict[int, int]:
    """A colour for the wires of each source, away from others of that colour near them."""
    ways: dict[int, list[Point]] = {}
    for wire in wires:
        ways.setdefault(wire.source, []).extend(wire.points)
    chosen: dict[int, int] = {}
    for source, points in ways.items():
        near = [chosen[other] for other in chosen if _boxes_meet(points, ways[other])]
        used = Counter(chosen.values())
        chosen[source] = min(
            range(len(_WIRE_COLOURS)), key=lambda colour: (near.count(colour), used[colour])
        )
    return chosen


def _boxes_meet(a: Sequence[Point], b: Sequence[Point]) -> bool:
    """Whether the upright boxes around two ways overlap."""
    return all(
        min(p[k] for p in a) <= max(p[k] for p in b)
        and min(p[k] for p in b) <= max(p[k] for p in a)
        for k in (0, 1)
    )


def _rounded(points: Sequence[Point]) -> str:
    """Straight lines between the points, with small arcs at the corners."""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(_CORNER, _distance(before, here) / 2, _distance(here, after) / 2)
        start, end = _towards(here, before, radius), _towards(here, after, radius)
        parts.append(f"L{start[0]:.1f} {start[1]:.1f}")
        parts.append(f"Q{here[0]:.1f} {here[1]:.1f} {end[0]:.1f} {end[1]:.1f}")
    parts.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    return "".join(parts)


def _distance(a: Point, b: Point) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _towards(start: Point, goal: Point, length: float) -> Point:
    share = length / max(_distance(start, goal), 1e-9)
    return start[0] + (goal[0] - start[0]) * share, start[1] + (goal[1] - start[1]) * share
