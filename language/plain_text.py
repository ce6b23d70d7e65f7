r"""Make text from people and devices harmless, with a function for each kind of output.

A spreadsheet treats a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line end as a
formula. A terminal obeys control characters. A bidirectional override changes the displayed order.

- Terminal and log: `escape`, `escape_lines`, `PlainFormatter`.
- Pages: `replace_hidden`, before HTML is escaped.
- Documents and labels: `escape_reversibly`.
- CSV and XLSX: `make_inert`, which `restore` reverses.
- Pictures and notices: `language.messages.clean`.
- Ids: `make_id`, `suggest_name`.

Characters that are not printable become ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``. In text that can
be restored, backslashes are doubled.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_FORMULA: Final = ("=", "+", "-", "@", "'", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_ESCAPE: Final = re.compile(r"\\(?:\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[nrt])")


def escape(text: str) -> str:
    r"""Return printable text of one line.

    >>> escape("a\u202eb\x1b[2J \\")
    'a\\u202eb\\x1b[2J \\'
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def escape_lines(text: str) -> str:
    r"""Return printable text with its line ends.

    >>> escape_lines("Boys\x1b[2J\nGirls")
    'Boys\\x1b[2J\nGirls'
    """
    return "\n".join(map(escape, text.split("\n")))


def escape_reversibly(text: str) -> str:
    r"""Return printable text of one line, with each backslash doubled.

    >>> escape_reversibly("a\u202eb\x1b[2J \\")
    'a\\u202eb\\x1b[2J \\\\'
    """
    return escape(text.replace("\\", "\\\\"))


def replace_hidden(value: object) -> object:
    r"""Return a text with hidden characters replaced by U+FFFD, and other values unchanged.

    >>> replace_hidden("a\u202eb\x1b[2J\n")
    'a\ufffdb\ufffd[2J\n'
    """
    if isinstance(value, str) and _HIDDEN.search(value):
        return type(value)(_HIDDEN.sub("\ufffd", value))
    return value


def make_inert(text: str) -> str:
    """Return text that no spreadsheet treats as a formula.

    >>> make_inert("=cmd|' /C calc'!A0"), make_inert("Boys' room")
    ("'=cmd|' /C calc'!A0", "Boys' room")
    """
    return f"'{escape_reversibly(text)}" if text.startswith(_FORMULA) else escape_reversibly(text)


def restore(text: str) -> str:
    r"""Return the text that was given to `make_inert`.

    >>> restore("'=1+1"), restore("a\\u202eb")
    ('=1+1', 'a\u202eb')
    """
    bare = text.removeprefix("'")
    return _ESCAPE.sub(lambda found: found[0].encode().decode("unicode_escape"), bare)


class PlainFormatter(logging.Formatter):
    """Formats log records: a message on one line, a traceback on its own lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - of the library
        """Return the first line."""
        record.message = escape(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return all lines."""
        return escape_lines(super().format(record))


def suggest_name(name: str, known: Iterable[str | None] | Mapping[str, str]) -> str:
    """Suggest a known name that is close to an unknown one; empty if there is none.

    In a mapping, suggest the value whose key is close.

    >>> suggest_name("n2-boy", ["N2-boys", "gym"]), suggest_name("x", ["n2-boys"])
    ("; did you mean 'N2-boys'?", '')
    >>> suggest_name("North High", {"north": "north", "North High": "north"})
    "; did you mean 'north'?"
    """
    pairs = known.items() if isinstance(known, Mapping) else ((k, k) for k in known if k)
    folded = {key.casefold(): shown for key, shown in pairs}
    found = get_close_matches(name.casefold(), folded, n=1)
    return f"; did you mean {folded[found[0]]!r}?" if found else ""


def pluralize(n: float, one: str, many: str = "") -> str:
    """Return a number with its noun, in English, for logs and commands.

    >>> pluralize(1, "room"), pluralize(2_000.0, "room"), pluralize(0.5, "address", "addresses")
    ('1 room', '2,000 rooms', '0.5 addresses')
    """
    number = f"{n:{',.0f' if n == round(n) else 'g'}}"
    return f"{number} {one if n == 1 else many or one + 's'}"


def make_id(words: Iterable[str], taken: Collection[str], fallback: str) -> str:
    """Make an id from words, different from all `taken` ids.

    >>> make_id(["North", "2nd floor", "Boys' restroom"], {"north-2nd-floor-boys-restroom"}, "room")
    'north-2nd-floor-boys-restroom-2'
    """
    text = unicodedata.normalize("NFKD", " ".join(words)).encode("ascii", "ignore").decode()
    base = re.sub(r"[^a-z0-9]+", "-", text.lower().replace("'", "")).strip("-")[:56] or fallback
    names = (base, *(f"{base}-{n}" for n in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
