"""What a school writes: the TOML configuration, its checks, and what it becomes.

All faults are reported at once, each with its path, the value found and what is allowed. Secrets
come from files or environment variables, never from the configuration itself.
"""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from detection.decision_levels import BUDGET
from detection.events import EventKind  # noqa: TC001 - pydantic reads it
from ingest.mapping.schema import MAX_MAPPINGS, MappingConfig
from ingest.mapping.topics import mqtt_filter
from plumewatch.duty_config import Days, DutySections, EndTime, WallTime
from plumewatch.duty_faults import duty_faults
from plumewatch.duty_settings import Person, roster_of
from plumewatch.http_faults import http_faults
from plumewatch.mapping_faults import mapping_faults, mapping_names
from plumewatch.outbound_config import OutboundConfig
from storage.registry import Registry, Room, Sensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from alerts.duty.roster import Roster

__all__ = [
    "BrokerConfig",
    "ConfigError",
    "Fault",
    "HttpConfig",
    "InhibitConfig",
    "JournalConfig",
    "MetricsConfig",
    "PlumewatchConfig",
    "QuietHoursConfig",
    "ReportsConfig",
    "RetentionConfig",
    "RoomConfig",
    "RouteConfig",
    "SensorConfig",
    "SourceConfig",
    "StaffConfig",
    "TargetConfig",
    "TimeseriesConfig",
    "WatchdogConfig",
    "WebConfig",
    "load",
    "parse",
]

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Name = Annotated[str, Field(min_length=1, max_length=80)]
Port = Annotated[int, Field(ge=1, le=65535)]
FalseAlarms = Annotated[float, Field(ge=0.05, le=50)]
MqttFilter = Annotated[str, AfterValidator(mqtt_filter)]

_MAX_CONFIG_BYTES = 4_000_000
_DATA_DIR = Path("plumewatch-data")


class Fault(BaseModel):
    """One fault of a configuration."""

    path: str
    value: str
    allowed: str

    def __str__(self) -> str:
        """One line: where, what is there, what may be there."""
        return f"{self.path}: {self.value}: {self.allowed}"


