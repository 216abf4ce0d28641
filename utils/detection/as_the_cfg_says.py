"""Flags whose default stands in the cfg: how images are fitted, and which boxes NMS drops.

Every command that feeds images to a network has them, with one rule, so that a model is trained,
scored after each epoch, pruned, validated and run in the same way without a flag:

    --fit cfg    letterbox where [net] says letter_box=1, else stretch, as Darknet does
    --nms cfg    the nms_kind (and beta_nms) of the last head, as Darknet does; none for one2one
"""

from __future__ import annotations

import argparse
from typing import cast, get_args

from ..cfg import Cfg, Section
from ..data.options import Fit
from .options import NmsKind, NmsName

FROM_CFG = "cfg"


def add_fit(parser: argparse._ActionsContainer) -> None:
    """Add `--fit`; read it back with `chosen_fit`."""
    parser.add_argument(
        "--fit",
        choices=(FROM_CFG, *get_args(Fit)),
        default=FROM_CFG,
        help="keep the aspect ratio of images, or stretch them to the network's input; cfg: "
        "letterbox where its [net] has letter_box=1, else stretch, as Darknet",
    )


def add_nms(parser: argparse._ActionsContainer) -> None:
    """Add `--nms`; read it back with `chosen_nms`."""
    parser.add_argument(
        "--nms",
        choices=(FROM_CFG, *get_args(NmsName)),
        default=FROM_CFG,
        help="boxes that NMS takes for one object: by IoU (default), or less so where centres "
        "differ (greedynms, diounms), or none; cfg: its last head's nms_kind, as Darknet, and none "
        "for heads that are trained to need none (one2one)",
    )


def chosen_fit(flag: str, cfg: Cfg) -> Fit:
    """What a `--fit` means for a cfg."""
    if flag == FROM_CFG:
        return "letterbox" if cfg.net.flag("letter_box") else "stretch"
    return cast(Fit, flag)


def chosen_nms(flag: str, head: Section) -> NmsKind:
    """What a `--nms` means for a cfg whose last head is `head`; beta is the head's in any case.

    Raises CfgError for a kind of the cfg that does not exist.
    """
    if flag == FROM_CFG:
        return NmsKind.of_head(head)
    return NmsKind(cast(NmsName, flag), head.number("beta_nms", NmsKind.beta))
