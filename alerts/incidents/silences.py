"""Silences mute incidents for a while, with an owner, a reason and an end.

A silence mutes incidents that match all its labels. They are still recorded, and when the silence
ends, people are notified once of incidents still in progress. A silence that starts in the future
serves as a maintenance window. A silence can be ended early, but it cannot be changed otherwise.

A silence lasts at most `LONGEST_S`, or `LONGEST_WIDE_S` if it names no place. Silences with breaks
shorter than `_BREAK_S` between them can mute a room for at most `LONGEST_S` in all. If a new
silence, together with the existing ones, would leave fewer than a quarter of the rooms with sensors
unmuted, only an administrator can add it, for at most `LONGEST_WIDE_S`. Room tests can silence a
room for at most `LONGEST_TESTED_S` per day.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from alerts.duty.roster import build_labels
from alerts.errors import SilenceError
from alerts.incidents.incident import Suppression
from detection.events import KIND_NAMES
from language.messages import Fact, Message, Words, _, build_fact, defer, mark

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from storage.registry import Registry, Room, Sensor

LONGEST_S: Final = 14 * 86_400.0
LONGEST_WIDE_S: Final = 4 * 3600.0
LONGEST_TESTED_S: Final = 3 * 3600.0
MAX_REASON: Final = 200
MAX_ACTIVE: Final = 200
"""Maximum current silences per person; each new one is compared with all others."""
_PLACES: Final = frozenset({"room", "floor", "building"})
_ENDED_SHOWN_S: Final = 86_400.0
"""How long ended silences stay in the list, in seconds."""
_BREAK_S: Final = 3600.0


class Purpose(StrEnum):
    """Why the program silences a room; it replaces a person's reason."""

    ROOM_TEST = "room_test"


_PURPOSES: Final = Words({Purpose.ROOM_TEST: mark("Room test")})


