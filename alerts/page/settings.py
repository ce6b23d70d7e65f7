"""What the staff page is given: where to read, whom to tell, how to guard."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alerts.access.passwords import Hasher
from alerts.page.changes import Changes
from reports.periods import SchoolTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from alerts.incidents.engine import AlertEngine
    from alerts.notify.secrets import Secret
    from alerts.page.views.report_jobs import ReportJobs
    from reports.rows import DutySpan
    from storage.timeseries import Series


@dataclass(frozen=True, slots=True)
class QuarantinedSensor:
    """A sensor that sends and is not registered; `decoder` is empty where it is not known."""

    sensor: str
    first_seen: float
    last_seen: float
    count: int
    decoder: str = ""


@dataclass(frozen=True, slots=True)
class SensorStatus:
    """A registered sensor as the pipeline knows it.

    Attributes
    ----------
    state : str
        In words, such as ``"alive"``.
    heard : float or None
        Receive time of its last live reading, Unix seconds.
    interval_s : float
        Seconds between its reports, registered or learnt.
    counts : mapping of str to int
        What was noted about its readings, without zeros.
    firmware : str
        What it says it runs; empty if it does not say.
    """

    state: str
    heard: float | None
    interval_s: float
    counts: Mapping[str, int] = field(default_factory=dict)
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class UnmatchedTopic:
    """A topic that no decoder and no mapping reads."""

    topic: str
    first_seen: float
    last_seen: float
    count: int


@dataclass(frozen=True, slots=True)
class MappingSuggestion:
    """What an unmatched topic suggests to a person.

    Attributes
    ----------
    sample : bytes
        Beginning of the last payload.
    mapping : str
        TOML to approve; empty if there is none.
    reason : str
        Why there is none, as the end of a sentence.
    route : str
        TOML that gives the topic to a decoder that reads it; empty if none does.
    """

    sample: bytes
    mapping: str
    reason: str
    route: str


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """What the pipeline counts, by name; shown as it is."""

    counters: Mapping[str, int] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    quarantine: Sequence[QuarantinedSensor] = ()
    unmatched: Sequence[UnmatchedTopic] = ()
    sensors: Mapping[str, SensorStatus] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StaffPageSettings:
    """Everything `create_app` needs.

    Attributes
    ----------
    database : Path
        The state database, already migrated.
    engine : AlertEngine
        Takes acknowledgements and feedback; its registry and policy say what there is to show.
    on_change : callable
        Called in the event loop after the page committed rows.
    changes : Changes
        Told whenever what the pages show changes.
    pipeline : callable
        Returns a `PipelineStatus`; called in the event loop, must be quick.
    suggest_mapping : callable
        Returns the `MappingSuggestion` of an unmatched topic, None if it is none; called in the
        event loop, must be quick.
    intervals : callable
        Returns the seconds between reports as learnt, by sensor; called in the event loop.
    on_duty : callable
        Returns who was on duty when between two moments, Unix seconds.
    school_day : callable
        Whether a moment, Unix seconds, is on a day with school.
    open_reading : bool
        Whether pages may be read without signing in; for loopback only. Actions never may.
    one_click : bool
        Whether people on this machine sign in as anybody, without a password; for the demo only.
    hasher : Hasher
        Of passwords.
    secure_cookie : bool
        Whether the page is reached over https, so that its cookie never travels without.
    hosts : tuple of str
        Host names under which the page answers; others are refused, so that a foreign page
        cannot reach it through a name of its own.
    grafana_url : str
        Where the Grafana with our dashboards is, without a trailing slash; empty for no links.
    school : str
        Name in the head of the page.
    session_s : float
        How long a sign-in lasts.
    cap_sender : str
        In whose name CAP messages are.
    cap_token : Secret or None
        What a system that fetches them holds; None lets only people do so.
    reports : ReportJobs or None
        Makes reports; None for no such page.
    times : SchoolTimes
        What the school calls its times, for reports.
    journal : Path or None
        The journal's file, for the pages of refused messages; None for no such pages.
    clock : callable
        Unix seconds.
    """

    database: Path
    engine: AlertEngine
    series: Series
    on_change: Callable[[], None] = lambda: None
    changes: Changes = field(default_factory=Changes)
    pipeline: Callable[[], PipelineStatus] = PipelineStatus
    suggest_mapping: Callable[[str], MappingSuggestion | None] = lambda _: None
    intervals: Callable[[], Mapping[str, float]] = dict
    on_duty: Callable[[float, float], Iterable[DutySpan]] = lambda _start, _end: ()
    school_day: Callable[[float], bool] = lambda _moment: True
    open_reading: bool = True
    one_click: bool = False
    hasher: Hasher = field(default_factory=Hasher)
    secure_cookie: bool = False
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    grafana_url: str = ""
    school: str = "Plumewatch"
    session_s: float = 12 * 3600.0
    cap_sender: str = "plumewatch"
    cap_token: Secret | None = None
    reports: ReportJobs | None = None
    times: SchoolTimes = field(default_factory=SchoolTimes)
    journal: Path | None = None
    clock: Callable[[], float] = time.time
