"""A hypothesis strategy for cfgs that compose every section kind that pruning must get through."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from models import Darknet
from tests.support.nets import State, conv, head, healthy_state, net, section
from utils.cfg import Cfg
from utils.network.graph import channel_graph
from utils.network.layers import build_layers
from utils.network.layers.activations import ELEMENTWISE
from utils.pruning.foldable import removable_blocks
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.plan import PrunePlan, drop_blocks, make_plan
from utils.pruning.strategy import ChannelRule

# stair jumps: rounding decides on which side of a step a value falls.
SMOOTH = sorted(set(ELEMENTWISE) - {"stair"})
SIZE = 16

Draw = Callable[[st.SearchStrategy], object]  # type: ignore[type-arg]


class Sketch:
    """Sections so far, and the shape of every layer they make."""

    def __init__(self) -> None:
        self.sections: list[str] = []
        self.shapes: list[tuple[int, int, int]] = []

    def add(self, text: str) -> None:
        self.sections.append(text)
        cfg = net(*self.sections, width=SIZE, height=SIZE)
        self.shapes = [layer.shape for layer in build_layers(cfg)]

    @property
    def last(self) -> tuple[int, int, int]:
        return self.shapes[-1]

    @property
    def index(self) -> int:
        return len(self.shapes)

    def alike(self, *, channels: bool) -> list[int]:
        """Earlier layers of the last one's size (and number of channels)."""
        start = 0 if channels else 1
        return [k for k, s in enumerate(self.shapes[:-1]) if s[start:] == self.last[start:]]


@st.composite
def cfgs(draw: Draw, steps: int = 7) -> Cfg:
    """A network of random sections, with one or two heads."""
    sketch = Sketch()
    sketch.add(conv(draw(st.sampled_from((4, 8))), activation=draw(st.sampled_from(SMOOTH))))
    for _ in range(draw(st.integers(2, steps))):
        draw(st.sampled_from(STEPS))(draw, sketch)
    sketch.add(conv(8, 1))
    for text in _heads(draw, sketch):
        sketch.sections.append(text)
    return net(*sketch.sections, width=SIZE, height=SIZE)


def _heads(draw: Draw, sketch: Sketch) -> list[str]:
    kind = draw(st.sampled_from(("yolo", "two", "region", "Gaussian_yolo")))
    if kind == "two":
        back = -3
        return [head(), section("route", layers=back), conv(4), head()]
    if kind == "region":
        anchors = "1,1,2,2"
        last = conv(2 * 7, 1, batch_normalize=None, activation="linear")
        return [last, section("region", anchors=anchors, num=2, classes=2, softmax=1)]
    if kind == "Gaussian_yolo":
        last = conv(2 * 11, 1, batch_normalize=None, activation="linear")
        return [
            last,
            section("Gaussian_yolo", mask="0,1", anchors="6,5,14,12", num=2, classes=2),
        ]
    return [head()]


def plain_conv(draw: Draw, sketch: Sketch) -> None:
    dilation = draw(st.sampled_from((1, 1, 2)))
    sketch.add(
        conv(
            draw(st.sampled_from((2, 4, 6, 8))),
            draw(st.sampled_from((1, 3))),
            stride=draw(st.sampled_from((1, 1, 2))) if min(sketch.last[1:]) >= 8 else 1,
            dilation=dilation,
            activation=draw(st.sampled_from(SMOOTH)),
            batch_normalize=draw(st.sampled_from((1, 1, 1, None))),
        )
    )


def grouped_conv(draw: Draw, sketch: Sketch) -> None:
    channels = sketch.last[0]
    groups = draw(st.sampled_from([g for g in (1, 2, 4, channels) if channels % g == 0]))
    sketch.add(conv(channels * draw(st.sampled_from((1, 2))), groups=groups))


def shared_conv(draw: Draw, sketch: Sketch) -> None:
    channels = sketch.last[0]
    sketch.add(conv(channels))
    sketch.add(conv(channels, share_index=-1))


def residual(draw: Draw, sketch: Sketch) -> None:
    channels = sketch.last[0]
    sketch.add(conv(4, 1))
    sketch.add(conv(channels, activation=draw(st.sampled_from(SMOOTH))))
    sketch.add(section("shortcut", frm=-3, activation=draw(st.sampled_from(("linear", "leaky")))))


def joined(draw: Draw, sketch: Sketch) -> None:
    """A shortcut to any layers of this size, weighted or not, of fewer or more channels."""
    others = sketch.alike(channels=False)
    if not others:
        return
    chosen = draw(st.lists(st.sampled_from(others), min_size=1, max_size=2, unique=True))
    weighted = draw(st.sampled_from((None, None, "per_feature", "per_channel")))
    sketch.add(
        section(
            "shortcut",
            frm=",".join(map(str, chosen)),
            activation=draw(st.sampled_from(("linear", "mish", "relu"))),
            weights_type=weighted,
            weights_normalization=weighted and draw(st.sampled_from(("relu", "softmax"))),
        )
    )


def routed(draw: Draw, sketch: Sketch) -> None:
    others = [*sketch.alike(channels=False), sketch.index - 1]
    chosen = draw(st.lists(st.sampled_from(others), min_size=1, max_size=3))
    groups = 2 if all(sketch.shapes[k][0] % 2 == 0 for k in chosen) else 1
    groups = draw(st.sampled_from((1, groups)))
    names = ",".join(map(str, chosen))
    sketch.add(
        section("route", layers=names, groups=groups, group_id=draw(st.integers(0, groups - 1)))
    )


