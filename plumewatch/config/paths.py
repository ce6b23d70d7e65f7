"""Where the service keeps its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataPaths:
    """Files below the data folder."""

    root: Path

    @property
    def journal(self) -> Path:
        """Accepted readings and dead letters."""
        return self.root / "journal.db"

    @property
    def state(self) -> Path:
        """Detector snapshots, incidents, outbox."""
        return self.root / "state.db"

    @property
    def series(self) -> Path:
        """Embedded time series."""
        return self.root / "series.db"

    @property
    def influx(self) -> Path:
        """How far the journal is written into an InfluxDB."""
        return self.root / "influx.db"

    @property
    def subscriptions(self) -> Path:
        """Topics that the broker's session is subscribed to."""
        return self.root / "subscriptions.json"

    @property
    def reports(self) -> Path:
        """Reports that people asked for on the staff page, for an hour."""
        return self.root / "reports"

    @property
    def lock(self) -> Path:
        """Held by the one service that may write here."""
        return self.root / "service.lock"
