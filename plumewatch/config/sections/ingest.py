"""Formats, topics, and HTTP ingest."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from ingest.topics import check_filter
from plumewatch.config.sections.common import FilePath, Flag, Id, Number, Port, Proxies

MqttFilter = Annotated[str, AfterValidator(check_filter)]


class HttpConfig(BaseModel, extra="forbid", frozen=True):
    """Where HTTP ingest listens, if there is a source."""

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    """Address to listen on; the default is reachable only from this machine."""
    port: Port = 8421
    """TCP port."""
    trusted_proxies: Proxies = []
    """Reverse proxies as in `web.trusted_proxies`."""


class SourceConfig(BaseModel, extra="forbid", frozen=True):
    """One sender of HTTP ingest."""

    name: Id
    """User name for HTTP Basic; appears in logs and dead letters."""
    decoder: Annotated[str, Field(min_length=1, max_length=64)]
    """Format, or `mapping:NAME`; the sender posts to `/ingest/DECODER`."""
    token_file: FilePath | None = None
    """File with its token, 16 characters or more."""
    signature_file: FilePath | None = None
    """File with the shared secret of Verkada's webhook."""
    sensors: Annotated[list[Id], Field(max_length=10_000)] = []
    """Ids of the sensors that it may send readings for; if empty, all sensors with its decoder."""
    rate_per_s: Annotated[Number, Field(ge=0.1, le=10_000)] = 50.0
    """Average messages per second; bursts may have twice as many."""


class PollConfig(BaseModel, extra="forbid", frozen=True):
    """One address that is polled for a registered sensor's values."""

    sensor: Id
    """Id of its `[[sensor]]`, which names the format in `decoder`."""
    url: Annotated[str, Field(pattern=r"^https?://[^@\s]+$", max_length=512)]
    """Address that returns the values; without user and password."""
    every_s: Annotated[Number, Field(ge=1, le=3600)] = 5.0
    """Seconds between requests."""
    user: Annotated[str, Field(max_length=64)] = ""
    """User name of HTTP Basic."""
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "Authorization"
    """Header for the secret if there is no user, such as `X-API-KEY`."""
    password_file: FilePath | None = None
    """File with the password, or the value of the header."""
    ca_file: FilePath | None = None
    """Certificate of the device, if it uses HTTPS with a private certificate."""


class IngestConfig(BaseModel, extra="forbid", frozen=True):
    """Formats, topics and HTTP ingest."""

    decoders: Annotated[list[str], Field(max_length=64)] = []
    """Formats to subscribe to; all if empty."""
    topics: Annotated[list[MqttFilter], Field(max_length=64)] = []
    """Additional topics to subscribe to; the staff page lists messages that no format reads."""
    events: Flag = False
    """Accept events detected by other programs (`plumewatch stream --publish`)."""
    http: HttpConfig = HttpConfig()
    """Where sensors without MQTT post."""
    source: Annotated[list[SourceConfig], Field(max_length=1_000)] = []
    """Senders of HTTP ingest."""
    poll: Annotated[list[PollConfig], Field(max_length=1_000)] = []
    """Sensors that are polled over HTTP."""


class RouteConfig(BaseModel, extra="forbid", frozen=True):
    """Topics that one decoder or mapping reads, for formats with a user-defined topic."""

    topic: MqttFilter
    """MQTT topic filter."""
    decoder: str
    """Format that reads it, or `mapping:NAME`."""
