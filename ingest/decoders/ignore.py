"""Messages of no interest, such as a door contact next to an air sensor: accepted, not stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.decoding import Context
    from ingest.validation import Message, Readings


def decode(_message: Message, _context: Context) -> Readings:
    """Return nothing."""
    return []
