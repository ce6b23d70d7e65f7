"""What can go wrong at scale.

ScaleError
    HistoryError    a folder is no history, or holds another one
"""

from __future__ import annotations


class ScaleError(Exception):
    """Something at scale cannot be done; the message says what and where."""


class HistoryError(ScaleError):
    """A folder is no history, or not of the layout that is asked for."""
