"""Numbers and times in the few digits that a reader wants."""

from __future__ import annotations


def short_count(count: float) -> str:
    """A large number in three digits: `1.71 M`, `70.5 M`, `273 G`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            value = count / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    return f"{count:.0f}"


def duration(seconds: float) -> str:
    """How long something takes: `34 s`, `5 min`, `2 h 10 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
