"""The one error that a user's mistake raises."""

from __future__ import annotations


class UserError(Exception):
    """What is wrong, where, and what to do, in one line; commands print it and exit with code 2."""
