"""Who is told of what, and how calmly: the settings of alerting.

Few knobs. Each pair that could contradict another is checked when the policy is made, and all
faults are reported at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from alerts.duty.roster import Receiver, Roster
from alerts.errors import PolicyError
from alerts.escalation.timings import EscalationTimings
from alerts.notify.secrets import Secret
from alerts.routing.matchers import Matcher, MatchOp, all_match
from alerts.routing.muting import InhibitRule
from alerts.routing.tree import Route
from detection.events import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from alerts.duty.roster import Ring
    from alerts.incidents.throttling import QuietHours


STAFF: Final = "staff"
FACILITIES: Final = "facilities"

SELF_HOSTED: Final = frozenset(
    {"json", "jsons", "ntfy", "ntfys", "gotify", "gotifys", "mmost", "mmosts", "mailto", "mailtos"}
)
"""Schemes whose address names a server that may be anybody's."""

PAGED: Final = frozenset(
    {
        EventKind.VAPE,
        EventKind.SMOKE,
        EventKind.AMBIENT,
        EventKind.TAMPER,
        EventKind.SENSOR_FAULT,
        EventKind.OFFLINE,
        EventKind.INTEGRITY,
    }
)
"""Kinds of which somebody is told; all others are recorded."""

_OF_THE_BUILDING: Final = (
    EventKind.AMBIENT,
    EventKind.TAMPER,
    EventKind.SENSOR_FAULT,
    EventKind.OFFLINE,
    EventKind.INTEGRITY,
)
BUILT_IN_ROUTES: Final = Route(
    STAFF,
    routes=(Route(FACILITIES, (Matcher("kind", MatchOp.REGEX, "|".join(_OF_THE_BUILDING)),)),),
)
"""Who hears of what unless a school writes its own routes."""

BUILT_IN_INHIBITIONS: Final = (
    InhibitRule(
        source=(Matcher("kind", MatchOp.EQUAL, EventKind.OFFLINE),),
        target=(Matcher("kind", MatchOp.EQUAL, EventKind.SENSOR_FAULT),),
        equal=("sensor",),
    ),
)
"""A sensor that is silent is not said to be broken as well."""


def target_id(target: Secret) -> str:
    """Name a target in rows and logs without its address: scheme and fingerprint.

    Examples
    --------
    >>> from alerts.secrets import Secret
    >>> target_id(Secret("ntfys://ntfy.example/restrooms"))
    'ntfys-7acde264aa74'
    """
    scheme, sep, _ = target.reveal().partition("://")
    known = scheme.lower() if sep and scheme.isalnum() and len(scheme) <= 16 else "invalid"
    return f"{known}-{target.fingerprint()}"


@dataclass(frozen=True, slots=True)
class StaffMember:
    """An adult who may be told.

    Attributes
    ----------
    id : str
        Stable key, for rows and logs.
    name : str
        For people on the staff page.
    role : str
        ``"staff"``, ``"facilities"`` or another; a receiver of that name has all of the role.
    targets : tuple of Secret
        Addresses of their channels, one URL each, the first tried first.
    quiet : tuple of QuietHours
        When they are not told of what can wait.
    """

    id: str
    name: str
    role: str = STAFF
    targets: tuple[Secret, ...] = ()
    quiet: tuple[QuietHours, ...] = ()


