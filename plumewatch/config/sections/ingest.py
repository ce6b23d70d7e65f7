"""Formats, topics, and HTTP ingest."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from ingest.mapping.topics import mqtt_filter
from plumewatch.config.sections.common import FilePath, Id, Port

MqttFilter = Annotated[str, AfterValidator(mqtt_filter)]


class HttpConfig(BaseModel, extra="forbid", frozen=True):
    """Where HTTP ingest listens, if there is a source."""

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    """Address to listen on; with the default only this machine reaches it."""
    port: Port = 8421
    """TCP port."""
    cert_file: FilePath | None = None
    """Certificate for https, with its chain; without it http is spoken."""
    key_file: FilePath | None = None
    """Its key."""


class SourceConfig(BaseModel, extra="forbid", frozen=True):
    """One sender at HTTP ingest; its secrets are in files or environment variables."""

    name: Id
    """User name of HTTP Basic; appears in logs and dead letters."""
    decoder: Annotated[str, Field(min_length=1, max_length=64)]
    """Format, or `mapping:NAME`; it posts to `/ingest/DECODER`."""
    token_file: FilePath | None = None
    """File with its token, 16 characters or more."""
    token_env: str = ""
    """Environment variable with it instead."""
    signature_file: FilePath | None = None
    """File with the shared secret of Verkada's webhook."""
    signature_env: str = ""
    """Environment variable with it instead."""
    sensors: Annotated[list[Id], Field(max_length=10_000)] = []
    """Ids that it may speak for; if empty, the sensors of its decoder."""
    rate_per_s: Annotated[float, Field(ge=0.1, le=10_000)] = 50.0
    """Messages a second over time; twice as many at once."""


class IngestConfig(BaseModel, extra="forbid", frozen=True):
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


class RouteConfig(BaseModel, extra="forbid", frozen=True):
    """Topics that one decoder or mapping reads, for formats whose topic the user chooses."""

    topic: MqttFilter
    """MQTT topic filter."""
    decoder: str
    """Format that reads it, or `mapping:NAME`."""
