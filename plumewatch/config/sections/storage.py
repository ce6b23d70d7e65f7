"""Journal, time series and retention."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from plumewatch.config.sections.common import FilePath


class JournalConfig(BaseModel, extra="forbid", frozen=True):
    """How much of the accepted readings the journal keeps; the series keeps them anyway."""

    keep_days: Annotated[float, Field(ge=1, le=366)] = 7.0
    """Readings are kept so long, and until all have read them."""
    max_mb: Annotated[float, Field(ge=100, le=10_000_000)] = 8_000.0
    """Beyond it the oldest go, also those that a database which is down has not read."""


class TimeseriesConfig(BaseModel, extra="forbid", frozen=True):
    """Where readings are stored for good: an InfluxDB, or without a URL the embedded SQLite."""

    url: Annotated[str, Field(pattern=r"^(https?://[^\s/@?#]+/?)?$")] = ""
    """An InfluxDB 1.x, 2.x or 3; the embedded store without it."""
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "plumewatch"
    """Its database, or bucket of 2.x."""
    org: Annotated[str, Field(max_length=80)] = ""
    """Organization of 2.x."""
    username: Annotated[str, Field(max_length=80)] = ""
    """Account of 1.x; the token is then its password."""
    token_file: FilePath | None = None
    """File with the token or password."""
    token_env: str = ""
    """Environment variable with it instead."""
    ca_file: FilePath | None = None
    """Certificates to trust instead of the system's."""
    raw_days: Annotated[int, Field(ge=2, le=36_500)] = 30
    """Readings are kept so long; at least `journal.keep_days`."""
    minute_days: Annotated[int, Field(ge=2, le=36_500)] = 730
    """Averages of a minute are kept so long; at least `raw_days`."""
    quarter_hour_days: Annotated[int, Field(ge=2, le=36_500)] = 1_826
    """Averages of a quarter of an hour, and events, are kept so long; at least `minute_days`."""


class RetentionConfig(BaseModel, extra="forbid", frozen=True):
    """How long incidents are kept, with notices and answers; readings: see `timeseries`."""

    incident_days: Annotated[int, Field(ge=30, le=36_500)] = 1_826
    """Older incidents are deleted by `plumewatch retention apply`."""