def pooled(draw: Draw, sketch: Sketch) -> None:
    kind = draw(st.sampled_from(("maxpool", "local_avgpool", "maxpool")))
    stride = draw(st.sampled_from((1, 2))) if min(sketch.last[1:]) >= 8 else 1
    sketch.add(section(kind, size=draw(st.sampled_from((2, 3, 5))), stride=stride))


def over_channels(draw: Draw, sketch: Sketch) -> None:
    if sketch.last[0] % 2 == 0:
        sketch.add(section("maxpool", maxpool_depth=1, out_channels=sketch.last[0] // 2, size=1))


def upsampled(draw: Draw, sketch: Sketch) -> None:
    if max(sketch.last[1:]) <= SIZE // 2:
        sketch.add(section("upsample", stride=2, scale=draw(st.sampled_from((None, 0.5)))))


def squeezed(draw: Draw, sketch: Sketch) -> None:
    """Squeeze-and-excite over the layer at hand."""
    channels, at = sketch.last[0], sketch.index - 1
    sketch.add(section("avgpool"))
    sketch.add(conv(2, 1, activation="swish"))
    norm = draw(st.sampled_from((1, None)))
    sketch.add(conv(channels, 1, activation="logistic", batch_normalize=norm))
    sketch.add(section("scale_channels", frm=at))


def attended(draw: Draw, sketch: Sketch) -> None:
    at = sketch.index - 1
    sketch.add(conv(sketch.last[0], 1, activation="logistic"))
    sketch.add(section("sam", frm=at))


def attending(draw: Draw, sketch: Sketch) -> None:
    """Queries, keys and values of one layer, with or without a convolution of the values' place."""
    at, heads = sketch.index - 1, draw(st.sampled_from((1, 2)))
    pairs, values = (heads * draw(st.sampled_from((1, 2, 4))) for _ in range(2))
    chosen = draw(st.sampled_from(("linear", "leaky")))
    for count in (pairs, pairs, values):
        if sketch.index - 1 != at:
            sketch.add(section("route", layers=at))
        sketch.add(conv(count, draw(st.sampled_from((1, 3))), activation=chosen))
    read = f"{at + 1},{at + 3},{at + 5}"
    area = draw(st.sampled_from((1, 2) if sketch.last[1] * sketch.last[2] % 2 == 0 else (1,)))
    placed = draw(st.booleans())
    if placed:
        sketch.add(conv(values, 3, groups=values, activation="linear"))
    scale = draw(st.sampled_from((0.3, -1.0)))
    sketch.add(section("attention", frm=read, heads=heads, area=area, scale=scale))
    if placed:
        sketch.add(section("shortcut", frm=-2, activation="linear"))


def mapped(draw: Draw, sketch: Sketch) -> None:
    """One factor per position."""
    at = sketch.index - 1
    sketch.add(conv(1, 1, activation="logistic"))
    sketch.add(section("scale_channels", frm=at, scale_wh=1))


def reorganised(draw: Draw, sketch: Sketch) -> None:
    channels, height, _ = sketch.last
    kind = draw(st.sampled_from(("reorg", "reorg3d")))
    if channels % 4 == 0 and channels <= 8 and height >= 8:
        sketch.add(section(kind, stride=2))


def normalised(draw: Draw, sketch: Sketch) -> None:
    sketch.add(section("batchnorm"))


def activated(draw: Draw, sketch: Sketch) -> None:
    sketch.add(section("activation", activation=draw(st.sampled_from(SMOOTH))))


def scaled_by_implicit(draw: Draw, sketch: Sketch) -> None:
    at = sketch.index - 1
    sketch.add(section("implicit", filters=sketch.last[0], atoms=1))
    sketch.add(section("scale_channels", frm=at))


def passed_on(draw: Draw, sketch: Sketch) -> None:
    sketch.add(section(draw(st.sampled_from(("dropout", "empty")))))


def across_channels(draw: Draw, sketch: Sketch) -> None:
    sketch.add(conv(4, 1, activation="normalize_channels_softmax_maxval"))


STEPS = (
    plain_conv, plain_conv, grouped_conv, shared_conv, residual, residual, joined, routed, routed,
    pooled, over_channels, upsampled, squeezed, attended, attending, mapped, reorganised,
    normalised, activated, scaled_by_implicit, passed_on, across_channels,
)  # fmt: skip


RULES = (
    ChannelRule("max", "ratio", keep_threshold=False),
    ChannelRule("first"),
    ChannelRule("keep"),
)


def planned(cfg: Cfg, seed: int, rule: ChannelRule, ratio: float) -> tuple[State, PrunePlan]:
    """A plan for random weights; from half of the channels on, half of the blocks go, too."""
    model = Darknet(cfg)
    state = healthy_state(model, seed)
    graph = channel_graph(model.rules)
    scores = batch_norm_scale(graph, state)
    plan = make_plan(graph, scores, rule, ratio)
    if ratio < 0.5:
        return state, plan
    blocks, others = removable_blocks(graph, state)
    return state, drop_blocks(plan, scores, -(-len(blocks) // 2), blocks, others)
