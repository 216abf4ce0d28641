"""Wires from a layer to those that read it later, routed so that no two run over each other.

A wire leaves its box on the right, runs up or down in the gutter behind the column, and ends at a
box of the same column (from the right) or of the next one (from the left). One that goes further
takes a bus above all columns. Wires of one source share their way; different ones have lanes of
their own wherever they run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ...network.layers import INPUT, Layer
from .columns import BOX_HEIGHT, Place

LANE = 6  # between neighbouring lanes, px
BUS_CLEARANCE = 10  # between the lowest bus and the columns
_LEFT_MARGIN, _RIGHT_MARGIN = 14, 16  # of a gutter: room for corners and arrow heads
_EXIT = 5  # below the middle of the box
_ENTRY_STEP = 4  # between wires that end on one side of a box
_GAP = 5  # between wires that share a lane

Point = tuple[float, float]
K = TypeVar("K", bound=Hashable)
Span = tuple[float, float]


@dataclass(frozen=True)
class Edge:
    """Layer `target` reads layer `source`, at height `entry` of its box."""

    source: int
    target: int
    entry: float


@dataclass(frozen=True)
class Wire:
    """Corners of one edge's way, in px; x from the left of column 0, y from the columns' top."""

    source: int
    target: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Wiring:
    """All wires, the left side of each column, the whole width, and the height of the buses."""

    wires: tuple[Wire, ...]
    columns_x: tuple[float, ...]
    width: float
    bus_height: float


def is_direct(source: int, layer: Layer, places: Mapping[int, Place]) -> bool:
    """Whether a short line from the box above is all that it takes."""
    if source == INPUT:
        return True
    here, there = places[layer.index], places[source]
    return source == layer.index - 1 and here.column == there.column


def route_wires(layers: Sequence[Layer], places: Mapping[int, Place], box_width: int) -> Wiring:
    """Give every edge that is not direct its way."""
    edges = _edges(layers, places)
    gutters = 1 + max(place.column for place in places.values())
    vertical = _vertical_spans(edges, places)
    lanes = [
        _assign({s: span for (g, s), span in vertical.items() if g == gutter})
        for gutter in range(gutters)
    ]
    columns_x, x = [], 0.0
    for gutter in range(gutters):
        columns_x.append(x)
        width = LANE * (1 + max(lanes[gutter].values(), default=-1))
        x += box_width + (_LEFT_MARGIN + width + _RIGHT_MARGIN if width else _RIGHT_MARGIN)

    def lane_x(gutter: int, source: int) -> float:
        return columns_x[gutter] + box_width + _LEFT_MARGIN + LANE * lanes[gutter][source]

    buses = _assign(_bus_spans(edges, places, lane_x))
    wires = []
    for edge in edges:
        here, there = places[edge.source], places[edge.target]
        start_x, leave = columns_x[here.column] + box_width, here.middle + _EXIT
        out = lane_x(here.column, edge.source)
        points = [(start_x, leave), (out, leave)]
        if _needs_bus(here, there):
            bus, down = _bus_y(buses[edge.source]), lane_x(there.column - 1, edge.source)
            points += [(out, bus), (down, bus), (down, edge.entry)]
        else:
            points.append((out, edge.entry))
        end = columns_x[there.column] + (box_width if here.column == there.column else 0)
        points.append((end, edge.entry))
        wires.append(Wire(edge.source, edge.target, tuple(points)))
    bus_height = -_bus_y(max(buses.values())) if buses else 0.0
    return Wiring(tuple(wires), tuple(columns_x), x, bus_height)


def _edges(layers: Sequence[Layer], places: Mapping[int, Place]) -> list[Edge]:
    edges = []
    for layer in layers:
        here = places[layer.index]
        sources = [s for s in dict.fromkeys(layer.sources) if not is_direct(s, layer, places)]
        right = [s for s in sources if places[s].column == here.column]
        left = [s for s in sources if places[s].column != here.column]
        for k, source in enumerate(right):
            edges.append(Edge(source, layer.index, here.middle - _EXIT + 3 * k))
        step = min(_ENTRY_STEP, (BOX_HEIGHT - 4) / max(1, len(left) - 1))
        for k, source in enumerate(left):
            entry = here.middle + step * (k - (len(left) - 1) / 2)
            edges.append(Edge(source, layer.index, entry))
    return edges


def _needs_bus(here: Place, there: Place) -> bool:
    return there.column > here.column + 1


def _vertical_spans(
    edges: Sequence[Edge], places: Mapping[int, Place]
) -> dict[tuple[int, int], Span]:
    """(gutter, source) -> the heights between which the source's wires run in that gutter."""
    heights: dict[tuple[int, int], list[float]] = {}
    for edge in edges:
        here, there = places[edge.source], places[edge.target]
        leaving = heights.setdefault((here.column, edge.source), [])
        leaving.append(here.middle + _EXIT)
        if _needs_bus(here, there):
            leaving.append(-BUS_CLEARANCE)
            arriving = heights.setdefault((there.column - 1, edge.source), [])
            arriving += [-BUS_CLEARANCE, edge.entry]
        else:
            leaving.append(edge.entry)
    return {key: (min(found), max(found)) for key, found in heights.items()}


def _bus_spans(
    edges: Sequence[Edge], places: Mapping[int, Place], lane_x: Callable[[int, int], float]
) -> dict[int, Span]:
    """Source -> the columns' width that its wires cross above them."""
    ends: dict[int, list[float]] = {}
    for edge in edges:
        here, there = places[edge.source], places[edge.target]
        if _needs_bus(here, there):
            found = ends.setdefault(edge.source, [lane_x(here.column, edge.source)])
            found.append(lane_x(there.column - 1, edge.source))
    return {source: (min(found), max(found)) for source, found in ends.items()}


def _bus_y(lane: int) -> float:
    return -BUS_CLEARANCE - LANE * lane


def _assign(spans: Mapping[K, Span]) -> dict[K, int]:
    """A lane for each span, the short ones first; spans in one lane keep apart."""
    taken: list[list[Span]] = []
    lanes: dict[K, int] = {}
    for key, (low, high) in sorted(spans.items(), key=lambda item: item[1][1] - item[1][0]):
        free = (
            lane
            for lane, others in enumerate(taken)
            if all(high + _GAP < a or b + _GAP < low for a, b in others)
        )
        lane = next(free, len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append((low, high))
        lanes[key] = lane
    return lanes