class ConfigError(Exception):
    """The configuration has faults; `faults` lists them all."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("\n".join(map(str, faults)))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BrokerConfig(_Section):
    """The MQTT broker."""

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    port: Port = 1883
    client_id: Id = "plumewatch"
    username: str = ""
    password_file: Path | None = None
    password_env: str = ""
    tls: bool = False
    ca_file: Path | None = None
    canary: bool = True
    max_queued_messages: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000_000


class WebConfig(_Section):
    """The staff page."""

    host: str = "127.0.0.1"
    port: Port = 8420
    public_url: Annotated[str, Field(pattern=r"^(https?://[^\s/]+(/[^\s]*)?)?$")] = ""
    grafana_url: Annotated[str, Field(pattern=r"^(https?://[^\s/]+(/[^\s]*)?)?$")] = ""


class RoomConfig(_Section):
    """One room; building and floor are names a person would say."""

    id: Id
    name: Name
    building: Name
    floor: Annotated[str, Field(max_length=80)] = ""
    site: Annotated[str, Field(max_length=80)] = ""
    kind: Annotated[str, Field(min_length=1, max_length=40)] = "restroom"


class SensorConfig(_Section):
    """One sensor and where it hangs."""

    id: Id
    room: Id
    model: Annotated[str, Field(max_length=40)] = ""
    decoder: str = ""
    aliases: Annotated[list[Name], Field(max_length=8)] = []
    interval_s: Annotated[float, Field(ge=0.5, le=3600)] = 5.0
    false_alarms_per_week: FalseAlarms | None = None


class TargetConfig(_Section):
    """Where notices go: an Apprise URL, kept in a file or an environment variable."""

    url_file: Path | None = None
    url_env: str = ""


class QuietHoursConfig(_Section):
    """When a person is told of what is critical alone; an end not after the start is next day."""

    start: WallTime
    end: EndTime
    days: Days | None = None
    then: Literal["hold", "divert"] = "hold"


class InhibitConfig(_Section):
    """Incidents that explain others, which then are not told meanwhile."""

    source: Annotated[list[str], Field(min_length=1, max_length=8)]
    target: Annotated[list[str], Field(min_length=1, max_length=8)]
    equal: Annotated[list[str], Field(max_length=8)] = []


class StaffConfig(_Section):
    """One member of staff, by role and duty name rather than by person where you can."""

    id: Id
    name: Name
    role: Literal["staff", "facilities", "analyst", "admin"] = "staff"
    notify: Annotated[list[TargetConfig], Field(max_length=8)] = []
    quiet_hours: Annotated[list[QuietHoursConfig], Field(max_length=14)] = []


class DetectionConfig(_Section):
    """How many false alarms are tolerable; sensors set their levels by it."""

    false_alarms_per_sensor_week: FalseAlarms = BUDGET


class AlertsConfig(_Section):
    """When staff are told."""

    cooldown_s: Annotated[float, Field(ge=0, le=3600)] = 300.0
    escalate_after_s: Annotated[float, Field(ge=30, le=3600)] = 90.0
    acknowledged_for_s: Annotated[float, Field(ge=60, le=86_400)] = 600.0
    notices_per_hour: Annotated[int, Field(ge=2, le=1000)] = 12
    storm_rooms: Annotated[int, Field(ge=1, le=1000)] = 3
    offline_after: Annotated[int, Field(ge=2, le=100)] = 3
    allow_private_targets: bool = False
    pictures: bool = True


class HttpConfig(_Section):
    """Where the HTTP door listens, if there is a source."""

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    port: Port = 8421
    cert_file: Path | None = None
    key_file: Path | None = None


class SourceConfig(_Section):
    """One sender at the HTTP door; its secrets are in files or environment variables."""

    name: Id
    decoder: Annotated[str, Field(min_length=1, max_length=64)]
    token_file: Path | None = None
    token_env: str = ""
    signature_file: Path | None = None
    signature_env: str = ""
    sensors: Annotated[list[Id], Field(max_length=10_000)] = []
    rate_per_s: Annotated[float, Field(ge=0.1, le=10_000)] = 50.0


class IngestConfig(_Section):
    """What is listened to."""

    decoders: Annotated[list[str], Field(max_length=64)] = []
    topics: Annotated[list[MqttFilter], Field(max_length=64)] = []
    http: HttpConfig = HttpConfig()
    source: Annotated[list[SourceConfig], Field(max_length=1_000)] = []


class JournalConfig(_Section):
    """How much of the accepted readings the journal keeps; the series keeps them anyway."""

    keep_days: Annotated[float, Field(ge=1, le=366)] = 7.0
    max_mb: Annotated[float, Field(ge=100, le=10_000_000)] = 8_000.0


class MetricsConfig(_Section):
    """Who may read the numbers beside this machine itself."""

    token_file: Path | None = None
    token_env: str = ""


class WatchdogConfig(_Section):
    """An address outside that misses us when we are gone."""

    ping_url_file: Path | None = None
    ping_url_env: str = ""
    ping_every_s: Annotated[float, Field(ge=10, le=3600)] = 60.0


class TimeseriesConfig(_Section):
    """Where readings are stored for good: an InfluxDB, or without a URL the embedded SQLite."""

    url: Annotated[str, Field(pattern=r"^(https?://[^\s/@?#]+/?)?$")] = ""
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "plumewatch"
    org: Annotated[str, Field(max_length=80)] = ""
    username: Annotated[str, Field(max_length=80)] = ""
    token_file: Path | None = None
    token_env: str = ""
    ca_file: Path | None = None
    raw_days: Annotated[int, Field(ge=2, le=36_500)] = 30
    minute_days: Annotated[int, Field(ge=2, le=36_500)] = 730
    quarter_hour_days: Annotated[int, Field(ge=2, le=36_500)] = 1_826


class RetentionConfig(_Section):
    """How long incidents are kept, with notices and answers; readings: see `timeseries`."""

    incident_days: Annotated[int, Field(ge=30, le=36_500)] = 1_826


class ReportsConfig(_Section):
    """What reports add: codes of the state for kinds of confirmed incidents, none by default."""

    state_codes: Annotated[
        dict[EventKind, Annotated[str, Field(min_length=1, max_length=40)]], Field(max_length=32)
    ] = {}


class RouteConfig(_Section):
    """Topics that one decoder or mapping reads, for formats whose topic the user chooses."""

    topic: MqttFilter
    decoder: str


class PlumewatchConfig(DutySections, _Section):
    """The whole configuration."""

    site: Name
    timezone: str
    data_dir: Path = _DATA_DIR
    broker: BrokerConfig = BrokerConfig()
    web: WebConfig = WebConfig()
    ingest: IngestConfig = IngestConfig()
    journal: JournalConfig = JournalConfig()
    timeseries: TimeseriesConfig = TimeseriesConfig()
    detection: DetectionConfig = DetectionConfig()
    alerts: AlertsConfig = AlertsConfig()
    outbound: OutboundConfig = OutboundConfig()
    metrics: MetricsConfig = MetricsConfig()
    reports: ReportsConfig = ReportsConfig()
    retention: RetentionConfig = RetentionConfig()
    watchdog: WatchdogConfig = WatchdogConfig()
    room: Annotated[list[RoomConfig], Field(min_length=1, max_length=10_000)]
    sensor: Annotated[list[SensorConfig], Field(min_length=1, max_length=100_000)]
    staff: Annotated[list[StaffConfig], Field(max_length=10_000)] = []
    mapping: Annotated[list[MappingConfig], Field(max_length=MAX_MAPPINGS)] = []
    route: Annotated[list[RouteConfig], Field(max_length=256)] = []
    inhibit: Annotated[list[InhibitConfig], Field(max_length=64)] = []

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("a time zone of the IANA list, such as America/New_York")
        return value

    def zone(self) -> ZoneInfo:
        """Time zone of the school."""
        return ZoneInfo(self.timezone)

    def roster(self) -> Roster:
        """Who hears of an incident.

        Raises
        ------
        CalendarError
            If a calendar cannot be read any more.
        """
        people = [Person(p.id, p.name, p.role, bool(p.notify)) for p in self.staff]
        return roster_of(self, people, self.zone())

    def registry(self) -> Registry:
        """Rooms and sensors, for every other part."""
        return Registry.of(
            (
                Room(r.id, r.name, r.floor, r.building, r.site or self.site, r.kind)
                for r in self.room
            ),
            (Sensor(s.id, s.room, s.model, s.decoder, s.interval_s) for s in self.sensor),
        )


def load(path: Path, *, decoders: frozenset[str] = frozenset()) -> PlumewatchConfig:
    """Read and check a configuration file; relative paths inside are relative to it.

    Raises
    ------
    ConfigError
        With every fault found.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            [
                Fault(
                    path=str(path),
                    value=error.strerror or "unreadable",
                    allowed="must be a readable TOML file",
                )
            ]
        ) from error
    if len(raw) > _MAX_CONFIG_BYTES:
        raise ConfigError([Fault(path=str(path), value="too large", allowed="at most 4 MB")])
    try:
        tree = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            [Fault(path=str(path), value=str(error), allowed="must be valid TOML in UTF-8")]
        ) from error
    return parse(tree, base=path.resolve().parent, decoders=decoders)


