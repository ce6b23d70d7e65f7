"""The staff page, metrics, the watchdog outside the site, and reports."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from detection.events import EventKind
from plumewatch.config.sections.common import FilePath, Flag, Port, Proxies, Url, Whole


class WebConfig(BaseModel, extra="forbid", frozen=True):
    """The staff page."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8420
    """TCP port."""
    public_url: Url = ""
    """Address at which phones reach the page; links in notices start with it."""
    trusted_proxies: Proxies = []
    """Addresses or networks of reverse proxies whose `X-Forwarded-For` gives the client's address;
    this machine's own are always trusted."""
    grafana_url: Url = ""
    """Address of the Grafana to which room and incident pages link."""
    help_phone: Annotated[str, Field(max_length=40)] = ""
    """Phone number to call, shown when the page cannot reach Plumewatch."""
    docs_url: Url = ""
    """Address of these docs (`make site`); dashboards link to it."""

    @property
    def url(self) -> str:
        """Where staff reach the page, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names under which the page answers."""
        public = urlsplit(self.public_url).hostname or self.host
        return tuple(sorted({"127.0.0.1", "localhost", "[::1]", self.host, public}))


class MetricsConfig(BaseModel, extra="forbid", frozen=True):
    """Access to `/metrics` from other machines."""

    token_file: FilePath | None = None
    """File with the bearer token for scraping from other machines."""


class WatchdogConfig(BaseModel, extra="forbid", frozen=True):
    """An external service that alerts when the pings stop."""

    ping_url_file: FilePath | None = None
    """File with the address to ping every minute while all parts work."""


class ReportsConfig(BaseModel, extra="forbid", frozen=True):
    """State codes, the weekly summary, and the school year."""

    state_codes: Annotated[
        dict[EventKind, Annotated[str, Field(min_length=1, max_length=40)]], Field(max_length=32)
    ] = {}
    """State code of each kind of confirmed incident; none by default."""
    weekly_file: FilePath | None = None
    """File with the Apprise URL, such as `mailtos://`, to which a summary is sent each Monday at 6
    AM."""
    weekly_to_staff: Flag = False
    """Also send each school's summary, from the same mail server, to its staff with an `email`."""
    school_year_month: Annotated[Whole, Field(ge=1, le=12)] = 7
    """First month of the school year, 1 to 12."""
