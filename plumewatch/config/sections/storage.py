"""Journal, time series and retention."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from plumewatch.config.sections.common import FilePath, Number, Whole


class JournalConfig(BaseModel, extra="forbid", frozen=True):
    """How long the journal keeps accepted readings, independently of the time series."""

    keep_days: Annotated[Number, Field(ge=1, le=366)] = 7.0
    """Days to keep readings. Readings that a consumer has not read yet are kept longer."""
    max_mb: Annotated[Number, Field(ge=100, le=10_000_000)] = 8_000.0
    """Size limit; beyond it, the oldest readings are deleted, even if they are not in the time
    series yet."""


class TimeseriesConfig(BaseModel, extra="forbid", frozen=True):
    """Where readings are stored: InfluxDB, or the embedded SQLite if there is no URL."""

    url: Annotated[str, Field(pattern=r"^(https?://[^\s/@?#]+/?)?$")] = ""
    """Address of an InfluxDB 1.x, 2.x or 3; empty for the embedded SQLite."""
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "plumewatch"
    """Database, or bucket in 2.x."""
    org: Annotated[str, Field(max_length=80)] = ""
    """Organization in 2.x."""
    username: Annotated[str, Field(max_length=80)] = ""
    """Account in 1.x; `token_file` then contains its password."""
    token_file: FilePath | None = None
    """File with the token or password."""
    ca_file: FilePath | None = None
    """Certificates to trust instead of the system's."""
    raw_days: Annotated[Whole, Field(ge=2, le=36_500)] = 30
    """Days to keep readings; at least `journal.keep_days`."""
    minute_days: Annotated[Whole, Field(ge=2, le=36_500)] = 730
    """Days to keep 1-minute averages; at least `raw_days`."""
    quarter_hour_days: Annotated[Whole, Field(ge=2, le=36_500)] = 1_826
    """Days to keep 15-minute averages and records, such as events; at least `minute_days`."""


class RetentionConfig(BaseModel, extra="forbid", frozen=True):
    """How long incidents are kept, with notices and responses. For readings, see `timeseries`."""

    incident_days: Annotated[Whole, Field(ge=30, le=36_500)] = 1_826
    """Age in days from which `plumewatch retention --apply` deletes incidents."""
