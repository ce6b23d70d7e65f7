"""Silences: what people are not notified of for a while, why, by whom, and until when.

A silence that begins later is a maintenance window. Its matchers name incidents by their labels.
What it mutes is recorded; people are notified once, at its end, of what is still going on. It never
changes and can only be ended early.

It lasts at most `LONGEST_S`, or `LONGEST_WIDE_S` if it names no place. Where silences add up to
fewer than a quarter of the rooms with sensors, only administrators may add one, and for at most
`LONGEST_WIDE_S` in one piece.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Final

from alerts.errors import MatcherError, SilenceError
from alerts.incidents.incident import Suppression
from alerts.routing.matchers import LABELS, all_match, incident_labels, parse_matchers
from alerts.routing.muting import SilenceState, check_silence, silence_state
from alerts.severity import Severity
from detection.events import EventKind
from language.facts import Fact, fact
from language.messages import Message, later, mark

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from alerts.duty.shifts import RecurringSilence
    from alerts.routing.matchers import Matcher
    from storage.registry import Registry

LONGEST_S: Final = 14 * 86_400.0
LONGEST_WIDE_S: Final = 4 * 3600.0
RECURRING: Final = "plumewatch"
"""Owner of occurrences of recurring silences."""
MAX_REASON: Final = 200
MOST: Final = 200
"""Silences of a site that are not over: each new one is compared with all."""
MOST_IN_ALL: Final = 10 * MOST
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
    occurrence: str = ""

    def state(self, now: float) -> SilenceState:
        """Return whether it is pending, active or over."""
        return silence_state(self.starts_at, self.ends_at, now)

    @property
    def conditions(self) -> tuple[Matcher, ...]:
        """Its matchers, parsed."""
        return _conditions(self.matchers)

    @property
    def suppression(self) -> Fact:
        """What incidents record that it mutes."""
        return fact(Suppression.SILENCE, silence=self.id, owner=self.owner)


def add(
    tx: sqlite3.Connection,
    *,
    matchers: Sequence[str],
    owner: str,
    reason: str,
    starts_at: float,
    ends_at: float,
    now: float,
    registry: Registry | None = None,
    is_admin: bool = False,
    occurrence: str = "",
) -> Silence:
    """Add a silence; raises `SilenceError` with every fault of its fields."""
    begins = max(starts_at, now)
    faults: list[Message] = []
    if len(matchers) > _MAX_MATCHERS:
        faults.append(later("matchers: at most %(n)d are allowed", n=_MAX_MATCHERS))
    names = set()
    try:
        conditions = _conditions(matchers)
        check_silence(conditions)
        names = {c.name for c in conditions}
        unknown = sorted(names - set(LABELS))
        allowed = ", ".join(LABELS)
        faults += [
            later("matchers: there is no label '%(label)s'; %(allowed)s", label=n, allowed=allowed)
            for n in unknown
        ]
    except MatcherError as error:
        faults.append(later("matchers: %(error)s", error=error))
    if not owner.strip():
        faults.append(later("owner: somebody has to answer for it"))
    if not reason.strip() or len(reason) > MAX_REASON:
        faults.append(later("reason: must be given, in at most %(n)d characters", n=MAX_REASON))
    longest, too_long = (
        (LONGEST_S, mark("end: at most %(n)d hours after the start"))
        if names & _PLACES
        else (
            LONGEST_WIDE_S,
            mark("end: at most %(n)d hours after the start for a silence that names no place"),
        )
    )
    if not ends_at > begins:
        faults.append(later("end: must be after the start and not have passed"))
    elif ends_at - begins > longest:
        faults.append(Message(too_long, {"n": longest / 3600}))
    if not faults:
        faults += _number_faults(tx, conditions, now, registry)
    if registry is not None and not faults:
        faults += _sum_faults(tx, conditions, begins, ends_at, now, registry, is_admin=is_admin)
    if faults:
        raise SilenceError(*faults)
    row = tx.execute(
        "INSERT INTO silence (matchers, owner, reason, created_at, starts_at, ends_at, occurrence)"
        " VALUES (?,?,?,?,?,?,?) RETURNING *",
        (
            *(json.dumps(list(matchers)), owner.strip(), reason.strip()),
            *(now, begins, ends_at, occurrence),
        ),
    ).fetchone()
    return _silence(row)


def sync_recurring(
    tx: sqlite3.Connection,
    recurring: Iterable[RecurringSilence],
    registry: Registry,
    now: float,
) -> tuple[list[int], list[str]]:
    """Add what is missing; return ids of silences to be ended, and what was refused, in words."""
    rows = tx.execute("SELECT id, occurrence, ends_at FROM silence WHERE occurrence <> ''")
    known = {row["occurrence"]: row for row in rows}
    wanted: set[str] = set()
    refused = []
    for one in recurring:
        for key, (start, end) in one.occurrences(now).items():
            wanted.add(key)
            if key in known:
                continue
            try:
                add(
                    tx,
                    matchers=one.matchers,
                    owner=RECURRING,
                    reason=one.reason,
                    starts_at=start,
                    ends_at=end,
                    now=now,
                    registry=registry,
                    is_admin=True,
                    occurrence=key,
                )
            except SilenceError as error:
                refused.append(f"{one.reason}: {'; '.join(map(str, error.faults))}")
    stale = [r["id"] for key, r in known.items() if key not in wanted and r["ends_at"] > now]
    return stale, refused


def end(tx: sqlite3.Connection, silence_id: int, by: str, now: float) -> Silence:
    """End a silence early, unless it is over; raises `SilenceError` if there is none."""
    tx.execute(
        "UPDATE silence SET starts_at = min(starts_at, ?1), ends_at = ?1, ended_by = ?2"
        " WHERE id = ?3 AND ends_at > ?1",
        (now, by, silence_id),
    )
    row = tx.execute("SELECT * FROM silence WHERE id = ?", (silence_id,)).fetchone()
    if row is None:
        raise SilenceError(later("no silence %(n)d", n=silence_id))
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
        if all_match(silence.conditions, labels):
            return silence
    return None


def _sum_faults(
    tx: sqlite3.Connection,
    conditions: tuple[Matcher, ...],
    begins: float,
    ends: float,
    now: float,
    registry: Registry,
    *,
    is_admin: bool,
) -> Iterator[Message]:
    all_places = _places_of(registry)
    spans = [(s.conditions, s.starts_at, s.ends_at) for s in _not_over(tx, now)]
    spans = [span for span in spans if _sites_of(span[0], all_places)]
    new = (conditions, begins, ends)
    names = {c.name for span in (*spans, new) for c in span[0]}
    kinds = tuple(EventKind) if "kind" in names else (EventKind.VAPE,)
    severities = tuple(Severity) if "severity" in names else (Severity.WARNING,)
    rooms: dict[str, list[str]] = {}
    for sensor in registry.sensors.values():
        rooms.setdefault(sensor.room, []).append(sensor.id)
    places = [set(sensors) for room, sensors in rooms.items() if room in registry.rooms]
    if len(places) <= 1:
        return  # the silence of the only room is that of a room
    for kind, severity in product(kinds, severities):
        muted = [
            (_muted_sensors(registry, span[0], kind, severity), span[1], span[2])
            for span in (*spans, new)
        ]
        before = _wide_spans(muted[:-1], places)
        added = [span for span in _wide_spans(muted, places) if span not in before]
        if added and not is_admin:
            yield later(
                "place: with the silences that exist, this mutes the whole school; only"
                " administrators may do that"
            )
            return
        if any(end - start > LONGEST_WIDE_S for start, end in added):
            yield later(
                "end: with the silences that exist, this mutes the whole school for more than"
                " %(n)d hours",
                n=LONGEST_WIDE_S / 3600,
            )
            return


def _number_faults(
    tx: sqlite3.Connection, conditions: tuple[Matcher, ...], now: float, registry: Registry | None
) -> Iterator[Message]:
    found = _not_over(tx, now)
    number, most = len(found), MOST_IN_ALL
    if MOST <= number < MOST_IN_ALL and registry is not None:
        number, most = _fullest(found, conditions, registry), MOST
    if number >= most:
        yield later(
            "silences: there are %(n)d already, at most %(most)d are allowed; end some",
            n=number,
            most=most,
        )


def _not_over(tx: sqlite3.Connection, now: float) -> list[Silence]:
    return [silence for silence in listed(tx, now) if silence.ends_at > now]


def _fullest(
    silences: Iterable[Silence], conditions: tuple[Matcher, ...], registry: Registry
) -> int:
    """Count the silences of each site that a new one reaches, and return the highest number."""
    places = _places_of(registry)
    reached = _sites_of(conditions, places)
    count = Counter(site for s in silences for site in _sites_of(s.conditions, places) & reached)
    return max(count.values(), default=0)


def _places_of(registry: Registry) -> list[tuple[str, dict[str, str]]]:
    rooms = [(room, "") for room in registry.rooms.values()]
    sensors = [(registry.rooms.get(s.room), s.id) for s in registry.sensors.values()]
    return [
        (room.site, incident_labels(room, kind="", severity="", sensor=sensor))
        for room, sensor in (*rooms, *sensors)
        if room is not None
    ]


def _sites_of(
    conditions: Iterable[Matcher], places: Iterable[tuple[str, dict[str, str]]]
) -> set[str]:
    """Return the sites in which conditions leave a place, whatever the kind and severity."""
    own = [c for c in conditions if c.name not in {"kind", "severity"}]
    return {site for site, labels in places if all_match(own, labels)}


def _muted_sensors(
    registry: Registry, conditions: tuple[Matcher, ...], kind: EventKind, severity: Severity
) -> set[str]:
    found = set()
    for sensor in registry.sensors.values():
        room = registry.rooms.get(sensor.room)
        if room is not None and all_match(
            conditions,
            incident_labels(room, kind=kind.value, severity=severity.value, sensor=sensor.id),
        ):
            found.add(sensor.id)
    return found


def _wide_spans(
    silences: Sequence[tuple[set[str], float, float]], rooms: Sequence[set[str]]
) -> list[tuple[float, float]]:
    """Return when fewer than a quarter of the rooms have a sensor that is not muted."""
    fewest = -(-len(rooms) // 4)
    moments = sorted({at for _, start, end in silences for at in (start, end)})
    found: list[tuple[float, float]] = []
    for start, end in pairwise(moments):
        muted = set().union(*(m for m, begins, ends in silences if begins <= start < ends))
        if sum(not sensors <= muted for sensors in rooms) >= fewest:
            continue
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _conditions(matchers: Sequence[str]) -> tuple[Matcher, ...]:
    return tuple(condition for text in matchers for condition in parse_matchers(text))


def _silence(row: sqlite3.Row) -> Silence:
    return Silence(**{**dict(row), "matchers": tuple(json.loads(row["matchers"]))})
