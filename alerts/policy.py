"""The alert policy: severity of incidents, staff, and when and how often staff are notified."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from alerts.duty.roster import Matcher, MatchOp, Receiver, Roster, Route
from alerts.secrets import make_target_id
from detection.events import EventKind
from language.messages import ENGLISH, Coded, Words, mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from alerts.duty.roster import Ring
    from alerts.duty.shifts import ClockHours
    from alerts.secrets import Secret

HEALTH: Final = frozenset({EventKind.OFFLINE, EventKind.SENSOR_FAULT})
"""Kinds that concern the device, not the room; when they end, everyone paged is notified."""

PRESENCE: Final = frozenset({EventKind.VAPE, EventKind.SMOKE, EventKind.TAMPER})
"""Kinds that require someone to check the room, even after the air has cleared."""

VAPING: Final = (EventKind.VAPE, EventKind.POSSIBLE)
"""Kinds that share one incident: possible vaping becomes likely vaping as evidence grows."""

LONG_S: Final = 120.0
"""A detection still running this many seconds after its onset raises the severity one level."""
REPEATED: Final = 2
"""This many earlier incidents of the same kind and room raise the severity one level, unless
`LONG_S` already has."""
REPEAT_WINDOW_S: Final = 3600.0
"""How far back, in seconds, incidents in the same room count as repeats."""
LONGEST_COOLDOWN_S: Final = 4 * 3600.0
FLAP_WINDOW_S: Final = 6 * 3600.0
"""How far back, in seconds, device-health incidents count as repeats."""
UNSURE: Final = 0.7
"""Below this confidence, an incident is one level less severe, but people are still notified."""


class Severity(Coded):
    """How severe an incident is."""

    INFO = "info", mark("info")
    WARNING = "warning", mark("warning")
    CRITICAL = "critical", mark("critical")

    @property
    def rank(self) -> int:
        """Position in ascending order, from 0."""
        return _ORDER.index(self)


SEVERITY_WORDS: Final = Words(Severity.list_texts())
_ORDER: Final = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)
_BASE: Final[Mapping[EventKind, Severity]] = {
    EventKind.SMOKE: Severity.CRITICAL,
    EventKind.VAPE: Severity.WARNING,
    EventKind.TAMPER: Severity.WARNING,
    EventKind.INTEGRITY: Severity.WARNING,
    EventKind.SERVICE: Severity.WARNING,
}


def grade(kind: EventKind, confidence: float, lasted_s: float, repeats: int) -> Severity:
    """Return the severity of an incident.

    `confidence` is the highest of its detections, 0 to 1. `lasted_s` is the time since the onset,
    or 0 if no detection is running. `repeats` counts earlier incidents of the same kind and room
    within `get_repeat_window_s`.

    >>> grade(EventKind.VAPE, 0.9, 10.0, 0), grade(EventKind.VAPE, 0.55, 10.0, 0)
    (<Severity.WARNING: 'warning'>, <Severity.INFO: 'info'>)
    >>> grade(EventKind.VAPE, 0.9, 10.0, 2), grade(EventKind.OFFLINE, 1.0, 9000.0, 5)
    (<Severity.CRITICAL: 'critical'>, <Severity.INFO: 'info'>)
    """
    base = _BASE.get(kind, Severity.INFO)
    if kind in HEALTH or kind is EventKind.POSSIBLE:
        return base
    unsure = round(confidence, 2) < UNSURE  # round as displayed: 69.6% is shown as 70%
    rank = base.rank + (lasted_s >= LONG_S or repeats >= REPEATED) - unsure
    return _ORDER[min(max(rank, 0), len(_ORDER) - 1)]


def get_repeat_window_s(kind: EventKind) -> float:
    """Return how far back, in seconds, earlier incidents count as repeats."""
    return FLAP_WINDOW_S if kind in HEALTH else REPEAT_WINDOW_S


PRESENT_S: Final = 600.0
"""A person counts as being near the room for this many seconds after their last response."""
STORM_S: Final = 300.0
"""How far back pages for other rooms count toward a storm, in seconds."""

_WAIT: Final = {Severity.INFO: 4.0, Severity.WARNING: 1.0, Severity.CRITICAL: 0.5}
"""How long a ring has to respond, as a multiple of `EscalationTimings.escalate_after_s`."""


@dataclass(frozen=True, slots=True)
class EscalationTimings:
    """Timings of escalation and throttling, in seconds."""

    escalate_after_s: float = 90.0
    """How long a ring has to respond; half as long if critical, four times as long for info."""
    repeat_after_s: float = 600.0
    """Minimum time between the last step of the chain and its next round."""
    rounds: int = 3
    """How many times the chain runs; info incidents run it once."""
    acknowledged_for_s: float = 600.0
    """Time from an acknowledgment until the responder is reminded."""
    reminded_for_s: float = 300.0
    """Time from the reminder until the chain restarts."""
    fallback_after_s: float = 10.0
    """Delay before a person's next channel is tried; no delay if a channel refuses."""
    notices_per_hour: int = 12
    """Notices per person per hour; beyond that, all but critical notices are combined."""
    storm_rooms: int = 3
    """Maximum rooms per floor paged individually within `STORM_S`; twice as many per building."""
    gather_s: float = 30.0
    """How often one notice is sent for all other rooms in a storm."""

    def find_wait_s(self, severity: Severity) -> float:
        """Return how long a ring has to respond, in seconds."""
        return self.escalate_after_s * _WAIT[severity]

    def count_rounds(self, severity: Severity) -> int:
        """Return how many times the chain runs."""
        return 1 if severity is Severity.INFO else self.rounds

    def find_faults(self) -> list[str]:
        """Return one line for each pair of contradictory settings."""
        faults = []
        if self.acknowledged_for_s < self.escalate_after_s:
            faults.append(
                f"acknowledged_for_s: {self.acknowledged_for_s:g} is shorter than escalate_after_s"
                f" ({self.escalate_after_s:g}): people would have less time to report what they"
                " found than to respond"
            )
        if self.storm_rooms >= self.notices_per_hour:
            faults.append(
                f"storm_rooms: {self.storm_rooms} is not below notices_per_hour"
                f" ({self.notices_per_hour}): the hourly limit would be reached before rooms are"
                " combined"
            )
        return faults


