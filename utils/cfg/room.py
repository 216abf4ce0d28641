"""Whether a network's tensors can exist: counted while its shapes are found, before any is made."""

from __future__ import annotations

from ..command.limits import FLAG, tensor_limit
from .parse import Section

# Channels of all layers together, as a share of the limit: the readings that treat each channel by
# itself (ties, constants) take some hundred bytes for one.
_NUMBERS_PER_CHANNEL = 64
# All weights together may be half as many again as one tensor: 1.5 GiB. yolov4-p7 has 287 million.
_NETWORK = (3, 2)


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
        most = tensor_limit() * _NETWORK[0] // _NETWORK[1]
        require_room(section, "with its weights, those of the network", self._weights, most)
        self._channels += channels
        if self._channels > self._most_channels:
            raise section.error(
                f"with it, the layers have {self._channels} channels; more than "
                f"{self._most_channels} need a higher {FLAG}"
            )


def require_room(section: Section, what: str, numbers: int, most: int | None = None) -> None:
    """Raise CfgError for a tensor that is larger than `most`, which is `--tensor-limit`."""
    most = tensor_limit() if most is None else most
    if numbers > most:
        raise section.error(
            f"{what} would be {_short(numbers)} numbers; more than {most} need a higher {FLAG}"
        )


def _short(numbers: int) -> str:
    """Thousands of digits help nobody."""
    return str(numbers) if numbers < 10**18 else "more than 10^18"
