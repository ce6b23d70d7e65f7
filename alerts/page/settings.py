"""Settings of the staff page, and the status that it shows of the pipeline."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alerts.access.limits import Limits
from alerts.access.passwords import Hasher
from alerts.incidents.change_feed import ChangeSignal
from reports.periods import SchoolTimes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from alerts.engine import AlertEngine
    from alerts.notify.trial_notices import TrialNotice
    from alerts.page.config_file import ConfigFile
    from alerts.page.report_jobs import ReportJobs
    from alerts.policy import StaffMember
    from alerts.secrets import Secret
    from reports.rows import DutySpan
    from storage.timeseries import Series


@dataclass(frozen=True, slots=True)
class QuarantinedSensor:
    """A sensor that sends without being registered; `decoder` is empty if unknown."""

    sensor: str
    first_seen: float
    last_seen: float
    count: int
    decoder: str = ""


@dataclass(frozen=True, slots=True)
class SensorStatus:
    """A registered sensor: state in words, last live reading, and data problems by name.

    `interval_s` is registered or learned; `firmware` is empty if the sensor reports none.
    """

    state: str
    heard: float | None
    interval_s: float
    counts: Mapping[str, int] = field(default_factory=dict)
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class UnmatchedTopic:
    """A topic that neither a decoder nor a mapping reads."""

    topic: str
    first_seen: float
    last_seen: float
    count: int


@dataclass(frozen=True, slots=True)
class MappingSuggestion:
    """Configuration suggested for an unmatched topic, in TOML, with a sample of its payload.

    `mapping` is empty if there is none, and `reason` says why; `route` gives the topic to a decoder
    that reads it.
    """

    sample: bytes
    mapping: str
    reason: str
    route: str


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """Counters and sensors of the pipeline."""

    counters: Mapping[str, int] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    quarantine: Sequence[QuarantinedSensor] = ()
    unmatched: Sequence[UnmatchedTopic] = ()
    sensors: Mapping[str, SensorStatus] = field(default_factory=dict)


async def _evaluate_nothing(_room: str, _starts: Sequence[float], _person: str) -> str:
    return "tests are not evaluated here"


async def _send_nothing(_member: StaffMember) -> Sequence[TrialNotice]:
    return ()


@dataclass(frozen=True, slots=True)
class StaffPageSettings:
    """Everything `create_app` needs. The callables run in the event loop and must be quick."""

    database: Path
    engine: AlertEngine
    series: Series
    on_change: Callable[[], None] = lambda: None
    """Called after the page committed rows."""
    changes: ChangeSignal = field(default_factory=ChangeSignal)
    pipeline: Callable[[], PipelineStatus] = PipelineStatus
    suggest_mapping: Callable[[str], MappingSuggestion | None] = lambda _: None
    """Returns None if the topic is not unmatched."""
    intervals: Callable[[], Mapping[str, float]] = dict
    """Learned seconds between reports, by sensor."""
    room_tests: Callable[[], Mapping[str, Any]] = dict
    """Newest result of a commissioning test by room; called in a thread."""
    evaluate_room: Callable[[str, Sequence[float], str], Awaitable[str]] = _evaluate_nothing
    """Evaluates a test by room, times at which its steps began, and person; returns an error."""
    on_duty: Callable[[float, float], Iterable[DutySpan]] = lambda _start, _end: ()
    """Who was on duty between two moments, Unix seconds."""
    school_day: Callable[[float], bool] = lambda _moment: True
    open_reading: bool = True
    """Whether pages may be read without signing in, for loopback only."""
    one_click: bool = False
    """Whether people on this machine sign in without a password, for the demo only."""
    hasher: Hasher = field(default_factory=Hasher)
    secure_cookie: bool = False
    """Whether the page is reached over https."""
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    """Host names under which the page answers; others are refused (DNS rebinding)."""
    grafana_url: str = ""
    """Where our dashboards are, without a trailing slash; empty for no links."""
    school: str = "Plumewatch"
    banner: Callable[[], str] = lambda: ""
    """A line above the rooms, such as that the school is simulated; empty for none."""
    session_s: float = 12 * 3600.0
    cap_sender: str = "plumewatch"
    cap_token: Secret | None = None
    """Bearer token of systems that fetch CAP messages; None is for people alone."""
    reports: ReportJobs | None = None
    times: SchoolTimes = field(default_factory=SchoolTimes)
    journal: Path | None = None
    """The journal's file; None for no pages of rejected messages."""
    push_key: str = ""
    """Public key for browsers that get notices; empty for no web push."""
    push_private: bool = False
    """Whether push services may be in one's own network, for tests: anybody gives an address."""
    read_browsers: Callable[[], None] = lambda: None
    """Takes over in which browsers people switched notices on; blocks."""
    allow_private_targets: bool = False
    """Whether addresses of channels may be in one's own network."""
    limits: Limits = field(default_factory=Limits)
    """How often was tried to sign in, and the like."""
    wall: Path | None = None
    """Folder of the floor plan; None for none."""
    config: ConfigFile | None = None
    """The configuration file, which forms change; None for no forms."""
    send_test: Callable[[StaffMember], Awaitable[Sequence[TrialNotice]]] = _send_nothing
    """Sends a test notice to each address of a person."""
    clock: Callable[[], float] = time.time
