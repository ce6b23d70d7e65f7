"""Free text of notes and reasons: about the place and the air, never about a person.

Numbers of six digits and more, e-mail addresses and handles identify somebody and are refused.
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
    r"""Return text in composed form, without invisible characters, white space made single.

    >>> clean_text("  hair\nspray\u202e by  the sink ")
    'hair spray by the sink'
    """
    spaced = "".join(" " if c.isspace() else c for c in unicodedata.normalize("NFKC", text))
    seen = "".join(c for c in spaced if not unicodedata.category(c).startswith("C"))
    return " ".join(seen.split())


def find_identifiers(text: str) -> list[str]:
    """Return the numbers and addresses in a cleaned text that may identify a person.

    >>> find_identifiers("id 4471-882, mail kid@school.example, room 214")
    ['4471-882', 'kid@school.example']
    """
    return list(dict.fromkeys(match.group() for match in _IDENTIFIER.finditer(text)))


def find_fault(text: str) -> str:
    """Say why a cleaned text is refused; empty if it is not."""
    found = ", ".join(find_identifiers(text))
    return found and _("Leave out anything that identifies a person: %(found)s.", found=found)
