"""What a school writes: the TOML configuration, its checks, and what it becomes.

All faults are reported at once, each with its path, the value found and what is allowed. Secrets
come from files or environment variables, never from the configuration itself.
"""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
)

from detection.decision_levels import BUDGET
from detection.events import EventKind  # noqa: TC001 - pydantic reads it
from ingest.mapping.schema import MAX_MAPPINGS, MappingConfig
from ingest.mapping.topics import mqtt_filter
from plumewatch.cli.exit_codes import UsageError
from plumewatch.config.duty import Days, DutySections, EndTime, WallTime
from plumewatch.config.duty_faults import duty_faults
from plumewatch.config.duty_settings import Person, roster_of
from plumewatch.config.faults import cross_faults
from plumewatch.config.outbound import OutboundConfig
from plumewatch.config.sharding import VARIABLE, ShardError, of_environment, part_of
from storage.registry import Registry, Room, Sensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from alerts.duty.roster import Roster

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Name = Annotated[str, Field(min_length=1, max_length=80)]
Port = Annotated[int, Field(ge=1, le=65535)]
FalseAlarms = Annotated[float, Field(ge=0.05, le=50)]
MqttFilter = Annotated[str, AfterValidator(mqtt_filter)]

_MAX_CONFIG_BYTES = 4_000_000
CONFIG_VERSION: Final = 1
"""Goes up when a key changes its meaning or its place, never when one is added."""
_REPLACED: Final = MappingProxyType(
    {
        "web.token_file": "passwords of staff took its place: `plumewatch staff password ID`",
        "web.token_env": "passwords of staff took its place: `plumewatch staff password ID`",
    }
)
"""Keys of earlier versions, and what to do about them."""
_DATA_DIR = Path("plumewatch-data")


class Fault(BaseModel):
    """One fault of a configuration."""

    path: str
    value: str
    allowed: str

    def __str__(self) -> str:
        """One line: where, what is there, what may be there."""
        return f"{self.path}: {self.value}: {self.allowed}"


class ConfigError(UsageError):
    """The configuration has faults; `faults` lists them all."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("\n".join(map(str, faults)))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BrokerConfig(_Section):
    """The MQTT broker."""

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    """Name or address."""
    port: Port = 1883
    """TCP port; with TLS usually 8883."""
    client_id: Id = "plumewatch"
    """Names the persistent session: one service an id."""
    username: str = ""
    """Account of the service at the broker; without it none is sent."""
    password_file: Path | None = None
    """File with its password."""
    password_env: str = ""
    """Environment variable with its password instead."""
    tls: bool = False
    """Whether to speak TLS."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    config_file: Path | None = None
    """Configuration of a Mosquitto on this machine, for `plumewatch check` to read."""
    canary: bool = True
    """Whether to publish and await a message of its own every 10 s; false for brokers that
    disconnect who publishes without a right."""
    max_queued_messages: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000_000
    """What the broker keeps for the service at most, as its own configuration says; a warning
    comes before it is full."""


class WebConfig(_Section):
    """The staff page."""

    host: str = "127.0.0.1"
    """Address to listen on; with another than loopback, reading needs a sign-in."""
    port: Port = 8420
    """TCP port."""
    public_url: Annotated[str, Field(pattern=r"^(https?://[^\s/]+(/[^\s]*)?)?$")] = ""
    """What links in notices start with; with it, reading needs a sign-in."""
    grafana_url: Annotated[str, Field(pattern=r"^(https?://[^\s/]+(/[^\s]*)?)?$")] = ""
    """Where pages of rooms and incidents lead for their dashboards."""


class RoomConfig(_Section):
    """One room; building and floor are names a person would say."""

    id: Id
    """Names it in commands, topics and reports."""
    name: Name
    """First words of every alert; say it as a person would."""
    building: Name
    """As a person would say it; rooms of one building share air and storms."""
    floor: Annotated[str, Field(max_length=80)] = ""
    """The same; rooms of one floor share storms."""
    site: Annotated[str, Field(max_length=80)] = ""
    """The school, where one service watches several; `site` at the top if left out."""
    kind: Annotated[str, Field(min_length=1, max_length=40)] = "restroom"
    """Kind of room, label `room_type` of routes."""


