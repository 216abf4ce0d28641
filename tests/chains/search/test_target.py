"""`search.py --for TARGET`: widths in the multiples that the target's kernels are fast at."""

from __future__ import annotations

import pytest

from train import STRATEGIES
from utils.chains.search.flags import read_flags

_NEEDED = ["--cfg", "a.cfg", "--weights", "a.weights", "--data", "a.data", "--target-params", ".5"]


@pytest.mark.parametrize(
    ("words", "multiple"),
    [
        ([], 1),
        (["--for", "onnx"], 8),
        (["--for", "litert"], 1),
        (["--for", "onnx", "--round-to", "12"], 24),
        (["--for", "litert", "--round-to", "12"], 12),
    ],
)
def test_multiple_suits_the_target_and_round_to(words: list[str], multiple: int) -> None:
    run = read_flags(STRATEGIES, None, [*_NEEDED, *words])
    assert run.options is not None
    assert run.options.round_to == multiple
    assert run.typed.get("target") == (words[1] if words else None)
