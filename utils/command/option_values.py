"""Checks of options that a caller in Python gives: what the flags' own types refuse, as they do."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import UserError


def require_share(flag: str, value: float) -> None:
    """Raise UserError, which names `flag`, for what is no share between 0 and 1."""
    if not 0 <= value <= 1:
        raise UserError(f"{flag}: must lie between 0 and 1, got {value:g}")


def require_count(flag: str, value: int, least: int = 1) -> None:
    """Raise UserError, which names `flag`, for a number below `least`."""
    if value < least:
        raise UserError(f"{flag}: must be at least {least}, got {value}")


def require_choice(flag: str, value: str, choices: Sequence[str]) -> None:
    """Raise UserError, which names `flag`, for a word that is not among the choices."""
    if value not in choices:
        raise UserError(f"{flag}: invalid choice: {value!r} (choose from {', '.join(choices)})")
