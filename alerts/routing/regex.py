r"""Regular expressions as Alertmanager has them: RE2, matching the whole value.

The engine is RE2 itself, so a pattern takes time linear in the value and bounded memory whatever
it says. Two of its habits differ from those of Go's package and are undone here: ``\C`` (one byte)
is refused, and a pattern that is only valid because of what it is wrapped in is refused too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import re2

from alerts.errors import MatcherError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PATTERN: Final = 1000
"""Characters a pattern may have."""


@lru_cache(maxsize=4096)
def whole_value(pattern: str) -> Callable[[str], bool]:
    r"""Compile a pattern into a test of a whole value.

    Parameters
    ----------
    pattern : str
        RE2 syntax, at most `MAX_PATTERN` characters.

    Returns
    -------
    callable
        True for a value that the pattern matches from beginning to end.

    Raises
    ------
    MatcherError
        If it is no RE2 pattern, with what is wrong with it.

    Examples
    --------
    >>> whole_value("N2.*")("N2-boys"), whole_value("N2")("N2-boys"), whole_value(r"\pL+")("Süd")
    (True, False, True)
    """
    if len(pattern) > MAX_PATTERN:
        raise MatcherError(f"a regular expression has at most {MAX_PATTERN} characters")
    if _has_single_byte(pattern):
        raise MatcherError(f"{pattern!r} is no regular expression: \\C is not supported")
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
        wrapped = re2.compile(f"^(?:{pattern})$", options)
    except re2.error as error:
        said = error.args[0] if error.args else "invalid"
        why = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise MatcherError(f"{pattern!r} is no regular expression (RE2): {why}") from error
    except UnicodeEncodeError as error:
        raise MatcherError(f"{pattern!r} is no regular expression: not valid Unicode") from error

    def matches(value: str) -> bool:
        return wrapped.search(value) is not None

    return matches


def _has_single_byte(pattern: str) -> bool:
    r"""Tell whether ``\C`` stands outside of ``\Q...\E``; other escapes are skipped in pairs."""
    i = 0
    while i < len(pattern):
        if pattern[i] != "\\":
            i += 1
            continue
        following = pattern[i + 1 : i + 2]
        if following == "C":
            return True
        if following == "Q":
            end = pattern.find("\\E", i + 2)
            i = len(pattern) if end < 0 else end
        i += 2
    return False
