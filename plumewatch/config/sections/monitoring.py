"""Metrics, and the watchdog outside the site."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from plumewatch.config.sections.common import FilePath


class MetricsConfig(BaseModel, extra="forbid", frozen=True):
    """Who may read `/metrics` from other machines."""

    token_file: FilePath | None = None
    """File with the bearer token for scraping from other machines."""
    token_env: str = ""
    """Environment variable to read it from instead."""


class WatchdogConfig(BaseModel, extra="forbid", frozen=True):
    """An external service that alerts when the pings stop."""

    ping_url_file: FilePath | None = None
    """File with the address to ping while all parts work."""
    ping_url_env: str = ""
    """Environment variable to read it from instead."""
    ping_every_s: Annotated[float, Field(ge=10, le=3600)] = 60.0
    """Seconds between pings."""
