"""A state whose changed tensors are made when they are asked for: never two whole copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from torch import Tensor


class LaterState(Mapping[str, Tensor]):
    """The tensors of a state, without `left_out`; those in `changed` are made anew each time."""

    def __init__(
        self,
        state: Mapping[str, Tensor],
        changed: Mapping[str, Callable[[], Tensor]],
        left_out: frozenset[str] = frozenset(),
    ) -> None:
        self._state = state
        self._changed = changed
        self._keys = dict.fromkeys(key for key in (*state, *changed) if key not in left_out)

    def __getitem__(self, key: str) -> Tensor:
        if key not in self._keys:
            raise KeyError(key)
        return self._changed[key]() if key in self._changed else self._state[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
