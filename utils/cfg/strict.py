"""A cfg as the strictest reader takes it: the Darknet fork of hank-ai.

Where AlexeyAB's Darknet prints a message and goes on, the fork ends: at a key that a section does
not read, at a key given twice, at a number in scientific notation, at a section that it dropped, at
a name that it does not know. The keys and names are those that its reader asks for
(src-lib/darknet_cfg.cpp and darknet_enums.cpp, f684e1d). In a list it reads `1e1` as 1 and 1, and
says nothing; and its ONNX exporter takes other values than its network where size or stride are
left out.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from .edit import remove_option, set_option
from .parse import Cfg, Line, Section

_ANY_LAYER = frozenset(
    ("clip", "onlyforward", "dont_update", "burnin_update", "stopbackward", "train_only_bn",
     "dontload", "dontloadscales", "learning_rate")
)  # fmt: skip
_DETECTOR = (
    "classes num max jitter resize random map anchors ignore_thresh truth_thresh iou_thresh mask "
    "max_delta counters_per_class label_smooth_eps scale_x_y objectness_smooth iou_normalizer "
    "obj_normalizer cls_normalizer delta_normalizer iou_loss iou_thresh_kind beta_nms nms_kind "
)
_NET = (
    "max_batches batch learning_rate learning_rate_min sgdr_cycle sgdr_mult momentum decay "
    "subdivisions time_steps track augment_speed sequential_subdivisions try_fix_nan "
    "weights_reject_freq equidistant_point badlabels_rejection_percentage "
    "num_sigmas_reject_badlabels ema_alpha use_cuda_graph loss_scale dynamic_minibatch "
    "optimized_memory workspace_size_limit_MB adam height width channels inputs flip blur "
    "gaussian_noise mixup cutmix mosaic letter_box mosaic_bound contrastive contrastive_jit_flip "
    "contrastive_color label_smooth_eps resize_step attention adversarial_lr max_chart_loss angle "
    "aspect saturation exposure hue power policy burn_in show_receptive_field stopbackward"
)
# Keys that [net] reads under one learning rate policy (or with adam=1) only.
_BY_POLICY = {
    "step": ("step", "scale"),
    "steps": ("steps", "scales", "seq_scales"),
    "sgdr": ("steps", "scales", "seq_scales"),
    "exp": ("gamma",),
    "sigmoid": ("gamma", "step"),
}
_ADAM = ("B1", "B2", "eps")

_KEYS = {
    kind: frozenset(keys.split())
    for kind, keys in {
        "convolutional": "filters groups size stride stride_x stride_y dilation antialiasing pad "
        "padding activation assisted_excitation share_index batch_normalize cbn binary xnor "
        "bin_output sway rotate stretch stretch_sway flipped dot angle grad_centr reverse "
        "coordconv stream wait_stream",
        "route": "layers groups group_id stream wait_stream",
        "maxpool": "stride stride_x stride_y size padding maxpool_depth out_channels antialiasing "
        "maxpool_zero_nonmax",
        "yolo": _DETECTOR + "new_coords focal_loss track_history_size sim_thresh dets_for_track "
        "dets_for_show track_ciou_norm embedding_layer",
        "Gaussian_yolo": _DETECTOR + "uc_normalizer yolo_point",
        "region": "coords classes num log sqrt softmax focal_loss max rescore classfix absolute "
        "bias_match jitter resize thresh random coord_scale object_scale noobject_scale mask_scale "
        "class_scale tree map anchors",
        "upsample": "stride scale",
        "shortcut": "activation weights_type weights_normalization from",
        "connected": "output activation batch_normalize",
        "local_avgpool": "stride stride_x stride_y size padding",
        "reorg3d": "stride reverse",
        "avgpool": "",
        "cost": "type scale ratio",
        "softmax": "groups temperature tree spatial noloss",
        "scale_channels": "from scale_wh activation",
        "sam": "from activation",
        "dropout": "dropblock probability dropblock_size_rel dropblock_size_abs",
        "contrastive": "classes yolo_layer temperature cls_normalizer max_delta "
        "contrastive_neg_max",
    }.items()
}
_TEXT_KEYS = frozenset(
    ("activation", "policy", "type", "tree", "map", "weights_type", "weights_normalization",
     "iou_loss", "iou_thresh_kind", "nms_kind", "yolo_point")
)  # fmt: skip
_LIST_KEYS = frozenset(
    ("layers", "from", "anchors", "mask", "steps", "scales", "seq_scales", "counters_per_class")
)
_NUMBER = frozenset("-.0123456789")
# The names it knows, and what AlexeyAB's Darknet takes where it reads another one: "", its default.
_NAMES = {
    "policy": (("constant", "random", "poly", "step", "exp", "sigmoid", "steps", "sgdr"), ""),
    "nms_kind": (("default", "greedynms", "diounms", "cornersnms"), ""),
    "iou_loss": (("mse", "iou", "giou", "diou", "ciou"), "iou"),
    "iou_thresh_kind": (("iou", "giou", "diou", "ciou"), ""),
}
_MULTIPLE_PX = 32
_NO_SWISH = ("scale_channels", "sam")
_INSTEAD = "export.py --format onnx makes a file that OpenCV and ONNX Runtime run"


def add_strict_darknet(parser: argparse._ActionsContainer) -> None:
    """Add `--strict-darknet` to a command that writes a cfg."""
    parser.add_argument(
        "--strict-darknet",
        action="store_true",
        help="write the cfg as hank-ai's Darknet wants it: without keys and names that it does not "
        "know, without a key given twice, numbers without exponents; refuse what it cannot run",
    )


def strict_cfg(cfg: Cfg) -> Cfg:
    """The cfg without lines that the fork stops at; it computes the same.

    Keys that it does not know go (no Darknet needs them to run a network), as do second lines of
    one key and names that Darknet reads as its default; numbers with exponents are spelt out, in
    lists too, and so are sizes and strides that are left out. `;` comments start with `#`: behind a
    `;` it reads a key. Raises CfgError for a section, activation or input size that it cannot run.
    """
    net = _cleaned(cfg.net, _net_keys(cfg.net))
    for side in ("width", "height"):
        pixels = net.integer(side, 0)
        if pixels % _MULTIPLE_PX and cfg.layers and cfg.layers[-1].kind in ("yolo", "region"):
            raise net.error(
                f"hank-ai's Darknet runs multiples of {_MULTIPLE_PX} only, not {pixels}", side
            )
    layers = []
    for section in cfg.layers:
        if section.kind not in _KEYS:
            raise section.error(f"hank-ai's Darknet has no such section; {_INSTEAD}")
        if section.kind in _NO_SWISH and section.text("activation") in ("swish", "mish"):
            raise section.error(
                f"hank-ai's Darknet runs no swish or mish in such a section; {_INSTEAD}",
                "activation",
            )
        if section.text("weights_type", "none") == "per_layer":
            section = set_option(section, "weights_type", "per_feature")  # its other name
        layers.append(_cleaned(_sized(section), _KEYS[section.kind] | _ANY_LAYER))
    preamble = tuple(_comment(line) for line in cfg.preamble)
    return replace(cfg, net=net, layers=tuple(layers), preamble=preamble)


def _net_keys(net: Section) -> frozenset[str]:
    policy = net.text("policy", "constant")
    adam = _ADAM if net.integer("adam", 0) else ()
    return frozenset(_NET.split()) | frozenset(_BY_POLICY.get(policy, ())) | frozenset(adam)


def _cleaned(section: Section, known: frozenset[str]) -> Section:
    kept: list[Line] = []
    for line in section.lines:
        if not line.key:
            kept.append(_comment(line))
        elif line.key in known and line is section.options[line.key]:
            value = _value(section, line)
            if value:
                text = line.text if value == line.value else f"{line.key}={value}\n"
                kept.append(replace(line, text=text, value=value))
    return replace(section, lines=tuple(kept))


def _value(section: Section, line: Line) -> str:
    """What a key is to be; "" where it is to go. Raises CfgError where a number is none."""
    if line.key in _NAMES:
        known, otherwise = _NAMES[line.key]
        return line.value if line.value in known else otherwise
    if line.key in _LIST_KEYS:
        return ",".join(_spelt_out(part) or part for part in line.value.split(","))
    value = line.value if line.key in _TEXT_KEYS else _spelt_out(line.value)
    if not value:
        raise section.error(f"'{line.value}' is not a number", line.key)
    return value


def _spelt_out(number: str) -> str:
    """Without an exponent or a plus; "" for what is no number."""
    if set(number) <= _NUMBER:
        return number
    try:
        return f"{float(number):.12f}".rstrip("0").rstrip(".")
    except ValueError:
        return ""


def _sized(section: Section) -> Section:
    """With the size, stride and padding that it has by default, as the network has them."""
    if section.kind == "convolutional":
        size = section.integer("size", 1)
        same = section.has("padding") and section.integer("padding") == size // 2
        if same and not section.flag("pad"):
            section = set_option(remove_option(section, "padding"), "pad", "1")
        section = _with_default(section, "size", "1")
        return section if section.has("stride_x") else _with_default(section, "stride", "1")
    if section.kind == "maxpool" and not section.has("stride_x"):
        section = _with_default(section, "stride", "1")
        return _with_default(section, "size", section.text("stride"))
    return section


def _with_default(section: Section, key: str, value: str) -> Section:
    return section if section.has(key) else set_option(section, key, value)


def _comment(line: Line) -> Line:
    bare = line.text.lstrip()
    return replace(line, text=f"#{bare[1:]}") if bare.startswith(";") else line
