"""The rows that figures are computed from: incidents, notices, sensor days, spans of duty.

Times are Unix seconds; None means that the event did not happen. The only people named are staff.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from storage.registry import format_floor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

CONFIRMED, FALSE, NOTHING = "confirmed", "false_alarm", "nothing_found"
FIXED, TEST = "fixed", "test"
"""Verdicts of staff; empty if nobody answered."""
AIR: Final = ("vape", "smoke")
"""Kinds of incident that are counted as vaping and smoke."""
POSSIBLE: Final = "possible"
"""Possible vaping is not an alert, so no alert figure counts it."""
HEALTH: Final = ("offline", "sensor_fault")
"""Kinds of incident about a device, which end when it works again."""


class State(StrEnum):
    """The response to an incident, for lists and figures."""

    NEEDS_RESPONDER = "needs_responder"
    RESPONDING = "responding"
    ANSWERED = "answered"
    NOBODY_RESPONDED = "nobody_responded"
    RESPONDED = "responded"
    """It is over, and the responder has not reported what they found."""
    SUPPRESSED = "suppressed"
    RESOLVED = "resolved"
    """The device works again."""
    NOTED = "noted"
    """Possible vaping; nobody was asked to respond."""


def determine_state(
    kind: str,
    *,
    is_open: bool,
    is_acknowledged: bool,
    was_acknowledged: bool,
    verdict: str | None,
    suppressed_by: str,
) -> State:
    """Return the state of an incident.

    >>> known = {"was_acknowledged": False, "verdict": "", "suppressed_by": ""}
    >>> [determine_state("vape", is_open=is_open, is_acknowledged=False, **known).value
    ...  for is_open in (True, False)]
    ['needs_responder', 'nobody_responded']
    """
    rules = (
        (bool(verdict), State.ANSWERED),
        (is_open and is_acknowledged, State.RESPONDING),
        (bool(suppressed_by), State.SUPPRESSED),
        (kind == POSSIBLE and not was_acknowledged, State.NOTED),
        (is_open, State.NEEDS_RESPONDER),
        (was_acknowledged, State.RESPONDED),
        (kind in HEALTH, State.RESOLVED),
    )
    return next((state for applies, state in rules if applies), State.NOBODY_RESPONDED)


def name_place(room: str, building: str, floor: str = "") -> str:
    """Name a room with its floor and building."""
    return ", ".join(part for part in (room, format_floor(floor), building) if part)


def name_rooms(rooms: Iterable[tuple[str, str, str, str]]) -> dict[str, str]:
    """Name rooms by id with their place; `rooms` are ids, names, floors and buildings.

    Where names repeat, the id is added.

    >>> rooms = [("a", "Boys", "1", "North"), ("b", "Boys", "1", "North"), ("c", "Gym", "1", "")]
    >>> name_rooms(rooms)
    {'a': 'Boys, floor 1, North (a)', 'b': 'Boys, floor 1, North (b)', 'c': 'Gym, floor 1'}
    """
    found = {room: name_place(name, building, floor) for room, name, floor, building in rooms}
    uses = Counter(found.values())
    return {room: name if uses[name] == 1 else f"{name} ({room})" for room, name in found.items()}


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One incident in its latest state.

    - `room`, `floor`, `building`, `site`: names as registered now; `room` is the id if the room is
      no longer registered. `location` is the kind of the room.
    - `first_evidence_at`: onset in the air. `chain_end_at`: due time of the last escalation step.
      `over_at`: end of the last detection, None while one continues.
    - `level`: highest escalation step carried out; 1 means the first people were notified, 0 means
      nobody was.
    - `peaks`: highest value of each channel of the evidence, in the unit of the quantity.
    - `alarm_of`: model of the device that raised its own alarm for this incident; empty if none.
    - `is_detected_here`: whether Plumewatch's detector detected it, with or without a device's
      alarm.
    - `again_of`: id of an earlier incident that people responded to shortly before; empty if none.
    - `sensor_health`: the sensor's state when the incident was opened: ``"ok"``, or its faults,
      separated by spaces.
    """

    id: str
    kind: str
    sensor: str
    room: str
    first_evidence_at: float
    opened_at: float
    floor: str = ""
    building: str = ""
    site: str = ""
    notified_at: float | None = None
    acknowledged_at: float | None = None
    arrived_at: float | None = None
    closed_at: float | None = None
    chain_end_at: float | None = None
    level: int = 0
    verdict: str = ""
    cause: str = ""
    suppressed_by: str = ""
    confidence: float = 0.0
    room_id: str = ""
    location: str = ""
    severity: str = ""
    model_version: str = ""
    masked: bool = False
    thc_likely: bool = False
    over_at: float | None = None
    peaks: Mapping[str, float] = field(default_factory=dict)
    responder: str = ""
    action: str = ""
    case_number: str = ""
    sensor_health: str = "ok"
    is_acknowledged: bool = False
    again_of: str = ""
    alarm_of: str = ""
    is_detected_here: bool = True

    @property
    def state(self) -> State:
        """The response to this incident."""
        return determine_state(
            self.kind,
            is_open=self.closed_at is None,
            is_acknowledged=self.is_acknowledged,
            was_acknowledged=self.acknowledged_at is not None or self.arrived_at is not None,
            verdict=self.verdict,
            suppressed_by=self.suppressed_by,
        )


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """One notice to one channel of a person; `role` is the person's current role."""

    incident: str
    person: str
    role: str
    channel: str
    reason: str
    created_at: float
    delivered_at: float | None


@dataclass(frozen=True, slots=True)
class SensorDay:
    """Availability of one sensor on one local day, with the `expected` number of readings.

    `missing` counts the readings that are missing according to the sensor's sequence numbers.
    """

    sensor: str
    day: date
    online_s: float
    expected_s: float
    received: int
    missing: int
    expected: float


@dataclass(frozen=True, slots=True)
class DutySpan:
    """A half-open span in which a person was on duty."""

    person: str
    start: float
    end: float
    shift: str = ""