class SensorConfig(_Section):
    """One sensor and where it hangs."""

    id: Id
    """Name under which it publishes: native or Tasmota topic, serial number, EUI."""
    room: Id
    """Id of its `[[room]]`."""
    model: Annotated[str, Field(max_length=40)] = ""
    """Free text; of LoRaWAN devices it names the codec of their frames."""
    decoder: str = ""
    """Format, or `mapping:NAME`, where the topic does not tell it."""
    aliases: Annotated[list[Name], Field(max_length=8)] = []
    """Other names under which it publishes."""
    interval_s: Annotated[float, Field(ge=0.5, le=3600)] = 5.0
    """Seconds between its readings; silence is measured by it."""
    false_alarms_per_week: FalseAlarms | None = None
    """Budget of this sensor; `detection.false_alarms_per_sensor_week` if left out."""


class TargetConfig(_Section):
    """Where notices go: an Apprise URL, kept in a file or an environment variable."""

    url_file: Path | None = None
    """File with the Apprise URL."""
    url_env: str = ""
    """Environment variable with it instead."""


class QuietHoursConfig(_Section):
    """When a person is told of what is critical alone; an end not after the start is next day."""

    start: WallTime
    """First minute, time of day at the school."""
    end: EndTime
    """Where it ends."""
    days: Days | None = None
    """Days on which it starts; every day if left out."""
    then: Literal["hold", "divert"] = "hold"
    """`hold`: what is not critical waits for the end. `divert`: others are asked."""


class InhibitConfig(_Section):
    """Incidents that explain others, which then are not told meanwhile."""

    source: Annotated[list[str], Field(min_length=1, max_length=8)]
    """Matchers of the incidents that explain."""
    target: Annotated[list[str], Field(min_length=1, max_length=8)]
    """Matchers of the incidents that are not told while one of those goes on."""
    equal: Annotated[list[str], Field(max_length=8)] = []
    """Labels that must be alike in both."""


class StaffConfig(_Section):
    """One member of staff, by role and duty name rather than by person where you can."""

    id: Id
    """Names the person in shifts, commands and the audit log; signs in with it."""
    name: Name
    """What others read: better a duty than a person's name."""
    role: Literal["staff", "facilities", "analyst", "admin"] = "staff"
    """What the person may do on the staff page, and a receiver of that name."""
    notify: Annotated[list[TargetConfig], Field(max_length=8)] = []
    """Channels in order: the first is tried first, the next if it does not take a notice."""
    quiet_hours: Annotated[list[QuietHoursConfig], Field(max_length=14)] = []
    """When only what is critical is told."""


class DetectionConfig(_Section):
    """How many false alarms are tolerable; sensors set their levels by it."""

    false_alarms_per_sensor_week: FalseAlarms = BUDGET
    """False alarms a week and sensor that are tolerable; each sets its level by it."""


class AlertsConfig(_Section):
    """When staff are told."""

    cooldown_s: Annotated[float, Field(ge=0, le=3600)] = 300.0
    """After a delivered notice the same room and kind stay quiet so long."""
    escalate_after_s: Annotated[float, Field(ge=30, le=3600)] = 90.0
    """Without an answer the next people are told after it; half for critical, four times for
    info."""
    acknowledged_for_s: Annotated[float, Field(ge=60, le=86_400)] = 600.0
    """Without word of what was found, whoever took it is reminded after it."""
    notices_per_hour: Annotated[int, Field(ge=2, le=1000)] = 12
    """Beyond it a person gets the rest as one notice, except what is critical."""
    storm_rooms: Annotated[int, Field(ge=1, le=1000)] = 3
    """Rooms of a floor that are told one by one; further ones come together."""
    offline_after: Annotated[int, Field(ge=2, le=100)] = 3
    """Intervals without a reading until a sensor is offline, never less than a minute."""
    allow_private_targets: bool = False
    """Whether notices and webhooks may go to addresses of private networks."""
    pictures: bool = True
    """Whether alerts carry the evidence picture."""


class HttpConfig(_Section):
    """Where the HTTP ingest listens, if there is a source."""

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    """Address to listen on; with the default only this machine reaches it."""
    port: Port = 8421
    """TCP port."""
    cert_file: Path | None = None
    """Certificate for https, with its chain; without it http is spoken."""
    key_file: Path | None = None
    """Its key."""


