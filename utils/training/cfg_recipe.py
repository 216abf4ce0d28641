"""`--hyp-from-cfg`: what `[net]` and the heads say about training, as values of train.py's flags.

Flags that are given win. Darknet's defaults hold for keys that the cfg leaves out. What Darknet
does and this does not is named in a warning.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping
from typing import Any

from ..cfg import Cfg, Section
from ..command.flag_fields import flag_names
from ..network.cfg_of import read_cfg
from .losses.options import CFG_DECIDES, LossOptions

logger = logging.getLogger(__name__)

_NOT_HONOURED_IN_NET = ("mixup", "cutmix", "gaussian_noise", "blur", "adversarial_lr", "sgdr_cycle")
_NOT_HONOURED_IN_HEADS = (
    "focal_loss", "label_smooth_eps", "counters_per_class", "objectness_smooth", "resize",
)  # fmt: skip
# Darknet takes a mosaic for every other batch.
_MOSAIC_SHARE = 0.5


def with_recipe(typed: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """The flags' values, with the cfg's for all flags but the `given` ones.

    Raises CfgError for a learning rate policy that train.py does not have.
    """
    cfg = read_cfg(typed["cfg"])
    found = {key: value for key, value in recipe(cfg, typed, given).items() if key not in given}
    logger.info(
        "%s: %s", typed["cfg"], ", ".join(f"{key} {value}" for key, value in sorted(found.items()))
    )
    _warn_about_the_rest(cfg)
    if found.get("batch_size") == found.get("accumulate") == 1:
        logger.warning(
            "%s: batch 1 comes from the cfg ([net] batch, as published for testing); "
            "--batch-size or batch= changes it", typed["cfg"]
        )  # fmt: skip
    return {**typed, **found}


def recipe(cfg: Cfg, typed: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """What the cfg says, as values by the names of flags."""
    net = cfg.net
    batch = max(1, net.integer("batch", 1))
    batch_size = max(1, batch // max(1, net.integer("subdivisions", 1)))
    if "batch_size" in given:
        batch_size = typed["batch_size"]
    flag_of = flag_names(LossOptions)
    found: dict[str, Any] = {
        "batch_size": batch_size,
        "accumulate": max(1, round(batch / batch_size)),
        "optimizer": "adamw" if net.flag("adam") else "sgd",
        "lr0": net.number("learning_rate", 0.001),
        "momentum": net.number("momentum", 0.9),
        "weight_decay": net.number("decay", 0.0001),
        # The options that each head's section can decide.
        "loss_from_cfg": sorted(name for name in CFG_DECIDES if flag_of[name] not in given),
    }
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
