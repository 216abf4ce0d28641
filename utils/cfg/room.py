"""Whether a network's tensors can exist: counted while its shapes are found, before any is made."""

from __future__ import annotations

from ..command.limits import FLAG, tensor_limit
from .parse import Section

# Channels of all layers together, as a share of the limit: the readings that treat each channel by
# itself (ties, constants) take some hundred bytes for one.
_NUMBERS_PER_CHANNEL = 64


class Room:
    """What the layers of a cfg have taken so far of the numbers that there is room for."""

    def __init__(self) -> None:
        self._weights = 0
        self._channels = 0
        self._most_channels = max(1, tensor_limit() // _NUMBERS_PER_CHANNEL)

    def take(self, section: Section, largest: int, weights: int, channels: int) -> None:
        """Count a layer. Raises CfgError, with file:line, for the one that is too much."""
        require_room(section, "its largest tensor", largest)
        self._weights += weights
        require_room(section, "with its weights, those of the network", self._weights)
        self._channels += channels
        if self._channels > self._most_channels:
            raise section.error(
                f"with it, the layers have {self._channels} channels; more than "
                f"{self._most_channels} need a higher {FLAG}"
            )


def require_room(section: Section, what: str, numbers: int) -> None:
    """Raise CfgError for a tensor that is larger than `--tensor-limit`."""
    if numbers > tensor_limit():
        raise section.error(
            f"{what} would be {_short(numbers)} numbers; more than {tensor_limit()} need a higher "
            f"{FLAG}"
        )


def _short(numbers: int) -> str:
    """Thousands of digits help nobody."""
    return str(numbers) if numbers < 10**18 else "more than 10^18"
