"""The staff page."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel

from plumewatch.config.sections.common import Port, Proxies, Url


class WebConfig(BaseModel, extra="forbid", frozen=True):
    """The staff page."""

    host: str = "127.0.0.1"
    """Address to listen on; reading needs a sign-in unless it is loopback."""
    port: Port = 8420
    """TCP port."""
    public_url: Url = ""
    """Address that links in notices start with; if set, reading needs a sign-in."""
    trusted_proxies: Proxies = []
    """Addresses or networks of reverse proxies whose `X-Forwarded-For` gives the client's address;
    this machine's own are always trusted."""
    grafana_url: Url = ""
    """Grafana that room and incident pages link to."""
    docs_url: Url = ""
    """Where these docs are served (`make site`); the dashboards link to what to do."""

    @property
    def url(self) -> str:
        """Where staff reach the page, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names under which the page answers."""
        public = urlsplit(self.public_url).hostname or self.host
        return tuple(sorted({"127.0.0.1", "localhost", "[::1]", self.host, public}))
