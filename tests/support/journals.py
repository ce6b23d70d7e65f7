"""What a journal holds, for tests."""

from typing import NamedTuple


class Gap(NamedTuple):
    """Offsets that hold no reading, both included."""

    first: int
    last: int
    at: float
    why: str


def gaps(journal):
    """The offsets that hold no reading, and why, in order."""
    return [
        Gap(*row) for row in journal.rows("SELECT first, last, at, why FROM gap ORDER BY first")
    ]


def tail(journal, count):
    """The newest readings, in order."""
    entries, _ = journal.read(max(0, journal.last_offset() - count), count)
    return [entry.reading for entry in entries]
