"""How a network is fed, scored and filtered, as plain values: nothing here needs a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from ..cfg import Section, read_note
from ..cfg.head_note import HEAD_NOTE
from ..command.errors import UserError
from ..command.option_values import require_count

NmsName = Literal["default", "greedynms", "diounms", "none"]
# How a data set is fed and figures are counted: as COCO does, or as ultralytics' val does.
Rules = Literal["coco", "ultralytics"]
IouKind = Literal["iou", "giou", "diou", "ciou"]

CONF_THRES = 0.001
IOU_THRES = 0.6  # of NMS
MAX_DET = 300

_GREEDY_EXPONENT = 0.6  # greedynms has no beta_nms: Darknet's box_diou


@dataclass(frozen=True)
class Inputs:
    """The network that a command starts from: a cfg, and weights that fit it.

    `cfg` may be a checkpoint, which holds its own. `img_size` is (height, width) of its input in
    pixels; None takes the cfg's own.
    """

    cfg: str
    weights: str
    img_size: tuple[int, int] | None = None

    @property
    def cfg_file(self) -> Path:
        """Where the cfg lies, or would lie beside the checkpoint that holds it."""
        path = Path(self.cfg)
        return path.with_suffix(".cfg") if self.cfg == self.weights else path


@dataclass(frozen=True)
class Scoring:
    """How a network is scored on a data set, and on what it is run meanwhile.

    `data` is a `.data` file; without one nothing is scored. `fit` and `nms` may be "cfg": what the
    cfg says (see `as_the_cfg_says`). `device` as `pick_device` takes it. `seed` draws images.
    `rules`: of input and figures (see `score.py`).
    """

    data: str = ""
    fit: str = "cfg"
    nms: str = "cfg"
    batch_size: int = 16
    workers: int = 2
    device: str = ""
    seed: int = 0
    rules: Rules = "coco"


@dataclass(frozen=True)
class Development:
    """The part of a training list that choices are made on (see `development.py`).

    share: of the list, between 0 and 1; seed: which images; most: no more of the share than that.
    """

    share: float = 0.1
    seed: int = 0
    most: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError(f"--development: must lie between 0 and 1, got {self.share:g}")
        if self.seed < 0:
            raise UserError(f"--seed: must not be negative, got {self.seed}")
        if self.most is not None:
            require_count("--images", self.most)


@dataclass(frozen=True)
class NmsKind:
    """What makes two boxes of a class too near to keep both, as Darknet's `nms_kind` says.

    default     their IoU exceeds the threshold
    diounms     IoU - (d2 / c2)^beta does: d2 is the squared distance of the centres, c2 the
                squared diagonal of the enclosing box, so boxes with different centres are spared
    greedynms   as diounms with beta .6, whatever `beta` says
    none        nothing does: of a network that answers each object once, the best boxes are all
    """

    name: NmsName = "default"
    beta: float = 0.6

    @classmethod
    def of_head(cls, section: Section) -> NmsKind:
        """The kind that a head's section asks for; Darknet goes by the last head of the cfg.

        "none" for a head whose note says that it is trained to need none (one2one).
        Raises CfgError for a kind that does not exist or is not supported.
        """
        note = read_note(section, HEAD_NOTE)
        own = "none" if isinstance(note, dict) and note.get("one2one") is True else "default"
        name = section.text("nms_kind", own)
        beta = section.number("beta_nms", 0.6)
        # cornersnms merges left-top with right-bottom boxes, and is plain where all are centred.
        if name == "cornersnms" and section.text("yolo_point", "center") == "center":
            name = "default"
        if name not in get_args(NmsName):
            raise section.error(f"must be one of {', '.join(get_args(NmsName))}", "nms_kind")
        if beta <= 0:
            raise section.error(f"must be more than 0, got {beta:g}", "beta_nms")
        return cls(cast(NmsName, name), beta)

    @property
    def exponent(self) -> float | None:
        """Of d2 / c2; None: the distance does not count."""
        return {"greedynms": _GREEDY_EXPONENT, "diounms": self.beta}.get(self.name)


PLAIN = NmsKind()
