"""The MQTT broker."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from plumewatch.config.sections.common import FilePath, Id, Port


class BrokerConfig(BaseModel, extra="forbid", frozen=True):
    """The MQTT broker."""

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    """Name or address."""
    port: Port = 1883
    """TCP port; with TLS usually 8883."""
    client_id: Id = "plumewatch"
    """Names the persistent session: one service an id."""
    username: str = ""
    """Account of the service at the broker; without it none is sent."""
    password_file: FilePath | None = None
    """File with its password."""
    password_env: str = ""
    """Environment variable with its password instead."""
    tls: bool = False
    """Whether to speak TLS."""
    ca_file: FilePath | None = None
    """Certificates to trust instead of the system's."""
    config_file: FilePath | None = None
    """Configuration of a Mosquitto on this machine, for `plumewatch check` to read."""
    canary: bool = True
    """Whether to publish and await a message of its own every 10 s; false for brokers that
    disconnect who publishes without a right."""
    max_queued_messages: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000_000
    """What the broker keeps for the service at most, as its own configuration says; a warning
    comes before it is full."""

    @property
    def session(self) -> str:
        """Name of its session at the broker."""
        return f"{self.client_id}@{self.host}:{self.port}"