def parse(
    tree: Mapping[str, Any], *, base: Path, decoders: frozenset[str] = frozenset()
) -> PlumewatchConfig:
    """Check a configuration that has been read.

    Parameters
    ----------
    tree : mapping
        As `tomllib` gives it.
    base : Path
        Folder to which relative paths refer.
    decoders : frozenset of str
        Known decoder names; empty to accept any.

    Raises
    ------
    ConfigError
        With every fault found.
    """
    faults: list[Fault] = []
    config: PlumewatchConfig | None = None
    try:
        written = {"data_dir": str(_DATA_DIR), **tree}  # the default is relative to the file too
        config = PlumewatchConfig.model_validate(_rebased(written, base))
    except ValidationError as error:
        faults = [_fault(e) for e in error.errors(include_url=False)]
    faults += _cross_faults(tree, decoders)
    faults += [Fault(**found._asdict()) for found in duty_faults(_rebased(tree, base))]
    if config is None or faults:
        raise ConfigError(faults)
    return config


_PATH_KEYS = frozenset(
    {
        "data_dir",
        "password_file",
        "ca_file",
        "token_file",
        "url_file",
        "secret_file",
        "ping_url_file",
        "signature_file",
        "cert_file",
        "key_file",
        "calendar_file",
    }
)


def _rebased(tree: Any, base: Path) -> Any:
    if isinstance(tree, dict):
        return {
            k: str(base / v) if k in _PATH_KEYS and isinstance(v, str) else _rebased(v, base)
            for k, v in tree.items()
        }
    if isinstance(tree, list):
        return [_rebased(v, base) for v in tree]
    return tree


