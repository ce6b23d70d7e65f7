"""Find untranslated English in a Spanish text: words that only English messages use."""

from __future__ import annotations

import html
import re
from functools import cache

from language import catalog

_WORD = re.compile(r"[^\W\d_]{3,}")
_AUGUST = re.compile(r"\b\d+ ago\b")
_FILLED = re.compile(r"%\(\w+\)[-+ 0-9.]*[a-z]")
# names of the test school and of products, and configuration keys
NAMES = frozenset(
    re.findall(
        r"\w+",
        """boys girls locker principal manager analyst lincoln high north south floor east west gym
        plumewatch grafana api awair generic native bosch apply check sensor guess telegram
        english español teams push webhook csv xlsx pdf html parquet json bad""",
    )
)


@cache
def english_only() -> frozenset[str]:
    """Return the words in English messages that occur in no Spanish message."""
    english: set[str] = set()
    spanish: set[str] = set()
    for entry in catalog.load("es"):
        if entry.id:
            english |= _words(" ".join(catalog.list_forms(entry.id)))
            spanish |= _words(" ".join(catalog.list_forms(entry.string)))
    return frozenset(english - spanish - NAMES)


@cache
def _spanish() -> frozenset[str]:
    """Return the words of the Spanish messages."""
    entries = (entry for entry in catalog.load("es") if entry.id)
    return frozenset(_words(" ".join(" ".join(catalog.list_forms(e.string)) for e in entries)))


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(re.sub(r"<[^>]*>", " ", _FILLED.sub(" ", text)))}


def leftovers(text: str) -> set[str]:
    """Return the English words of a plain text."""
    return _words(_AUGUST.sub(" ", text)) & english_only()


def untranslated(english: str, spanish: str) -> set[str]:
    """Return words that a page shows in both languages but that occur in no Spanish message."""
    return (_words(_shown(english)) & _words(_shown(spanish))) - _spanish() - NAMES


def of_page(text: str) -> set[str]:
    """Return the English words in a page's visible text and in its screen-reader texts."""
    return leftovers(_shown(text))


def _shown(text: str) -> str:
    body = re.sub(r"<(script|style|code|pre)\b.*?</\1>", " ", text, flags=re.DOTALL)
    read_out = re.findall(r'(?:aria-label|alt|title|data-name|data-announce)="([^"]*)"', body)
    shown = re.sub(r"<[^>]*>", " ", body)
    return html.unescape(" ".join([shown, *read_out]))
