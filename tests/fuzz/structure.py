"""Right in form, wrong in kind: trees of values with some of them exchanged (hypothesis)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

_TEXT = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "a\nb", "\ud800", "\0", "..", "/", "x" * 300, "1", "nan"]),
)  # fmt: skip
_NUMBERS = st.one_of(
    st.integers(-3, 9),
    st.sampled_from([2**31, 2**63, -(2**70), 10**30, 0.5, -0.0, 1e308, math.inf, math.nan]),
)
_LEAVES = st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXT)
VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def variants(draw: Draw, content: Any, odd: st.SearchStrategy[Any] = VALUES) -> Any:
    """The content with one to three of its values exchanged, removed or doubled."""
    changed = [copy.deepcopy(content)]
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(changed))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        how = draw(st.integers(0, 5))
        if how == 0 and holder is not changed:
            del holder[key]
        elif how == 1 and isinstance(holder, list) and holder is not changed:
            holder.insert(key, copy.deepcopy(holder[key]))
        else:
            holder[key] = draw(odd)
    return changed[0]


def _places(tree: Any) -> Any:
    """Every (container, key) of a tree; of long lists, the first values."""
    keys = list(tree)[:20] if isinstance(tree, dict) else range(min(len(tree), 20))
    for key in keys:
        yield tree, key
        if isinstance(tree[key], dict | list) and len(tree[key]):
            yield from _places(tree[key])


def odd_tensors() -> st.SearchStrategy[Any]:
    """What torch saves and no layer can use, among values of other kinds."""
    one = torch.ones(1)
    made = (
        lambda: torch.ones(3).to_sparse(),
        lambda: torch.empty(3, device="meta"),
        lambda: one.expand(1 << 40),
        lambda: torch.full((3,), math.nan),
        lambda: torch.ones(2, dtype=torch.complex64),
        lambda: torch.ones(4, 4, dtype=torch.bfloat16).T,
        lambda: torch.zeros(0),
        lambda: torch.ones(3, dtype=torch.bool),
        lambda: torch.tensor(5),
        lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    )
    return st.one_of(VALUES, st.sampled_from(made).map(lambda make: make()))
