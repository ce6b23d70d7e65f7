"""The MQTT broker."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from plumewatch.config.sections.common import FilePath, Flag, Port, Whole


class BrokerConfig(BaseModel, extra="forbid", frozen=True):
    """The MQTT broker."""

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    """Host name or address."""
    port: Port = 1883
    """TCP port; usually 8883 with TLS."""
    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{0,64}$")] = ""
    """Client id of the persistent session, for a broker that permits only certain ids; empty
    for a random one, which is kept in the data folder. Never give two services the same id."""
    username: str = ""
    """Account of the service at the broker; empty for none."""
    password_file: FilePath | None = None
    """File with the password."""
    tls: Flag = False
    """Connect with TLS."""
    ca_file: FilePath | None = None
    """Certificates to trust instead of the system's."""
    canary: Flag = True
    """Publish and await a test message every 10 s; set to false if the broker disconnects clients
    that publish without permission."""
    max_queued_messages: Annotated[Whole, Field(ge=1, le=1_000_000_000)] = 1_000_000
    """The queue limit for the service, as configured at the broker; you are warned before the
    queue is full."""
