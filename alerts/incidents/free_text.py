"""What must not be in free text: numbers that name a person, addresses, names.

Notes and reasons are about the place and the air. `cleaned` takes out what cannot be seen,
`findings` says what stands against the rest. Numbers of six digits and more, mail addresses and
handles are always refused: they are identifiers, whoever they belong to. Words that look like a
name are asked about, since a program cannot know them: they may be the name of a corridor.

What it finds: a title before a capitalised word, a word after "named", "student" and the like, two
capitalised words in a row, and common given names of the United States. What it does not find:
surnames alone, rare names, nicknames, initials, and whoever is described without a name ("the tall
one from 8b"). It is a reminder, not a guarantee.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from alerts.incidents.given_names import GIVEN_NAMES, GIVEN_NAMES_THAT_ARE_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from storage.registry import Room

_FEWEST_DIGITS: Final = 6
_NUMBER: Final = re.compile(r"\+?\d(?:[\s().\-/_]{0,2}\d){5,}")
_MAIL: Final = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|@\w{2,}")
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_TITLES: Final = frozenset({"mr", "mrs", "ms", "miss", "mx", "master", "coach"})
_POINTERS: Final = frozenset(
    {"named", "called", "student", "pupil", "kid", "boy", "girl", "freshman", "senior", "junior"}
)


@dataclass(frozen=True, slots=True)
class FreeTextFinding:
    """Something in a text that may name a person.

    Attributes
    ----------
    text : str
        What was found.
    certain : bool
        Whether it is refused; otherwise a person may say that it is no name.
    """

    text: str
    certain: bool


def cleaned(text: str) -> str:
    r"""Text without what cannot be seen, white space made single.

    Controls, direction marks and private characters go; composed forms are used.

    Examples
    --------
    >>> cleaned("  hair\nspray\u202e by  the sink ")
    'hair spray by the sink'
    """
    spaced = "".join(" " if c.isspace() else c for c in unicodedata.normalize("NFKC", text))
    seen = "".join(c for c in spaced if not unicodedata.category(c).startswith("C"))
    return " ".join(seen.split())


def findings(text: str, known: Iterable[str] = ()) -> list[FreeTextFinding]:
    """Find what may name a person.

    Parameters
    ----------
    text : str
        Cleaned.
    known : iterable of str
        Names of places and staff, whose words are no finding.

    Examples
    --------
    >>> [f.text for f in findings("Jordan Smith, id 4471-882, was there")]
    ['4471-882', 'Jordan Smith']
    >>> findings("sprayed by the cleaning cart at 10:05", ["Boys' restroom"])
    []
    """
    found = [
        FreeTextFinding(match.group(), certain=True)
        for match in (*_NUMBER.finditer(text), *_MAIL.finditer(text))
    ]
    fine = {word.casefold() for name in known for word in _WORD.findall(name)}
    found += [FreeTextFinding(name, certain=False) for name in _names(text, fine)]
    return list({f.text: f for f in found}.values())


def words_known(rooms: Iterable[Room], staff: Iterable[str], school: str) -> frozenset[str]:
    """Names of places and staff: `known` of `findings`."""
    places = {part for r in rooms for part in (r.name, r.floor, r.building, r.site)}
    return frozenset({*places, *staff, school})


def _names(text: str, fine: set[str]) -> Iterator[str]:
    words = [(m.group(), m.start(), m.end()) for m in _WORD.finditer(text)]
    taken = -1
    for k, (word, start, end) in enumerate(words):
        if k <= taken or word.casefold() in fine:
            continue
        before = words[k - 1][0].casefold() if k else ""
        pointed = before in _TITLES or before.removesuffix("s") in _POINTERS
        after = words[k + 1] if k + 1 < len(words) else None
        begins = start == 0 or text[max(start - 3, 0) : start].rstrip().endswith((".", "!", "?"))
        pair = (
            after is not None
            and _is_name(word)
            and _is_name(after[0])
            and after[0].casefold() not in fine
            and text[end : after[1]].strip(" .") == ""
            and word.casefold() not in _POINTERS
        )
        if pair and after is not None and (not begins or _is_given(word, begins=False)):
            taken = k + 1
            yield text[start : after[2]]
        elif (pointed and _is_name(word)) or _is_given(word, begins=begins):
            yield word


def _is_name(word: str) -> bool:
    return word[0].isupper() and word[1:].islower()


def _is_given(word: str, *, begins: bool) -> bool:
    low = word.casefold().removesuffix("'s").removesuffix("’s")
    if low in GIVEN_NAMES:
        return True
    return not begins and word[0].isupper() and low in GIVEN_NAMES_THAT_ARE_WORDS
