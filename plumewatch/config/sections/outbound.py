"""The sections of the configuration for other systems in the building."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from detection.events import EventKind
from plumewatch.config.sections.common import FilePath, Url


class MqttOutConfig(BaseModel, extra="forbid", frozen=True):
    """Room states on the broker that readings come from."""

    enabled: bool = False
    """Whether states of rooms are published."""
    home_assistant: Annotated[str, Field(pattern=r"^[A-Za-z0-9_/-]{0,64}$")] = "homeassistant"
    """Prefix of Home Assistant's discovery; empty for none."""


class WebhookConfig(BaseModel, extra="forbid", frozen=True):
    """One system that is told of incidents by signed messages."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")]
    """Names it in logs."""
    url_file: FilePath | None = None
    """File with its address."""
    url_env: str = ""
    """Environment variable with it instead."""
    secret_file: FilePath | None = None
    """File with the secret that signs, `whsec_` and base64 of 24 to 64 bytes."""
    secret_env: str = ""
    """Environment variable with it instead."""
    kinds: Annotated[list[EventKind], Field(max_length=20)] = []
    """Kinds of incidents it hears of; all that staff are told of if empty."""


class CapConfig(BaseModel, extra="forbid", frozen=True):
    """Who may fetch incidents as CAP messages, and in whose name they are."""

    sender: Annotated[str, Field(pattern=r"^[^\s,<&]{1,120}$")] = "plumewatch"
    """Identifies the sender, unique in the world."""
    token_file: FilePath | None = None
    """File with the bearer token of whoever fetches them."""
    token_env: str = ""
    """Environment variable with it instead."""


class GrafanaConfig(BaseModel, extra="forbid", frozen=True):
    """The Grafana that incidents are written into as annotations."""

    url: Url = ""
    """Its address as this machine reaches it; `web.grafana_url` if empty."""
    token_file: FilePath | None = None
    """File with the token of a service account, role Editor; without one nothing is written."""
    token_env: str = ""
    """Environment variable with it instead."""


class OutboundConfig(BaseModel, extra="forbid", frozen=True):
    """What goes out to the building."""

    mqtt: MqttOutConfig = MqttOutConfig()
    """States of rooms over MQTT."""
    webhook: Annotated[list[WebhookConfig], Field(max_length=32)] = []
    """Systems that are told by signed messages."""
    grafana: GrafanaConfig = GrafanaConfig()
    """Incidents as annotations, written by the service itself."""
    cap: CapConfig = CapConfig()
    """Messages of the Common Alerting Protocol."""
