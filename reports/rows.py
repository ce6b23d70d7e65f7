"""What figures are computed from: one row an incident, a notice, a sensor and day, a span of duty.

Times are Unix seconds; None where the thing did not happen. No row names anybody but staff.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

CONFIRMED, FALSE, NOTHING, TEST = "confirmed", "false_alarm", "nothing_found", "test"
"""What an adult may say an incident was; empty while nobody said."""
AIR: Final = ("vape", "smoke")
"""What somebody has to walk to; the rest is about sensors, sprays and buildings."""


def place_of(room: str, building: str) -> str:
    """Name a room where there may be several buildings."""
    return ", ".join(part for part in (room, building) if part)


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One incident, as its last word is.

    Attributes
    ----------
    room, floor, building, site : str
        Names for people, as registered now; `room` is the id where the room is no longer known.
    first_evidence_at, opened_at : float
        Onset in the air; when the incident was opened.
    notified_at, acknowledged_at, arrived_at, closed_at : float or None
        First notice delivered, first acknowledgement, first arrival, end.
    chain_end_at : float or None
        When the last step of its escalation was, or will be, due.
    level : int
        Highest step of escalation that was carried out: 1 the first people told, 0 nobody.
    verdict, cause : str
        Last feedback and the cause of a false alarm; empty without.
    suppressed_by : str
        What kept it from being told; empty if nothing did.
    withdrawn : bool
        Whether the detector took it back.
    confidence : float
        Highest, 0 to 1.
    room_id, location : str
        Id of the room, and its kind, such as ``"restroom"``.
    masked, thc_likely : bool
        What the detector said beside the kind, of any of its detections.
    over_at : float or None
        When the last of its detections ended; None while one goes on.
    peaks : mapping of str to float
        Highest value of each channel of the evidence, in the unit of the quantity.
    responder : str
        Id of who acknowledged first.
    action, case_number : str
        Class of what followed, and number of the case in a system of the school; empty without.
    sensor_health : str
        Of its sensor when it was opened: ``"ok"``, or what was the matter, joined by spaces.
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
    withdrawn: bool = False
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


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """One notice to one target of one person.

    Attributes
    ----------
    incident, person, role, channel, reason : str
        Whose, through what, and why they were told; the role is that of the configuration now.
    delivered_at : float or None
        When the provider took it; None if none did.
    """

    incident: str
    person: str
    role: str
    channel: str
    reason: str
    created_at: float
    delivered_at: float | None


@dataclass(frozen=True, slots=True)
class SensorDay:
    """How one sensor was on one local day.

    Attributes
    ----------
    day : date
        At the school.
    online_s, expected_s : float
        Seconds alive, and seconds in which it was looked at and registered.
    received, missing : int
        Readings that came, and those its own numbers (`seq`) say never did; of sensors without
        numbers those its interval says.
    """

    sensor: str
    day: date
    online_s: float
    expected_s: float
    received: int
    missing: int


@dataclass(frozen=True, slots=True)
class StagedTest:
    """Aerosol that staff let out on purpose, in the room of this id at this time, Unix seconds."""

    at: float
    room_id: str


@dataclass(frozen=True, slots=True)
class DutySpan:
    """A span in which a person was on duty, Unix seconds, half-open, and by which shift."""

    person: str
    start: float
    end: float
    shift: str = ""