STAFF: Final = "staff"
FACILITIES: Final = "facilities"

_FACILITIES_KINDS: Final = (
    EventKind.AMBIENT,
    EventKind.TAMPER,
    EventKind.SENSOR_FAULT,
    EventKind.OFFLINE,
    EventKind.INTEGRITY,
    EventKind.SERVICE,
)
PAGED: Final = frozenset({EventKind.VAPE, EventKind.SMOKE, *_FACILITIES_KINDS})
"""Kinds that always notify people; possible vaping notifies them only if a route names it."""
ROUTED: Final = PAGED | {EventKind.POSSIBLE}
"""Kinds that open an incident and that a route can name."""
BUILT_IN_ROUTES: Final = Route(
    STAFF,
    routes=(Route(FACILITIES, (Matcher("kind", MatchOp.REGEX, "|".join(_FACILITIES_KINDS)),)),),
)


@dataclass(frozen=True, slots=True)
class StaffMember:
    """An adult who can be notified; during `quiet` hours, only of critical incidents.

    Each role is also a receiver that includes everyone with that role. `targets` are the URLs of
    the person's channels, in the order they are tried.
    """

    id: str
    name: str
    role: str = STAFF
    targets: tuple[Secret, ...] = ()
    quiet: tuple[ClockHours, ...] = ()
    language: str = ""
    """The person's language; empty for the school's default."""
    email: str = ""
    """The person's e-mail address at the sign-in provider; empty if none."""


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """Alerting settings."""

    staff: tuple[StaffMember, ...] = ()
    roster: Roster | None = None
    """If None, `BUILT_IN_ROUTES` notifies everyone with the matching role."""
    cooldown_s: float = 300.0
    """How long after a page new incidents of the same kind and room are muted, in seconds."""
    late_s: float = 600.0
    """A detection older than this when it arrives is late; it pages nobody unless it continues."""
    expire_s: float = 3600.0
    """Seconds after which an undelivered notice is dropped; alerts last longer (`notify.pump`)."""
    zone: str = "UTC"
    language: str = ENGLISH
    """Language of people who have not chosen one."""
    page_url: str = ""
    """Address of the staff page, without a trailing slash; empty for notices without links."""
    timings: EscalationTimings = field(default_factory=EscalationTimings)

    def plan_rings(self, labels: Mapping[str, str], at: float) -> tuple[Ring, ...]:
        """Return the rings to notify of an incident with these labels, first ring first."""
        return self.get_roster().plan_rings(labels, datetime.fromtimestamp(at, UTC))

    def get_roster(self) -> Roster:
        """Return the configured roster, or a default that groups the staff by role."""
        return self.roster or _build_role_roster(self.staff)

    def find_sites(self, person: str) -> frozenset[str] | None:
        """Return the sites that a person can see and is notified about; None means all."""
        sites = {} if self.roster is None else self.roster.sites
        if person in sites:
            return sites[person]
        return None if all(only is None for only in sites.values()) else frozenset()

    def find_member(self, person: str) -> StaffMember | None:
        """Return the staff member with this id, or None."""
        return next((m for m in self.staff if m.id == person), None)

    def find_name(self, person: str) -> str:
        """Return the name of a staff member, or the id itself if it is unknown."""
        member = self.find_member(person)
        return person if member is None else member.name

    def find_target(self, person: str, target: str) -> Secret | None:
        """Return the address with this target id; None if it is no longer configured."""
        member = self.find_member(person)
        known = () if member is None else member.targets
        return next((url for url in known if make_target_id(url) == target), None)


def build_role_receivers(people: Iterable[tuple[str, str]]) -> dict[str, Receiver]:
    """Build a receiver for each role, with everyone who has it; `people` pairs ids with roles."""
    roles: dict[str, list[str]] = {STAFF: [], FACILITIES: []}
    for person, role in people:
        roles.setdefault(role, []).append(person)
    return {
        role: Receiver(role, tuple(ids), catch_all=tuple(ids), is_role=True)
        for role, ids in roles.items()
    }


def _build_role_roster(staff: tuple[StaffMember, ...]) -> Roster:
    return Roster(
        BUILT_IN_ROUTES,
        build_role_receivers((m.id, m.role) for m in staff),
        everyone=tuple(m.id for m in staff),
        reachable=frozenset(m.id for m in staff if m.targets),
    )
