"""What a finished prune is: the one result that scripts, reports and chains share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...cfg import Cfg
from ...detection.figures import ModelFigures
from ...network.weights import State
from ..choice.chooser import Chooser
from ..goals.latency_goal import LatencyCheck
from ..plan import PrunePlan
from ..proof.gate import Proof
from ..recalibrate import Recalibration
from ..sweeps.curve import Sweep


@dataclass(frozen=True)
class Pruned:
    """The pruned network, the proof that it equals the masked one, and what led to it.

    `cfg_path` and `weights_path` are where it was written, or would be in a dry run. `sweep` is
    what the choice was made by, where several values were tried.
    """

    cfg: Cfg
    state: State
    plan: PrunePlan
    proof: Proof
    before: ModelFigures
    after: ModelFigures
    cfg_path: Path
    weights_path: Path
    chooser: Chooser
    sweep: Sweep | None = None
    recalibration: Recalibration | None = None
    latency: LatencyCheck | None = None
