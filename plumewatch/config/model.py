"""The parsed configuration of a school or district; every table is frozen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, PrivateAttr

from ingest.mapping.schema import MAX_MAPPINGS, MappingConfig
from ingest.validation import fold_id
from plumewatch.config.faults import ConfigTree, locate
from plumewatch.config.roster import build_roster
from plumewatch.config.sections.alerts import AlertsConfig, DetectionConfig
from plumewatch.config.sections.broker import BrokerConfig
from plumewatch.config.sections.common import FilePath, Name, TimeZone
from plumewatch.config.sections.duty import DutySections
from plumewatch.config.sections.ingest import IngestConfig, RouteConfig
from plumewatch.config.sections.staff import (
    RoomConfig,
    SensorConfig,
    SignInConfig,
    SiteConfig,
    StaffConfig,
)
from plumewatch.config.sections.storage import JournalConfig, RetentionConfig, TimeseriesConfig
from plumewatch.config.sections.web import MetricsConfig, ReportsConfig, WatchdogConfig, WebConfig
from storage.registry import Registry, Room, Sensor, Site

if TYPE_CHECKING:
    from alerts.duty.roster import Roster

DATA_DIR: Final = Path("plumewatch-data")


class PlumewatchConfig(DutySections, BaseModel):
    """The whole configuration."""

    site: Name
    """Name of the school; if each school has a `[[site]]`, use `district` instead."""
    sites: Annotated[list[SiteConfig], Field(max_length=1000)] = []
    """Schools, if there are several."""
    timezone: TimeZone
    """IANA time zone of local times and days, such as America/New_York."""
    language: Literal["en", "es"] = "en"
    """Language of notices and reports, and of pages if the browser prefers neither language."""
    data_dir: FilePath = DATA_DIR
    """Folder of the journal, incidents and the embedded time series."""
    broker: BrokerConfig = BrokerConfig()
    """The MQTT broker that sensors publish to."""
    web: WebConfig = WebConfig()
    """The staff page."""
    sign_in: SignInConfig = SignInConfig()
    """How people sign in to it."""
    ingest: IngestConfig = IngestConfig()
    """Formats, topics and HTTP ingest."""
    journal: JournalConfig = JournalConfig()
    """How long accepted readings are kept in the journal."""
    timeseries: TimeseriesConfig = TimeseriesConfig()
    """Where readings are stored, and for how long."""
    detection: DetectionConfig = DetectionConfig()
    """How many false alarms are acceptable."""
    alerts: AlertsConfig = AlertsConfig()
    """When staff are notified, and what limits notices."""
    metrics: MetricsConfig = MetricsConfig()
    """Who may read `/metrics`."""
    reports: ReportsConfig = ReportsConfig()
    """Reports and the weekly summary."""
    retention: RetentionConfig = RetentionConfig()
    """How long incidents are kept."""
    watchdog: WatchdogConfig = WatchdogConfig()
    """An external service that alerts when Plumewatch is down."""
    room: Annotated[list[RoomConfig], Field(min_length=1, max_length=10_000)]
    """Rooms."""
    sensor: Annotated[list[SensorConfig], Field(min_length=1, max_length=100_000)]
    """Sensors."""
    staff: Annotated[list[StaffConfig], Field(max_length=10_000)] = []
    """Staff members."""
    mapping: Annotated[list[MappingConfig], Field(max_length=MAX_MAPPINGS)] = []
    """Formats of devices without a decoder."""
    route: Annotated[list[RouteConfig], Field(max_length=256)] = []
    """Decoders of user-defined topics."""

    _tree: ConfigTree = PrivateAttr(default_factory=lambda: ConfigTree({}))

    @property
    def tree(self) -> ConfigTree:
        """The configuration as it was read, to locate faults."""
        return self._tree

    def set_tree(self, tree: ConfigTree) -> None:
        """Keep the configuration as it was read."""
        self._tree = tree

    def locate_entry(self, path: str) -> str:
        """Return how to name an entry in a sentence: by number if `path` is its own id or name."""
        return locate(path, self._tree, by_number=path.endswith((".id", ".name")))

    def get_zone(self, site: str = "") -> ZoneInfo:
        """Return the time zone of a site, by default the zone of the whole installation."""
        return ZoneInfo(self.find_site(site).zone or "UTC")

    def list_sites(self) -> tuple[Site, ...]:
        """Return the sites; without any `[[site]]`, the sites that rooms name, or the school."""
        usual = self.timezone
        if self.sites:
            return tuple(Site(s.id, s.name, s.timezone or usual, s.closed) for s in self.sites)
        names = dict.fromkeys(room.site or self.site for room in self.room)
        return tuple(Site(name, name, usual) for name in names)

    def index_sites(self) -> dict[str, Site]:
        """Return the sites by id; the empty id is the district, or the only site."""
        return {"": self.find_site(""), **{site.id: site for site in self.list_sites()}}

    def find_site(self, key: str) -> Site:
        """Return the site with an id; for an empty id, the only site, or the district."""
        known = {site.id: site for site in self.list_sites()}
        if not key and len(self.sites) == 1:
            return next(iter(known.values()))
        if not key and not self.sites:
            key = self.site
        return known.get(key) or Site(key, key or self.site, self.timezone)

    def build_roster(self) -> Roster:
        """Return the roster, which decides who is notified of an incident."""
        return build_roster(self, self.staff, self.index_sites())

    def find_password_staff(self) -> frozenset[str] | None:
        """Return the ids of staff who can sign in with a password; None for everybody.

        With a sign-in provider, these are people without an e-mail address and people in
        `people.csv`.
        """
        if not self.sign_in.issuer:
            return None
        listed = {
            k
            for (section, k), file in self._tree.files.items()
            if section == "staff" and file.startswith("people.csv")
        }
        return frozenset(m.id for k, m in enumerate(self.staff) if k in listed or not m.email)

    def list_closed_names(self) -> frozenset[str]:
        """Return the names under which sensors of closed schools publish, folded by `fold_id`."""
        former = self.build_registry().former
        closed = (s for s in self.sensor if s.room in former)
        return frozenset(fold_id(name) for s in closed for name in (s.id, *s.aliases))

    def build_registry(self) -> Registry:
        """Return the registry of rooms and sensors."""
        sites = self.index_sites()
        placed = ((r, sites.get(r.site) or self.find_site(r.site)) for r in self.room)
        return Registry.build(
            (Room(r.id, r.name, r.floor, r.building, s.name, r.kind, s.zone) for r, s in placed),
            (Sensor(s.id, s.room, s.model, s.decoder, s.interval_s) for s in self.sensor),
            self.list_sites() if self.sites else (),
        )
