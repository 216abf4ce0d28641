"""What a teacher is asked, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ...command.cli import img_size
from ...command.errors import UserError
from ...command.flag_fields import flag
from ...network.cfg_of import own_cfg

DistillKind = Literal["1", "2", "response", "feature", "cross"]
FeatureLoss = Literal["cwd", "mse", "pkd"]


@dataclass(frozen=True)
class DistillOptions:
    """kinds: whose losses are added up; gains: factors of the strategies' and of the features'.

    temperature: of the softmaxes. feature_loss: which distance of features.
    """

    kinds: tuple[DistillKind, ...] = field(default=("response",), metadata=flag("distill"))
    temperature: float = 3.0
    gain: float = field(default=1.0, metadata=flag("distill_gain"))
    feature_gain: float = 5.0
    feature_loss: FeatureLoss = "cwd"


def _size(values: Sequence[int] | None) -> tuple[int, int] | None:
    return img_size(values, "--t-img-size")


@dataclass(frozen=True)
class TeacherOptions:
    """A network that teaches: its cfg ('' is no teacher) and weights, and what it teaches.

    plan: the .plan.json that links its channels to the student's; None is the one beside the
    student's cfg. size: (height, width) at which it sees the images, None is the student's.
    unlabelled: a folder of further images of which it teaches alone. Left out, the
    cfg is what the weights have of their own. Raises UserError for a cfg without weights, for
    weights that hold none, and for images without labels or a teacher.
    """

    cfg: str = field(default="", metadata=flag("t_cfg"))
    weights: str = field(default="", metadata=flag("t_weights"))
    plan: str | None = field(default=None, metadata=flag("t_plan"))
    lessons: DistillOptions = field(default_factory=DistillOptions)
    size: tuple[int, int] | None = field(default=None, metadata=flag("t_img_size", read=_size))
    unlabelled: str = ""

    def __post_init__(self) -> None:
        if self.weights and not self.cfg:
            own = own_cfg(self.weights)
            if own is None:
                raise UserError("--t-weights: needs the teacher's structure, too: --t-cfg")
            object.__setattr__(self, "cfg", own)  # frozen
        if self.cfg and not self.weights:
            raise UserError("--t-cfg: a teacher without --t-weights knows nothing")
        if self.unlabelled and not self.weights:
            raise UserError(
                "--unlabelled: images without labels need a teacher that knows them: --t-weights"
            )