class SourceConfig(_Section):
    """One sender at the HTTP ingest; its secrets are in files or environment variables."""

    name: Id
    """User name of HTTP Basic; appears in logs and dead letters."""
    decoder: Annotated[str, Field(min_length=1, max_length=64)]
    """Format, or `mapping:NAME`; it posts to `/ingest/DECODER`."""
    token_file: Path | None = None
    """File with its token, 16 characters or more."""
    token_env: str = ""
    """Environment variable with it instead."""
    signature_file: Path | None = None
    """File with the shared secret of Verkada's webhook."""
    signature_env: str = ""
    """Environment variable with it instead."""
    sensors: Annotated[list[Id], Field(max_length=10_000)] = []
    """Ids that it may speak for; if empty, the sensors of its decoder."""
    rate_per_s: Annotated[float, Field(ge=0.1, le=10_000)] = 50.0
    """Messages a second over time; twice as many at once."""


class IngestConfig(_Section):
    """What is listened to."""

    decoders: Annotated[list[str], Field(max_length=64)] = []
    """Formats to subscribe to; all if empty."""
    topics: Annotated[list[MqttFilter], Field(max_length=64)] = []
    """Topics to listen to besides; what nothing reads is on the staff page."""
    events: bool = False
    """Take events in that were detected elsewhere (`plumewatch stream --publish`)."""
    http: HttpConfig = HttpConfig()
    """Where sensors without MQTT post."""
    source: Annotated[list[SourceConfig], Field(max_length=1_000)] = []
    """Who posts."""


class JournalConfig(_Section):
    """How much of the accepted readings the journal keeps; the series keeps them anyway."""

    keep_days: Annotated[float, Field(ge=1, le=366)] = 7.0
    """Readings are kept so long, and until all have read them."""
    max_mb: Annotated[float, Field(ge=100, le=10_000_000)] = 8_000.0
    """Beyond it the oldest go, also those that a database which is down has not read."""


class MetricsConfig(_Section):
    """Who may read the numbers beside this machine itself."""

    token_file: Path | None = None
    """File with the bearer token of whoever scrapes from elsewhere."""
    token_env: str = ""
    """Environment variable with it instead."""


class WatchdogConfig(_Section):
    """An address outside that misses us when we are gone."""

    ping_url_file: Path | None = None
    """File with the address to ping while every part works."""
    ping_url_env: str = ""
    """Environment variable with it instead."""
    ping_every_s: Annotated[float, Field(ge=10, le=3600)] = 60.0
    """Seconds between pings."""


