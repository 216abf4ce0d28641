"""The picture of a search: each trial's score, the best so far, and where it began."""

from __future__ import annotations

import itertools

import matplotlib
from matplotlib.figure import Figure

from ...pictures.charts import BLUE, GREEN, ORANGE, PALE, STYLE, legend_above, one_plot
from .run import Found
from .start import GUESSES, PLAIN


def search_chart(found: Found) -> Figure:
    """mAP@.5 by trial, and a line at the plain ranking's."""
    with matplotlib.rc_context(STYLE):
        figure, axes = one_plot(7.0, 3.4)
        draws = [trial.draw for trial in found.trials]
        scores = [trial.map50 for trial in found.trials]
        axes.plot(draws, scores, "o", color=PALE, markersize=3, label="cut network")
        guesses = [trial for trial in found.trials if trial.origin in GUESSES]
        axes.plot(
            [trial.draw for trial in guesses], [trial.map50 for trial in guesses], "D",
            color=GREEN, markersize=4, label="first guesses",
        )  # fmt: skip
        best = list(itertools.accumulate(scores, max))
        axes.step(draws, best, where="post", color=BLUE, linewidth=1.4, label="best so far")
        plain = [trial.map50 for trial in found.trials if trial.origin == PLAIN]
        if plain:
            axes.axhline(plain[0], color=ORANGE, linewidth=1.2, linestyle="--", label=PLAIN)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("trial")
        axes.set_ylabel(f"mAP@.5, {found.images} development images")
        legend_above(axes)
        return figure
