"""Read a journal's gaps and newest readings, for tests."""

from typing import NamedTuple


class Gap(NamedTuple):
    """A range of offsets without readings; both ends are included."""

    first: int
    last: int
    at: float
    why: str


def gaps(journal):
    """Return the offsets without readings and the reasons, in order."""
    return [
        Gap(*row)
        for row in journal.fetch_rows("SELECT first, last, at, why FROM gap ORDER BY first")
    ]


def tail(journal, count):
    """Return the newest readings, in order."""
    entries, _ = journal.read(max(0, journal.get_last_offset() - count), count)
    return [entry.reading for entry in entries]