@dataclass(frozen=True, slots=True)
class Webhook:
    """Another system that hears of incidents.

    Attributes
    ----------
    url, secret : Secret
        Where it listens, and what its messages are signed with.
    kinds : frozenset of str
        Of which it hears; empty for all that staff are told of.
    """

    name: str
    url: Secret
    secret: Secret
    kinds: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """Return how rows name it; no member of staff can be called so."""
        return f"webhook/{self.name}"


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """The rules an incident lives by.

    Attributes
    ----------
    roster : Roster or None
        Who hears; None for everybody of a role, by `BUILT_IN_ROUTES`.
    pages : frozenset of EventKind
        Kinds of which somebody is told.
    min_confidence : float
        Below it a detection is recorded and opens nothing, until an update lifts it.
    quiet_s : float
        Seconds without any running detection after which an incident resolves.
    silent_s : float
        Seconds without any word about a detection after which it counts as over.
    cooldown_s : float
        Seconds after a delivered notice in which a new incident of the same kind and room is
        recorded but held; one that is still going on at the end is then told once.
    late_s : float
        A first word older than this on arrival is stored and never pages.
    expire_s : float
        Seconds after which an undelivered notice is given up.
    zone : str
        The school's time zone, IANA name.
    page_url : str
        Where staff reach the staff page, without a trailing slash; empty leaves links out.
    timings : EscalationTimings
        How fast the next people are asked.
    inhibit : tuple of InhibitRule
        Incidents that explain others, so that those are not told meanwhile.
    webhooks : tuple of Webhook
        Other systems that hear of incidents.

    Raises
    ------
    PolicyError
        With all faults, one a line.
    """

    staff: tuple[StaffMember, ...] = ()
    roster: Roster | None = None
    pages: frozenset[EventKind] = PAGED
    min_confidence: float = 0.5
    quiet_s: float = 120.0
    silent_s: float = 1800.0
    cooldown_s: float = 300.0
    late_s: float = 600.0
    expire_s: float = 3600.0
    zone: str = "UTC"
    page_url: str = ""
    timings: EscalationTimings = field(default_factory=EscalationTimings)
    inhibit: tuple[InhibitRule, ...] = BUILT_IN_INHIBITIONS
    webhooks: tuple[Webhook, ...] = ()

    def __post_init__(self) -> None:
        """Check everything and report all of it."""
        faults = [
            f"{name}: {value} is not in {low}..{high}"
            for name, value, low, high in (
                ("min_confidence", self.min_confidence, 0.0, 1.0),
                ("quiet_s", self.quiet_s, 1.0, 86_400.0),
                ("silent_s", self.silent_s, 1.0, 86_400.0),
                ("cooldown_s", self.cooldown_s, 0.0, 86_400.0),
                ("late_s", self.late_s, 1.0, 86_400.0),
                ("expire_s", self.expire_s, 1.0, 604_800.0),
            )
            if not low <= value <= high
        ]
        if self.silent_s < self.quiet_s:
            faults.append(f"silent_s: {self.silent_s} is shorter than quiet_s ({self.quiet_s})")
        ids = [member.id for member in self.staff]
        faults += [
            f"staff: id {i!r} is used twice" for i in sorted({i for i in ids if ids.count(i) > 1})
        ]
        faults += [f"staff: {m.name!r} has an empty id" for m in self.staff if not m.id]
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            faults.append(f"zone: {self.zone!r} is no time zone; use a name like America/New_York")
        if self.page_url and not self.page_url.startswith(("http://", "https://")):
            faults.append(f"page_url: {self.page_url!r} must start with http:// or https://")
        if self.page_url.endswith("/"):
            faults.append(f"page_url: {self.page_url!r} must not end with a slash")
        faults += self.timings.faults()
        faults += [
            f"inhibit: rule {number} lets tamper mute vape or smoke, which nothing may"
            for number, rule in enumerate(self.inhibit, 1)
            if _tamper_mutes(rule)
        ]
        if faults:
            raise PolicyError("\n".join(faults))

    def rings(self, labels: Mapping[str, str], at: float) -> tuple[Ring, ...]:
        """Who is told of an incident, nearest first; see `Roster.candidates`.

        Parameters
        ----------
        labels : mapping of str to str
            Of the incident, see `alerts.routing.labels`.
        at : float
            Unix seconds.
        """
        roster = self.roster or _by_role(self.staff)
        return roster.candidates(labels, datetime.fromtimestamp(at, UTC))

    def member(self, person: str) -> StaffMember | None:
        """Return a member of staff by id; None if there is none."""
        return next((m for m in self.staff if m.id == person), None)

    def name_of(self, person: str) -> str:
        """Name for people; what was given where it is no id."""
        member = self.member(person)
        return person if member is None else member.name

    def quiet_of(self, person: str) -> tuple[QuietHours, ...]:
        """Return the quiet hours of a person; none of who is no member of staff."""
        member = self.member(person)
        return () if member is None else member.quiet

    def target_of(self, person: str, target: str) -> Secret | None:
        """Address behind a row's person and target id; None if the settings no longer have it."""
        for member in self.staff:
            if member.id == person:
                for secret in member.targets:
                    if target_id(secret) == target:
                        return secret
        for hook in self.webhooks:
            if hook.id == person and target_id(hook.url) == target:
                return hook.url
        return None


def _tamper_mutes(rule: InhibitRule) -> bool:
    """Whether whoever covers a sensor could keep its room quiet."""

    def may(matchers: tuple[Matcher, ...], kind: EventKind) -> bool:
        return all_match((m for m in matchers if m.name == "kind"), {"kind": kind.value})

    air = (EventKind.VAPE, EventKind.SMOKE)
    return may(rule.source, EventKind.TAMPER) and any(may(rule.target, kind) for kind in air)


def role_receivers(people: Iterable[tuple[str, str]]) -> dict[str, Receiver]:
    """Make a receiver of everybody of a role, for each; `people` are pairs of id and role."""
    roles: dict[str, list[str]] = {STAFF: [], FACILITIES: []}
    for person, role in people:
        roles.setdefault(role, []).append(person)
    return {role: Receiver(role, tuple(ids), catch_all=tuple(ids)) for role, ids in roles.items()}


def _by_role(staff: tuple[StaffMember, ...]) -> Roster:
    return Roster(
        BUILT_IN_ROUTES,
        role_receivers((m.id, m.role) for m in staff),
        everyone=tuple(m.id for m in staff),
        reachable=frozenset(m.id for m in staff if m.targets),
    )


def channel_of(target: Secret) -> str:
    """Name the provider behind a target, so that a slow one delays only itself.

    Cloud services are named by their scheme; where the address names a server of one's own, two
    servers are two channels, told apart by a fingerprint.
    """
    scheme, _, rest = target.reveal().partition("://")
    name = scheme.lower()
    if name not in SELF_HOSTED:
        return target_id(target).partition("-")[0]
    server = rest.partition("/")[0].partition("?")[0].rpartition("@")[2].lower()
    return f"{name}-{Secret(server or name).fingerprint()[:6]}"
