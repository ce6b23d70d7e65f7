"""Metrics, and the watchdog outside the site."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from plumewatch.config.sections.common import FilePath


class MetricsConfig(BaseModel, extra="forbid", frozen=True):
    """Who may read the numbers beside this machine itself."""

    token_file: FilePath | None = None
    """File with the bearer token of whoever scrapes from elsewhere."""
    token_env: str = ""
    """Environment variable with it instead."""


class WatchdogConfig(BaseModel, extra="forbid", frozen=True):
    """An address outside that misses us when we are gone."""

    ping_url_file: FilePath | None = None
    """File with the address to ping while every part works."""
    ping_url_env: str = ""
    """Environment variable with it instead."""
    ping_every_s: Annotated[float, Field(ge=10, le=3600)] = 60.0
    """Seconds between pings."""