class SilenceState(StrEnum):
    """State of a silence; only an active silence mutes."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Silence:
    """Mutes incidents that match all `labels`, from its start until just before its end."""

    id: int
    labels: Mapping[str, str]
    owner: str
    reason: str
    created_at: float
    starts_at: float
    ends_at: float
    ended_by: str = ""
    purpose: str = ""

    @property
    def why(self) -> str:
        """The reason, or the purpose in words."""
        return self.reason or _PURPOSES[self.purpose]

    def find_state(self, now: float) -> SilenceState:
        """Return whether the silence is pending, active or over."""
        if now < self.starts_at:
            return SilenceState.PENDING
        return SilenceState.ACTIVE if now < self.ends_at else SilenceState.EXPIRED

    def mutes(self, labels: Mapping[str, str]) -> bool:
        """Return whether the silence, while active, mutes an incident with these labels."""
        return self.labels.items() <= labels.items()

    @property
    def kind(self) -> str:
        """The only kind of incident that the silence mutes; empty means all kinds."""
        return self.labels.get("kind", "")

    @property
    def what(self) -> str:
        """The kinds of incident that the silence mutes, in words."""
        return KIND_NAMES.get(self.kind, self.kind) or _("everything, including smoke")

    def covers(self, room: Room, sensors: Iterable[Sensor]) -> bool:
        """Return whether the silence can mute incidents in a room with these sensors."""
        place = {k: v for k, v in self.labels.items() if k not in {"kind", "severity", "sensor"}}
        known = build_labels(room, kind="", severity="", sensor="")
        own = self.labels.get("sensor")
        return place.items() <= known.items() and own in {None, *(s.id for s in sensors)}

    @property
    def suppression(self) -> Fact:
        """The mute as recorded in each incident that the silence mutes."""
        purpose = {"purpose": self.purpose} if self.purpose else {}
        return build_fact(Suppression.SILENCE, silence=self.id, owner=self.owner, **purpose)


def add(
    tx: sqlite3.Connection,
    *,
    labels: Mapping[str, str],
    owner: str,
    reason: str = "",
    purpose: str = "",
    starts_at: float,
    ends_at: float,
    now: float,
    registry: Registry | None = None,
    is_admin: bool = False,
) -> Silence:
    """Add a silence; raise `SilenceError` with all faults if it is not allowed."""
    starts_at, reason = max(starts_at, now), reason.strip()
    new = Silence(0, labels, owner, reason, now, starts_at, ends_at, purpose=purpose)
    faults = list(_find_field_faults(new))
    if not faults:
        faults += [*_find_number_faults(tx, new), *_find_test_faults(tx, new)]
    if registry is not None and not faults:
        faults += _find_sum_faults(tx, new, registry, is_admin=is_admin)
        faults += _find_run_faults(tx, new, registry)
    if faults:
        raise SilenceError(*faults)
    row = tx.execute(
        "INSERT INTO silence (labels, owner, reason, created_at, starts_at, ends_at, purpose)"
        " VALUES (?,?,?,?,?,?,?) RETURNING *",
        (_encode(labels), owner, reason, now, starts_at, ends_at, purpose),
    ).fetchone()
    return read_silence(row)


def _find_field_faults(new: Silence) -> Iterator[Message]:
    if not new.labels:
        yield defer("place: choose a place or a kind; a silence cannot cover everything")
    if not (new.reason or new.purpose) or len(new.reason) > MAX_REASON:
        yield defer("reason: required, at most %(n)d characters", n=MAX_REASON)
    has_place = bool(new.labels.keys() & _PLACES)
    longest = LONGEST_S if has_place else LONGEST_WIDE_S
    if not new.ends_at > new.starts_at:
        yield defer("end: must be after the start and in the future")
    elif new.ends_at - new.starts_at > longest and has_place:
        yield defer("end: at most %(n)d hours after the start", n=longest / 3600)
    elif new.ends_at - new.starts_at > longest:
        yield defer(
            "end: at most %(n)d hours after the start if no place is chosen", n=longest / 3600
        )


def end(tx: sqlite3.Connection, silence_id: int, by: str, now: float) -> Silence:
    """End a silence early, unless it is over; raise `SilenceError` if it doesn't exist."""
    tx.execute(
        "UPDATE silence SET starts_at = min(starts_at, ?1), ends_at = ?1, ended_by = ?2"
        " WHERE id = ?3 AND ends_at > ?1",
        (now, by, silence_id),
    )
    row = tx.execute("SELECT * FROM silence WHERE id = ?", (silence_id,)).fetchone()
    if row is None:
        raise SilenceError(defer("silence %(n)d doesn't exist", n=silence_id))
    return read_silence(row)


def move_end(tx: sqlite3.Connection, silence_id: int, ends_at: float) -> None:
    """Move the end of a silence, unless a person ended it."""
    tx.execute(
        "UPDATE silence SET ends_at = max(starts_at, ?) WHERE id = ? AND ended_by = ''",
        (ends_at, silence_id),
    )


def list_current(tx: sqlite3.Connection, now: float) -> list[Silence]:
    """Return active and pending silences, latest end first."""
    query = "SELECT * FROM silence WHERE ends_at > ? ORDER BY ends_at DESC, id DESC"
    return [read_silence(row) for row in tx.execute(query, (now,))]


def list_recent(tx: sqlite3.Connection, now: float) -> list[Silence]:
    """Return active, pending and recently ended silences (one day), latest end first."""
    return list_current(tx, now - _ENDED_SHOWN_S)


def read_silence(row: sqlite3.Row) -> Silence:
    """Read a silence from a row."""
    return Silence(**{**dict(row), "labels": json.loads(row["labels"])})


