"""The files of the data folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class DataPaths:
    """Files in the data folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.journal = root / "journal.db"  # accepted readings and dead letters
        self.state = root / "state.db"  # detector snapshots, incidents, outbox
        self.series = root / "series.db"  # embedded time series
        self.influx = root / "influx.db"  # cursor of the InfluxDB writer
        self.reserved = root / "reserved"  # space for a start on a full disk
        self.client_id = root / "client-id"  # client id of the broker's session, unless configured
        self.subscriptions = root / "subscriptions.json"  # topics of the broker's session
        self.event_subscriptions = root / "event-subscriptions.json"  # topics of the event session
        self.reports = root / "reports"  # reports of the staff page, kept for an hour
        self.config_history = root / "config-history"  # versions replaced by changes on the page
        self.push_key = root / "web-push.pem"  # key that signs data given to browsers
        self.demo = root / "demo"  # marks the folder of a demo, with its own broker and phones
        self.lock = root / "service.lock"  # held by the one service that can write here
