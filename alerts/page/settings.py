"""Define the staff page's settings, and the pipeline status that it shows."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from alerts.access.limits import Limits
from alerts.access.own_channels import Gateways
from alerts.access.passwords import Hasher
from alerts.access.sign_in_rules import SignInRules
from alerts.incidents.repository import ChangeSignal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from alerts.engine import AlertEngine
    from alerts.notify.trial_notices import TrialNotice
    from alerts.page.config_file import ConfigFile
    from alerts.page.identity_provider import IdentityProvider
    from alerts.page.report_jobs import ReportJobs
    from alerts.policy import StaffMember
    from detection.alert_rules import ThresholdReport
    from reports.school import School
    from storage.registry import Quarantined
    from storage.timeseries import Series


STALE_S: Final = 60.0
STALE_INTERVALS: Final = 4
"""A reading is out of date after this many reporting intervals, but not before `STALE_S`."""


HARMLESS: Final = frozenset({"readings", "duplicate", "cached", "simulated", "maintenance"})
"""Names of counts that need no action."""


@dataclass(frozen=True, slots=True)
class SensorStatus:
    """A registered sensor's state in words, the time of its last reading, and its data problems.

    `counts` has the number of readings, and of each kind of data problem. `poll_error` is why
    polling the device over HTTP has failed since `poll_failing_since`.
    `no_particles_since` is the start of a period of more than a day without particle values.
    `unlikely` lists quantities whose values seem to be in another unit
    (`detection.quantities.UNLIKELY`).
    """

    state: str
    last_seen: float | None
    interval_s: float
    counts: Mapping[str, int] = field(default_factory=dict)
    poll_error: str = ""
    poll_failing_since: float | None = None
    no_particles_since: float | None = None
    unlikely: tuple[str, ...] = ()

    def merge_stored(self, seen: float | None) -> SensorStatus:
        """Return the status updated with the time of the newest stored reading, if any."""
        if seen is None:
            return self
        state = "silent" if self.state == "never heard" else self.state
        return replace(self, state=state, last_seen=max(seen, self.last_seen or seen))

    def update_to(self, now: float) -> SensorStatus:
        """Return the status at `now`: a sensor whose last reading is old is silent.

        After a restart, the service waits for each sensor before it reports an outage.
        """
        age = math.inf if self.last_seen is None else now - self.last_seen
        is_late = self.state == "alive" and age > max(STALE_S, STALE_INTERVALS * self.interval_s)
        return replace(self, state="silent") if is_late else self

    @property
    def is_down(self) -> bool:
        """Whether the sensor has stopped reporting."""
        return self.state in {"silent", "offline"}

    @property
    def has_problems(self) -> bool:
        """Whether any reading had a data problem that somebody can fix."""
        return any(n for name, n in self.counts.items() if name not in HARMLESS)


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """The state of each sensor, and the messages that could not be used.

    `quarantine` has the unregistered sensors, and `unmatched` the topics that no decoder reads,
    latest first. `closed` are the sensors in `quarantine` that belong to closed schools.
    """

    dead_letters: Mapping[str, int] = field(default_factory=dict)
    quarantine: Sequence[Quarantined] = ()
    unmatched: Sequence[Quarantined] = ()
    sensors: Mapping[str, SensorStatus] = field(default_factory=dict)
    closed: Collection[str] = ()


class Pipeline(Protocol):
    """Status of ingest and detection; methods run in the event loop and must be fast."""

    def get_status(self) -> PipelineStatus:
        """Return the status."""

    def get_intervals(self) -> Mapping[str, float]:
        """Return the seconds between reports, registered or learned, by sensor."""

    async def read_thresholds(self, sensors: Collection[str]) -> Mapping[str, ThresholdReport]:
        """Return the alert thresholds of these sensors; unknown ones are omitted."""


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Access settings: sign-in methods, accepted hosts and rate limits."""

    one_click: bool = False
    """Whether people on this machine can read pages without signing in, and sign in without a
    password; demo only."""
    hasher: Hasher = field(default_factory=Hasher)
    sign_in: SignInRules = field(default_factory=SignInRules)
    provider: IdentityProvider | None = None
    """OpenID Connect provider for signing in; None means passwords only."""
    secure_cookie: bool = False
    """Whether the page is reached over HTTPS."""
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    """Accepted host names; others are refused to prevent DNS rebinding."""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class NoticeSettings:
    """Settings for sending notices and testing them."""

    send_test: Callable[[StaffMember], Awaitable[Sequence[TrialNotice]]]
    """Sends a test notice to each of a person's addresses."""
    read_channels: Callable[[], None]
    """Reloads the directory's people and the channels set up on the page; blocks."""
    gateways: Gateways = field(default_factory=Gateways)
    push_key: str = ""
    """Public key for web push; empty if there is no web push."""
    allow_private_targets: bool = False
    """Whether channel addresses can be unencrypted or on the local network."""


@dataclass(frozen=True, slots=True)
class StaffPageSettings:
    """Everything that `create_app` needs; callables run in the event loop and must be fast."""

    database: Path
    """The state database, which the page reads and writes itself."""
    engine: AlertEngine
    series: Series
    school: School
    pipeline: Pipeline
    notices: NoticeSettings
    reports: ReportJobs
    evaluate_room: Callable[[str, Sequence[float], str], Awaitable[str]]
    """Evaluates a room test in its own process, given the room, the start times of the steps, and
    the tester; returns an error message, or an empty string."""
    access: AccessSettings = field(default_factory=AccessSettings)
    banner: Callable[[], str] = str
    """Returns a line to show above the rooms, as in the demo, or an empty string."""
    grafana_url: str = ""
    """Address of our Grafana dashboards, without a trailing slash; empty for no links."""
    help_phone: str = ""
    """Phone number to call if the service does not respond; empty if none."""
    config: ConfigFile | None = None
    """The configuration file that people can change on the page; None if they can't."""
    changes: ChangeSignal = field(default_factory=ChangeSignal)
    clock: Callable[[], float] = time.time