def _fault(error: Any) -> Fault:
    parts = [str(p) for p in error["loc"]]
    path = ".".join(parts) or "(top level)"
    kind, context = error["type"], error.get("ctx", {})
    value = "missing" if kind == "missing" else repr(error["input"])[:80]
    if kind == "extra_forbidden":
        return Fault(path=path, value="unknown key", allowed="see `plumewatch init` for all keys")
    if kind == "missing":
        return Fault(path=path, value=value, allowed="must be given")
    if kind == "value_error":
        return Fault(path=path, value=value, allowed=f"must be {context['error']}")
    return Fault(
        path=path, value=value, allowed=str(error["msg"]).replace("Input should", "should")
    )


def _cross_faults(tree: Mapping[str, Any], decoders: frozenset[str]) -> Iterator[Fault]:
    """Faults between entries, found in what was written, so that they show beside all others."""
    for section in ("room", "sensor", "staff", "receiver", "zone", "bells", "shift"):
        yield from _repeated_ids(section, _entries(tree, section))
    known = decoders | mapping_names(tree) if decoders else decoders
    yield from _sensor_faults(tree, known)
    yield from _secret_faults(tree)
    yield from _retention_faults(tree)
    for path, value, allowed in mapping_faults(tree, decoders):
        yield Fault(path=path, value=value, allowed=allowed)
    for found in http_faults(tree):
        yield Fault(path=found.path, value=found.value, allowed=found.allowed)


def _entries(tree: Mapping[str, Any], key: str) -> list[tuple[int, dict[str, Any]]]:
    """Entries of a list that are tables, with their places; other entries are told elsewhere."""
    found = tree.get(key)
    if not isinstance(found, list):
        return []
    return [(i, entry) for i, entry in enumerate(found) if isinstance(entry, dict)]


def _repeated_ids(section: str, entries: list[tuple[int, dict[str, Any]]]) -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for i, entry in entries:
        found = entry.get("id")
        if not isinstance(found, str):
            continue
        if found in seen:
            yield Fault(
                path=f"{section}.{i}.id",
                value=repr(found),
                allowed=f"must be unique, but is also {section}.{seen[found]}.id",
            )
        seen.setdefault(found, i)


def _sensor_faults(tree: Mapping[str, Any], decoders: frozenset[str]) -> Iterator[Fault]:
    rooms = {room["id"] for _, room in _entries(tree, "room") if isinstance(room.get("id"), str)}
    for i, sensor in _entries(tree, "sensor"):
        room, decoder = sensor.get("room"), sensor.get("decoder")
        if isinstance(room, str) and room not in rooms:
            yield Fault(
                path=f"sensor.{i}.room",
                value=repr(room),
                allowed="must be the id of a [[room]]: " + ", ".join(sorted(rooms)[:20]),
            )
        if decoders and isinstance(decoder, str) and decoder and decoder not in decoders:
            yield Fault(
                path=f"sensor.{i}.decoder",
                value=repr(decoder),
                allowed="must be empty or one of: " + ", ".join(sorted(decoders)),
            )


_KEPT = ("raw", "minute", "quarter_hour")
_ONE_SECRET = (
    ("broker", "password"),
    ("metrics", "token"),
    ("timeseries", "token"),
    ("watchdog", "ping_url"),
)


def _retention_faults(tree: Mapping[str, Any]) -> Iterator[Fault]:
    """Let readings not leave the series before the journal, nor averages before readings."""
    keys = (("journal", "keep_days"), *(("timeseries", f"{k}_days") for k in _KEPT))
    days: list[tuple[str, float]] = []
    for section, key in keys:
        model = JournalConfig if section == "journal" else TimeseriesConfig
        written = tree.get(section)
        found = written.get(key) if isinstance(written, dict) else None
        found = model.model_fields[key].default if found is None else found
        if isinstance(found, int | float):
            days.append((f"{section}.{key}", found))
    for (shorter, least), (longer, most) in pairwise(days):
        if least > most:
            yield Fault(path=longer, value=f"{most:g}", allowed=f"at least {shorter}, {least:g}")


def _secret_faults(tree: Mapping[str, Any]) -> Iterator[Fault]:
    for i, person in _entries(tree, "staff"):
        for k, target in _entries(person, "notify"):
            if bool(target.get("url_file")) == bool(target.get("url_env")):
                yield Fault(
                    path=f"staff.{i}.notify.{k}",
                    value="both or neither of url_file and url_env",
                    allowed="exactly one of them",
                )
    for section, name in _ONE_SECRET:
        found = tree.get(section)
        keys = (f"{name}_file", f"{name}_env")
        if isinstance(found, dict) and all(found.get(key) for key in keys):
            yield Fault(path=section, value=" and ".join(keys), allowed="at most one of them")
