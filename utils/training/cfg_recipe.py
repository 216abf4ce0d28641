"""`--hyp-from-cfg`: what `[net]` and the heads say about training, as values of train.py's flags.

Flags that are given win. Darknet's defaults hold for keys that the cfg leaves out. What Darknet
does and this does not is named in a warning.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence
from typing import Any

from ..cfg import Cfg, Section, load_cfg
from ..command.cli import Parser
from .losses.loss_options import CFG_DECIDES

logger = logging.getLogger(__name__)

# The flags of the options that each head's section can decide.
_LOSS_FLAGS = {
    "box": "box_gain",
    "objectness": "obj_gain",
    "classes": "cls_gain",
    "box_loss": "box_loss",
    "iou_t": "iou_t",
    "objectness_target": "obj_target",
    "ignore_thresh": "ignore_thresh",
}
_NOT_HONOURED_IN_NET = ("mixup", "cutmix", "gaussian_noise", "blur", "adversarial_lr", "sgdr_cycle")
_NOT_HONOURED_IN_HEADS = (
    "focal_loss", "label_smooth_eps", "counters_per_class", "objectness_smooth", "resize",
)  # fmt: skip
WARMUP_POWER = 4.0  # Darknet's `power`
# Darknet takes a mosaic for every other batch.
_MOSAIC_SHARE = 0.5
_ABSENT = object()


def with_recipe(
    args: argparse.Namespace, parser: Parser, argv: Sequence[str] | None
) -> argparse.Namespace:
    """The arguments with the cfg's values for all flags that were not given.

    As they are without `--hyp-from-cfg`. Raises CfgError for a learning rate policy that train.py
    does not have.
    """
    if not args.hyp_from_cfg:
        return args
    # argparse sets no default where an attribute exists: what is no longer absent was given.
    absent = argparse.Namespace(**dict.fromkeys(vars(args), _ABSENT))
    given = {k for k, v in vars(parser.parse_args(argv, absent)).items() if v is not _ABSENT}
    cfg = load_cfg(args.cfg)
    found = {key: value for key, value in recipe(cfg, args, given).items() if key not in given}
    logger.info(
        "%s: %s", args.cfg, ", ".join(f"{key} {value}" for key, value in sorted(found.items()))
    )
    _warn_about_the_rest(cfg)
    if found.get("batch_size") == found.get("accumulate") == 1:
        logger.warning(
            "%s: batch 1 comes from the cfg ([net] batch, as published for testing); "
            "--batch-size or batch= changes it", args.cfg
        )  # fmt: skip
    return argparse.Namespace(**{**vars(args), **found})


def recipe(cfg: Cfg, args: argparse.Namespace, given: set[str]) -> dict[str, Any]:
    """Values of the flags, by their names in `args`."""
    net = cfg.net
    batch = max(1, net.integer("batch", 1))
    batch_size = max(1, batch // max(1, net.integer("subdivisions", 1)))
    if "batch_size" in given:
        batch_size = args.batch_size
    found: dict[str, Any] = {
        "batch_size": batch_size,
        "accumulate": max(1, round(batch / batch_size)),
        "optimizer": "adamw" if net.flag("adam") else "sgd",
        "lr0": net.number("learning_rate", 0.001),
        "momentum": net.number("momentum", 0.9),
        "weight_decay": net.number("decay", 0.0001),
        "loss_from_cfg": sorted(o for o, flag in _LOSS_FLAGS.items() if flag not in given),
    }
    assert set(_LOSS_FLAGS) == CFG_DECIDES
    if "schedule" not in given:
        found |= {"schedule": "step", "lr_marks": lr_marks(net)}
    if "warmup_epochs" not in given:
        found["burn_in"] = net.integer("burn_in")
    if "epochs" not in given and net.integer("max_batches") > 0:
        found["max_batches"] = net.integer("max_batches")
    return found | _augmentation(cfg)


def lr_marks(net: Section) -> list[list[float]]:
    """Learning rate after each of `steps`: [share of max_batches, factor], as policy= says."""
    policy = net.text("policy", "constant")
    if policy == "constant":
        return [[0.0, 1.0]]
    if policy != "steps":
        raise net.error(f"'{policy}' is none that --hyp-from-cfg takes; give --schedule", "policy")
    steps, scales = net.numbers("steps"), net.numbers("scales")
    if len(steps) != len(scales):
        raise net.error(f"{len(scales)} for {len(steps)} steps", "scales")
    end, factor, marks = net.integer("max_batches"), 1.0, [[0.0, 1.0]]
    for step, scale in zip(steps, scales, strict=True):
        factor *= scale
        marks.append([max(0.0, step / end) if end > 0 else 1.0, factor])
    return marks


def epochs_for(max_batches: int, per_epoch: int) -> int:
    """Whole epochs that hold so many optimizer steps."""
    return max(1, math.ceil(max_batches / max(1, per_epoch)))


def _augmentation(cfg: Cfg) -> dict[str, Any]:
    """[net]'s colours and mosaic, the last head's jitter and random, as in Darknet."""
    net = cfg.net
    head = next((s for s in reversed(cfg.layers) if s.has("classes")), net)
    jitter = head.number("jitter", 0.2)
    return {
        "mosaic": _MOSAIC_SHARE if net.flag("mosaic") else 0.0,
        "close_mosaic": 0,
        "hsv_h": min(0.5, net.number("hue", 0.0)),
        "hsv_s": min(1.0, max(0.0, net.number("saturation", 1.0) - 1)),
        "hsv_v": min(1.0, max(0.0, net.number("exposure", 1.0) - 1)),
        "degrees": min(180.0, net.number("angle", 0.0)),
        "flip": 0.5 if net.flag("flip", True) else 0.0,
        # Darknet moves each side of the picture by up to `jitter`: the spread of the middle and
        # of the size that comes of it, as uniform distributions.
        "translate": min(1.0, round(jitter / math.sqrt(2), 4)),
        "scale": min(0.95, round(jitter * math.sqrt(2), 4)),
        "multi_scale": head.number("random", 0.0) != 0,
    }


def _warn_about_the_rest(cfg: Cfg) -> None:
    heads = [section for section in cfg.layers if section.has("classes")]
    keys = {key for key in _NOT_HONOURED_IN_NET if cfg.net.number(key, 0.0)}
    keys |= {key for key in _NOT_HONOURED_IN_HEADS for s in heads if s.number(key, 0.0)}
    if keys:
        logger.warning("%s: not honoured in training: %s", cfg.source, ", ".join(sorted(keys)))
