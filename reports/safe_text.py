r"""Text that does nothing where it is shown, and can be read back.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line end for a
formula; a terminal obeys control characters; a bidirectional override shows words in another
order. In CSV and XLSX every text is written by `inert`, in PDF and HTML by `shown`:

- what is not printable is written as ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``, a backslash as two;
- `inert` also puts ``'`` before what begins like a formula, or with ``'`` itself.

`original` undoes `inert`. JSON and Parquet hold texts as they are: there nothing acts on them.
"""

from __future__ import annotations

import re
from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "'", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_ESCAPE: Final = re.compile(r"\\(?:\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[nrt])")


def shown(text: str) -> str:
    r"""Return printable text of one line.

    Examples
    --------
    >>> shown("a\u202eb\x1b[2J \\")
    'a\\u202eb\\x1b[2J \\\\'
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


def inert(text: str) -> str:
    """Return text that no spreadsheet takes for a formula.

    Examples
    --------
    >>> inert("=cmd|' /C calc'!A0"), inert("Boys' room")
    ("'=cmd|' /C calc'!A0", "Boys' room")
    """
    return f"'{shown(text)}" if text.startswith(_FORMULA) else shown(text)


def original(text: str) -> str:
    r"""Return what `inert` was given.

    Examples
    --------
    >>> original("'=1+1"), original("a\\u202eb")
    ('=1+1', 'a\u202eb')
    """
    bare = text.removeprefix("'")
    return _ESCAPE.sub(lambda found: found[0].encode().decode("unicode_escape"), bare)
