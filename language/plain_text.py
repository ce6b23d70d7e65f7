r"""Text from people and devices that does nothing where it is shown: one function an output.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line end for a
formula; a terminal obeys control characters; a bidirectional override changes the order of words.

- Terminal and log: `escaped`, `for_terminal`, `PlainFormatter`.
- Documents and labels: `shown`.
- CSV and XLSX: `inert`, which `original` reverses.
- Pictures and notices: `clean`.
- Ids: `new_id`.

What is not printable becomes ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``. Where text can be restored, a
backslash is two.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_FORMULA: Final = ("=", "+", "-", "@", "'", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_ESCAPE: Final = re.compile(r"\\(?:\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[nrt])")


def escaped(text: str) -> str:
    r"""Return printable text of one line.

    >>> escaped("a\u202eb\x1b[2J \\")
    'a\\u202eb\\x1b[2J \\'
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def for_terminal(text: str) -> str:
    r"""Return printable text with its line ends.

    >>> for_terminal("Boys\x1b[2J\nGirls")
    'Boys\\x1b[2J\nGirls'
    """
    return "\n".join(map(escaped, text.split("\n")))


def shown(text: str) -> str:
    r"""Return printable text of one line, with each backslash doubled.

    >>> shown("a\u202eb\x1b[2J \\")
    'a\\u202eb\\x1b[2J \\\\'
    """
    return escaped(text.replace("\\", "\\\\"))


def inert(text: str) -> str:
    """Return text that no spreadsheet takes for a formula.

    >>> inert("=cmd|' /C calc'!A0"), inert("Boys' room")
    ("'=cmd|' /C calc'!A0", "Boys' room")
    """
    return f"'{shown(text)}" if text.startswith(_FORMULA) else shown(text)


def original(text: str) -> str:
    r"""Return the text that `inert` was given.

    >>> original("'=1+1"), original("a\\u202eb")
    ('=1+1', 'a\u202eb')
    """
    bare = text.removeprefix("'")
    return _ESCAPE.sub(lambda found: found[0].encode().decode("unicode_escape"), bare)


def clean(text: str) -> str:
    r"""Return one line without control characters and bidirectional overrides.

    >>> clean("Boys\x00 N2\n\u202e<b>")
    'Boys N2 <b>'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


class PlainFormatter(logging.Formatter):
    """Formats log lines; a message is one line, a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - of the library
        """Return the first line."""
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return all lines."""
        return for_terminal(super().format(record))


def counted(n: int, one: str, many: str = "") -> str:
    """Return a number with its noun, for texts that are English only.

    >>> counted(1, "room"), counted(2_000, "room"), counted(2, "address", "addresses")
    ('1 room', '2,000 rooms', '2 addresses')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def new_id(words: Iterable[str], taken: Collection[str], fallback: str) -> str:
    """Make an id of words that people know.

    >>> new_id(["North", "2nd floor", "Boys' restroom"], {"north-2nd-floor-boys-restroom"}, "room")
    'north-2nd-floor-boys-restroom-2'
    """
    text = unicodedata.normalize("NFKD", " ".join(words)).encode("ascii", "ignore").decode()
    base = re.sub(r"[^a-z0-9]+", "-", text.lower().replace("'", "")).strip("-")[:56] or fallback
    names = (base, *(f"{base}-{n}" for n in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
