"""What `--form` costs: the same choice without it."""

from __future__ import annotations

from ...cfg import Cfg
from ..goals.budget import cost_of
from ..plan import PrunePlan


def form_cost(cfg: Cfg, form: str, plan: PrunePlan, free: PrunePlan) -> str:
    """A sentence: what `plan` keeps beyond `free`, which had to fit no modules."""
    channels = plan.channels - free.channels
    parameters = cost_of(cfg, plan, "params") - cost_of(cfg, free, "params")
    if not channels:
        return f"--form {form}: costs nothing here: without it the same channels would go"
    share = parameters / cost_of(cfg, free, "params")
    return (
        f"--form {form}: keeps {channels:,} channels more than the same choice without it, "
        f"{parameters:,} parameters ({share:+.1%}): its modules hold equal parts only"
    )
