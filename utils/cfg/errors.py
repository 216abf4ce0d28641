"""Errors in a cfg, named by file, line, section and key."""

from __future__ import annotations

from ..command.errors import UserError


class CfgError(UserError):
    """Something in a cfg is wrong; the message starts with `file:line: [section] key`."""
