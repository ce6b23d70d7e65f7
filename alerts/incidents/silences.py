"""Silences: what people are not notified of for a while, why, by whom, and until when.

A silence that begins later is a maintenance window. Its matchers name incidents by their labels; it
has an owner, a reason and an end, and stays on record. What it mutes is recorded; people are
notified once, at its end, of what is still going on. A silence never changes, it can only be ended
early.

A long silence is how a school stops noticing a place, so it lasts at most `LONGEST_S`, or
`LONGEST_WIDE_S` if it names no place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from alerts.errors import MatcherError, SilenceError
from alerts.routing.labels import LABELS
from alerts.routing.matchers import all_match, parse_matchers
from alerts.routing.muting import SilenceState, check_silence, silence_state

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from alerts.routing.matchers import Matcher

LONGEST_S: Final = 14 * 86_400.0
LONGEST_WIDE_S: Final = 4 * 3600.0
MAX_REASON: Final = 200
_MAX_MATCHERS: Final = 8
_PLACES: Final = frozenset({"sensor", "room", "floor", "building"})
_ENDED_SHOWN_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Silence:
    """Mutes incidents that fit all `matchers` from its start until just before its end."""

    id: int
    matchers: tuple[str, ...]
    owner: str
    reason: str
    created_at: float
    starts_at: float
    ends_at: float
    ended_by: str = ""

    def state(self, now: float) -> SilenceState:
        """Return whether it is pending, active or over."""
        return silence_state(self.starts_at, self.ends_at, now)

    @property
    def key(self) -> str:
        """Name under which incidents record what suppressed them."""
        return f"silence {self.id}"


def add(
    tx: sqlite3.Connection,
    *,
    matchers: Sequence[str],
    owner: str,
    reason: str,
    starts_at: float,
    ends_at: float,
    now: float,
) -> Silence:
    """Add a silence; raises `SilenceError` with every fault of its fields."""
    begins = max(starts_at, now)
    faults = []
    if len(matchers) > _MAX_MATCHERS:
        faults.append(f"matchers: {len(matchers)} are given, at most {_MAX_MATCHERS} are allowed")
    names = set()
    try:
        conditions = _conditions(matchers)
        check_silence(conditions)
        names = {c.name for c in conditions}
        unknown = sorted(names - set(LABELS))
        faults += [f"matchers: there is no label {n!r}; {', '.join(LABELS)}" for n in unknown]
    except MatcherError as error:
        faults.append(f"matchers: {error}")
    if not owner.strip():
        faults.append("owner: somebody has to answer for it")
    if not reason.strip() or len(reason) > MAX_REASON:
        faults.append(f"reason: must be given, in at most {MAX_REASON} characters")
    longest = LONGEST_S if names & _PLACES else LONGEST_WIDE_S
    if not ends_at > begins:
        faults.append("end: must be after the start and not have passed")
    elif ends_at - begins > longest:
        hours = f"{longest / 3600:g} hours"
        wide = "" if names & _PLACES else " for a silence that names no place"
        faults.append(f"end: at most {hours} after the start{wide}")
    if faults:
        raise SilenceError("\n".join(faults))
    row = tx.execute(
        "INSERT INTO silence (matchers, owner, reason, created_at, starts_at, ends_at)"
        " VALUES (?,?,?,?,?,?) RETURNING *",
        (json.dumps(list(matchers)), owner.strip(), reason.strip(), now, begins, ends_at),
    ).fetchone()
    return _silence(row)


def end(tx: sqlite3.Connection, silence_id: int, by: str, now: float) -> Silence:
    """End a silence early, unless it is over; raises `SilenceError` if there is none."""
    tx.execute(
        "UPDATE silence SET starts_at = min(starts_at, ?1), ends_at = ?1, ended_by = ?2"
        " WHERE id = ?3 AND ends_at > ?1",
        (now, by, silence_id),
    )
    row = tx.execute("SELECT * FROM silence WHERE id = ?", (silence_id,)).fetchone()
    if row is None:
        raise SilenceError(f"no silence {silence_id}")
    return _silence(row)


def listed(tx: sqlite3.Connection, now: float) -> list[Silence]:
    """Return silences that are not over, or ended within the last day; the last to end first."""
    rows = tx.execute(
        "SELECT * FROM silence WHERE ends_at > ? ORDER BY ends_at DESC, id DESC",
        (now - _ENDED_SHOWN_S,),
    )
    return [_silence(row) for row in rows]


def muting(tx: sqlite3.Connection, labels: Mapping[str, str], at: float) -> Silence | None:
    """Of the silences that mute these labels at a moment, the one that ends last."""
    rows = tx.execute(
        "SELECT * FROM silence WHERE ends_at > ?1 AND starts_at <= ?1 ORDER BY ends_at DESC, id",
        (at,),
    )
    for silence in map(_silence, rows):
        if all_match(_conditions(silence.matchers), labels):
            return silence
    return None


def _conditions(matchers: Sequence[str]) -> tuple[Matcher, ...]:
    return tuple(condition for text in matchers for condition in parse_matchers(text))


def _silence(row: sqlite3.Row) -> Silence:
    return Silence(**{**dict(row), "matchers": tuple(json.loads(row["matchers"]))})
