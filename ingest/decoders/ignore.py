"""Accept messages of no interest, such as those from a door contact, without storing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.decoding import Context
    from ingest.validation import Message, Readings


def decode(_message: Message, _context: Context) -> Readings:
    """Return nothing."""
    return []
