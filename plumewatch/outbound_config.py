"""The sections of the configuration for other systems in the building."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from detection.events import EventKind  # noqa: TC001 - pydantic reads it

__all__ = ["CapConfig", "MqttOutConfig", "OutboundConfig", "WebhookConfig"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MqttOutConfig(_Section):
    """Room states on the broker that readings come from."""

    enabled: bool = False
    home_assistant: Annotated[str, Field(pattern=r"^[A-Za-z0-9_/-]{0,64}$")] = "homeassistant"


class WebhookConfig(_Section):
    """One system that is told of incidents by signed messages."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")]
    url_file: Path | None = None
    url_env: str = ""
    secret_file: Path | None = None
    secret_env: str = ""
    kinds: Annotated[list[EventKind], Field(max_length=20)] = []


class CapConfig(_Section):
    """Who may fetch incidents as CAP messages, and in whose name they are."""

    sender: Annotated[str, Field(pattern=r"^[^\s,<&]{1,120}$")] = "plumewatch"
    token_file: Path | None = None
    token_env: str = ""


class OutboundConfig(_Section):
    """What goes out to the building."""

    mqtt: MqttOutConfig = MqttOutConfig()
    webhook: Annotated[list[WebhookConfig], Field(max_length=32)] = []
    cap: CapConfig = CapConfig()
