"""Remove passwords, second factors, tokens and channels of people who are no longer configured.

An id belongs to a person as long as it is configured. It counts as someone else's if it was missing
from the configuration for more than a day, or if both name and address changed. If the old or the
new configuration has no address, a different name is enough, unless it is a correction of the old
name. This way, nobody loses their password when the table of people is missing briefly or a name is
corrected.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from alerts.access.passwords import remove_person
from alerts.access.sign_in_rules import fold_address

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from alerts.policy import StaffMember

_MISSING_S: Final = 86_400.0
_WORD: Final = re.compile(r"\w+")


def remove_former(tx: sqlite3.Connection, staff: Iterable[StaffMember], now: float) -> list[str]:
    """Remove the data of former people and return their ids; call this at service start."""
    current, former = {member.id: member for member in staff}, []
    for person, name, email, since in tx.execute("SELECT * FROM staff_seen").fetchall():
        member = current.get(person)
        missing_s = 0.0 if since is None else now - since
        if missing_s > _MISSING_S or (member and _is_other(member, name, email, since)):
            former.append(person)
            remove_person(tx, person, "id removed or given to someone else", now)
        elif member is None and since is None:
            tx.execute("UPDATE staff_seen SET gone_since = ? WHERE person = ?", (now, person))
    tx.executemany(
        "INSERT OR REPLACE INTO staff_seen VALUES (?, ?, ?, NULL)",
        [(member.id, member.name, fold_address(member.email)) for member in current.values()],
    )
    return former


def _is_other(member: StaffMember, name: str, email: str, since: float | None) -> bool:
    """Return whether an id no longer belongs to the person with this name and address."""
    address = fold_address(member.email)
    if member.name == name or (email and address == email):
        return False
    return since is not None or bool(email and address) or not _is_corrected(name, member.name)


def _is_corrected(before: str, after: str) -> bool:
    """Return whether each word of the shorter name is in the longer one.

    >>> _is_corrected("Jon Rivera", "Ms. J. Rivera"), _is_corrected("J. Rivera", "M. Rivera")
    (True, False)
    """
    fewer, more = sorted((_WORD.findall(n.casefold()) for n in (before, after)), key=len)
    alike = (
        any(w.startswith(word) or word.startswith(w) for w in more) or get_close_matches(word, more)
        for word in fewer
    )
    return bool(fewer) and all(alike)
