"""What a pruning script may remove: the definitions that tell the five scripts apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ChannelRule:
    """How channels are chosen.

    tied: what decides for channels that a shortcut adds up: "keep" (they all stay), "first" (the
    first convolution of the group), "max" (each convolution may save a channel).
    floor: what each convolution keeps at least: its best channel, or the share `--layer-keep`.
    keep_threshold: whether a channel exactly at the threshold stays.
    """

    tied: Literal["keep", "first", "max"]
    floor: Literal["one", "ratio"] = "one"
    keep_threshold: bool = True


@dataclass(frozen=True)
class Strategy:
    """One pruning script: its rule for channels, if any, and whether residual blocks go.

    `ratio_flag` and `ratio` are the flag of the share of channels and its default.
    """

    channels: ChannelRule | None = None
    blocks: bool = False
    ratio_flag: str = "--percent"
    ratio: float = 0.8

    @property
    def has_floor(self) -> bool:
        """Whether `--layer-keep` applies."""
        return self.channels is not None and self.channels.floor == "ratio"

    def file_name(self, name: str, ratio: object, layer_keep: float, shortcuts: int) -> str:
        """Name of an output: `prune_16_shortcut_prune_0.93_keep_0.01_NAME`, or parts of it.

        `ratio` is the ratio or the budget that takes its place.
        """
        blocks = f"prune_{shortcuts}_shortcut_" if self.blocks else ""
        channels = f"prune_{ratio}_" if self.channels else ""
        floor = f"keep_{layer_keep}_" if self.has_floor else ""
        return f"{blocks}{channels}{floor}{name}"