class TimeseriesConfig(_Section):
    """Where readings are stored for good: an InfluxDB, or without a URL the embedded SQLite."""

    url: Annotated[str, Field(pattern=r"^(https?://[^\s/@?#]+/?)?$")] = ""
    """An InfluxDB 1.x, 2.x or 3; the embedded store without it."""
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "plumewatch"
    """Its database, or bucket of 2.x."""
    org: Annotated[str, Field(max_length=80)] = ""
    """Organization of 2.x."""
    username: Annotated[str, Field(max_length=80)] = ""
    """Account of 1.x; the token is then its password."""
    token_file: Path | None = None
    """File with the token or password."""
    token_env: str = ""
    """Environment variable with it instead."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    raw_days: Annotated[int, Field(ge=2, le=36_500)] = 30
    """Readings are kept so long; at least `journal.keep_days`."""
    minute_days: Annotated[int, Field(ge=2, le=36_500)] = 730
    """Averages of a minute are kept so long; at least `raw_days`."""
    quarter_hour_days: Annotated[int, Field(ge=2, le=36_500)] = 1_826
    """Averages of a quarter of an hour, and events, are kept so long; at least `minute_days`."""


class RetentionConfig(_Section):
    """How long incidents are kept, with notices and answers; readings: see `timeseries`."""

    incident_days: Annotated[int, Field(ge=30, le=36_500)] = 1_826
    """Older incidents are deleted by `plumewatch retention apply`."""


class ReportsConfig(_Section):
    """What reports add: codes of the state for kinds of confirmed incidents, the school year."""

    state_codes: Annotated[
        dict[EventKind, Annotated[str, Field(min_length=1, max_length=40)]], Field(max_length=32)
    ] = {}
    """Code of the state by kind of incident; none by default."""
    school_year_month: Annotated[int, Field(ge=1, le=12)] = 7
    """Month with which a school year begins, 1 to 12."""


class RouteConfig(_Section):
    """Topics that one decoder or mapping reads, for formats whose topic the user chooses."""

    topic: MqttFilter
    """MQTT topic filter."""
    decoder: str
    """Format that reads it, or `mapping:NAME`."""


class PlumewatchConfig(DutySections, _Section):
    """The whole configuration."""

    config_version: Annotated[int, Field(ge=1, le=CONFIG_VERSION)] = CONFIG_VERSION
    """Version of the form of this file; one without it is of the first."""
    site: Name
    """Name of the school."""
    timezone: str
    """IANA name, such as America/New_York; local times and days are by it."""
    data_dir: Path = _DATA_DIR
    """Where journal, incidents and the embedded time series are kept."""
    broker: BrokerConfig = BrokerConfig()
    """The MQTT broker that sensors publish to."""
    web: WebConfig = WebConfig()
    """The staff page."""
    ingest: IngestConfig = IngestConfig()
    """Formats, topics, and the HTTP ingest."""
    journal: JournalConfig = JournalConfig()
    """How long accepted readings are kept for their readers."""
    timeseries: TimeseriesConfig = TimeseriesConfig()
    """Where readings are stored, and for how long."""
    detection: DetectionConfig = DetectionConfig()
    """How many false alarms are tolerable."""
    alerts: AlertsConfig = AlertsConfig()
    """When staff are told, and what keeps notices few."""
    outbound: OutboundConfig = OutboundConfig()
    """Other systems in the building."""
    metrics: MetricsConfig = MetricsConfig()
    """Who may read `/metrics`."""
    reports: ReportsConfig = ReportsConfig()
    """What reports add."""
    retention: RetentionConfig = RetentionConfig()
    """How long incidents are kept."""
    watchdog: WatchdogConfig = WatchdogConfig()
    """An address outside that misses the service."""
    room: Annotated[list[RoomConfig], Field(min_length=1, max_length=10_000)]
    """Rooms."""
    sensor: Annotated[list[SensorConfig], Field(min_length=1, max_length=100_000)]
    """Sensors."""
    staff: Annotated[list[StaffConfig], Field(max_length=10_000)] = []
    """Members of staff."""
    mapping: Annotated[list[MappingConfig], Field(max_length=MAX_MAPPINGS)] = []
    """Formats of devices that no decoder knows."""
    route: Annotated[list[RouteConfig], Field(max_length=256)] = []
    """Decoders of topics that you chose."""
    inhibit: Annotated[list[InhibitConfig], Field(max_length=64)] = []
    """What explains what."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("a time zone of the IANA list, such as America/New_York")
        return value

    _elsewhere: frozenset[str] = PrivateAttr(default=frozenset())
    _takes_strangers: bool = PrivateAttr(default=True)

    @property
    def elsewhere(self) -> frozenset[str]:
        """Ids and aliases of sensors that another process has (`plumewatch.config.sharding`)."""
        return self._elsewhere

    @property
    def takes_strangers(self) -> bool:
        """Whether sensors that nobody registered belong to this process."""
        return self._takes_strangers

    def leave(self, elsewhere: frozenset[str], *, takes_strangers: bool) -> None:
        """Leave sensors, and it may be strangers, to another process."""
        self._elsewhere, self._takes_strangers = elsewhere, takes_strangers

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

    Where the environment names one of several processes, it is that one's part
    (`plumewatch.config.sharding`).

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
    config = parse(tree, base=path.resolve().parent, decoders=decoders)
    try:
        shard = of_environment()
        return config if shard is None else part_of(config, shard)
    except ShardError as error:
        fault = Fault(path=VARIABLE, value=str(error), allowed="one of the processes of a school")
        raise ConfigError([fault]) from error


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
    crossed = (*cross_faults(tree, decoders), *duty_faults(_rebased(tree, base)))
    faults += [Fault(**found._asdict()) for found in crossed]
    faults += _retention_faults(tree)
    if config is None or faults:
        raise ConfigError(faults)
    return config


_PATH_KEYS = frozenset(
    {
        "data_dir",
        "password_file",
        "ca_file",
        "config_file",
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
    if path == "config_version" and kind == "less_than_equal":
        allowed = f"at most {CONFIG_VERSION} here: this file is for a newer Plumewatch"
        return Fault(path=path, value=value, allowed=allowed)
    if kind == "extra_forbidden" and path in _REPLACED:
        return Fault(path=path, value="key of an earlier version", allowed=_REPLACED[path])
    if kind == "extra_forbidden":
        return Fault(path=path, value="unknown key", allowed="see `plumewatch init` for all keys")
    if kind == "missing":
        return Fault(path=path, value=value, allowed="must be given")
    if kind == "value_error":
        return Fault(path=path, value=value, allowed=f"must be {context['error']}")
    allowed = str(error["msg"]).replace("Input should", "should")
    if kind == "model_type":
        allowed = "must be a table: { key = value, ... }"
    return Fault(path=path, value=value, allowed=allowed)


_KEPT = ("raw", "minute", "quarter_hour")


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
