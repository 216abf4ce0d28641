"""A network as a picture: boxes in columns, wires for everything that is read out of order."""

from __future__ import annotations

from .svg import draw_network, save_svg

__all__ = ["draw_network", "save_svg"]
