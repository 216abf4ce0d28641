"""What a runtime's integers cost, as plain numbers: nothing here needs a tensor."""

from __future__ import annotations

from dataclasses import dataclass

NOTABLE_SHARE = 0.5  # right integers were at .1 to .35, those that overflow from .7 on


@dataclass(frozen=True)
class IntegerErrors:
    """Mean differences: what a runtime's integers cost, and what the rounding to 8 bits costs.

    Each is a pair: the int8 file as it is run against the same graph in float, and that graph
    against the network in float. boxes_px: of their four numbers. scores: of 0..1.
    """

    boxes_px: tuple[float, float]
    scores: tuple[float, float]

    @property
    def share(self) -> float:
        """The larger of both as a share of what the rounding costs; 1 doubles it."""
        pairs = (self.boxes_px, self.scores)
        shares = [own / rounding for own, rounding in pairs if rounding > 0]
        return max(shares, default=0.0)

    def __str__(self) -> str:
        """One line, and a warning where the processor adds to what is lost."""
        (box, box_rounding), (score, score_rounding) = self.boxes_px, self.scores
        warning = ""
        if self.share > NOTABLE_SHARE:
            warning = (
                "\nWARNING: this processor computes these integers less exactly than rounding "
                "asks for: look at the mAP, or take --half"
            )
        return (
            f"integers against the same graph in float: boxes {box:.2g} px, scores {score:.2g} "
            f"(means; the rounding itself: {box_rounding:.2g} px, {score_rounding:.2g})"
            f"{warning}"
        )
