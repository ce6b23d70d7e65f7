"""Check that notes and reasons contain nothing that identifies a person.

Numbers of six or more digits, e-mail addresses and handles are rejected.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from language.messages import _

_IDENTIFIER: Final = re.compile(
    r"\+?\d(?:[\s().\-/_]{0,2}\d){5,}|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|@\w{2,}"
)


def clean_text(text: str) -> str:
    r"""Normalize text (NFKC); remove invisible characters and repeated white space.

    >>> clean_text("  hair\nspray\u202e by  the sink ")
    'hair spray by the sink'
    """
    spaced = "".join(" " if c.isspace() else c for c in unicodedata.normalize("NFKC", text))
    seen = "".join(c for c in spaced if not unicodedata.category(c).startswith("C"))
    return " ".join(seen.split())


def find_identifiers(text: str) -> list[str]:
    """Return the numbers, addresses and handles in a cleaned text that could identify a person.

    >>> find_identifiers("id 4471-882, mail kid@school.example, room 214")
    ['4471-882', 'kid@school.example']
    """
    return list(dict.fromkeys(match.group() for match in _IDENTIFIER.finditer(text)))


def find_fault(text: str) -> str:
    """Return why a cleaned text is rejected; empty if it is accepted."""
    found = ", ".join(find_identifiers(text))
    return found and _("Leave out anything that identifies a person: %(found)s.", found=found)