def _find_sum_faults(
    tx: sqlite3.Connection, new: Silence, registry: Registry, *, is_admin: bool
) -> Iterator[Message]:
    """Yield the faults of a silence in combination with others that overlap it in time."""
    sensors = [s for s in registry.sensors.values() if s.room in registry.rooms]
    rooms = {sensor.room for sensor in sensors}
    if len(rooms) <= 1:
        return  # with only one room, a silence always mutes the whole school

    def find_muted(silence: Silence) -> set[str]:
        return {s.id for s in sensors if silence.covers(registry.rooms[s.room], [s])}

    def leaves_few(muted: set[str]) -> bool:
        return 4 * len({s.room for s in sensors if s.id not in muted}) < len(rooms)

    others = [
        (silence, muted)
        for silence in list_current(tx, new.created_at)
        if silence.starts_at < new.ends_at and silence.ends_at > new.starts_at
        if not leaves_few(muted := find_muted(silence))
    ]
    own = find_muted(new)
    moments = {new.starts_at, *(max(s.starts_at, new.starts_at) for s, _ in others)}
    together = (
        own.union(*(muted for s, muted in others if s.starts_at <= at < s.ends_at))
        for at in moments
    )
    if not any(map(leaves_few, together)):
        return
    if not is_admin:
        yield defer(
            "place: together with the existing silences, this mutes the whole school, which only"
            " administrators may do"
        )
    elif new.ends_at - new.starts_at > LONGEST_WIDE_S:
        yield defer(
            "end: together with the existing silences, this mutes the whole school for more than"
            " %(n)d hours",
            n=LONGEST_WIDE_S / 3600,
        )


def _find_run_faults(tx: sqlite3.Connection, new: Silence, registry: Registry) -> Iterator[Message]:
    """Yield a fault if a room would be muted for too long by silences that follow each other."""
    rows = tx.execute(
        "SELECT * FROM silence WHERE starts_at < ends_at AND ends_at >= ?",
        (new.starts_at - LONGEST_S - _BREAK_S,),
    )
    others = [s for s in map(read_silence, rows) if s.kind == new.kind or "" in {s.kind, new.kind}]
    for sensor in registry.sensors.values() if others else ():
        room = registry.rooms.get(sensor.room)
        if room is None or not new.covers(room, [sensor]):
            continue
        if _measure_run(new, [s for s in others if s.covers(room, [sensor])]) > LONGEST_S:
            yield defer(
                "end: together with the existing silences, this mutes a room for more than"
                " %(n)d days without a one-hour break",
                n=LONGEST_S / 86_400,
            )
            return


def _measure_run(new: Silence, others: list[Silence]) -> float:
    """Return how long a silence and those before and after it last together, in seconds."""
    start, end = new.starts_at, new.ends_at
    for one in sorted(others, key=lambda s: s.ends_at, reverse=True):
        if one.starts_at <= end and one.ends_at > start - _BREAK_S:
            start = min(start, one.starts_at)
    for one in sorted(others, key=lambda s: s.starts_at):
        if one.starts_at < end + _BREAK_S and one.ends_at >= start:
            end = max(end, one.ends_at)
    return end - start


def _find_test_faults(tx: sqlite3.Connection, new: Silence) -> Iterator[Message]:
    if not new.purpose:
        return
    since = new.created_at - 86_400.0
    silenced_s = tx.execute(
        "SELECT coalesce(sum(ends_at - max(starts_at, ?1)), 0) FROM silence"
        " WHERE purpose = ?2 AND labels = ?3 AND ends_at > ?1",
        (since, new.purpose, _encode(new.labels)),
    ).fetchone()[0]
    if silenced_s + new.ends_at - new.starts_at > LONGEST_TESTED_S:
        yield defer(
            "place: tests silence a room, so it can be tested for at most %(n)d hours a day; try"
            " again tomorrow",
            n=LONGEST_TESTED_S / 3600,
        )


def _encode(labels: Mapping[str, str]) -> str:
    return json.dumps(dict(labels))


def _find_number_faults(tx: sqlite3.Connection, new: Silence) -> Iterator[Message]:
    number = tx.execute(
        "SELECT count(*) FROM silence WHERE owner = ? AND ends_at > ?",
        (new.owner, new.created_at),
    ).fetchone()[0]
    if number >= MAX_ACTIVE:
        yield defer(
            "silences: you have %(n)d already, and at most %(most)d are allowed; end some first",
            n=number,
            most=MAX_ACTIVE,
        )
