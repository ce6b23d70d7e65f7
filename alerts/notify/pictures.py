"""Draw evidence pictures of incidents in time for their notices, or give up.

`NoticePictures.draw_in_time` returns a picture if it is ready by the deadline, or else None.
Drawing runs in one thread with a short queue, and notices of the same incident in the same language
share a picture. The time series may lag behind the detector, so the thread waits up to `settle_s`
for the reading that decided the alert.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from alerts.incidents import repository
from alerts.notify.evidence_picture import EvidenceFacts, draw, find_span
from detection.events import EventPhase
from language.messages import ENGLISH, use_language
from reports import drawing
from storage import sqlite
from storage.registry import format_floor, join_place

if TYPE_CHECKING:
    from pathlib import Path

    from reports.drawing import Drawing
    from storage.registry import Registry
    from storage.timeseries import Series

_LOG: Final = logging.getLogger(__name__)
_QUEUE: Final = 4
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class IncidentPictures:
    """Draws an incident's evidence picture; blocks the calling thread."""

    database: Path
    registry: Registry
    series: Series
    zone: str

    def draw_svg(self, incident_id: str, event: str = "") -> str | None:
        """Return a detection's picture as SVG, by default that of the alert; None if unknown."""
        found = self._draw(incident_id, 0.0, event)
        return None if found is None else drawing.render_svg(found)

    def draw_png(self, incident_id: str, *, settle_s: float = 0.0) -> bytes | None:
        """Return the picture of the latest detection, which a notice's text describes, as PNG.

        Return None if there is no such incident.
        """
        found = self._draw(incident_id, settle_s, None)
        return None if found is None else drawing.render_png(found)

    def _draw(self, incident_id: str, settle_s: float, event: str | None) -> Drawing | None:
        facts = self._load_facts(incident_id, event)
        if facts is None:
            return None
        deadline = time.monotonic() + settle_s
        while time.monotonic() < deadline and not self._has_reached(facts.sensor, facts.alerted):
            time.sleep(_POLL_S)
        return draw(facts, *self.series.read_window(facts.sensor, *find_span(facts)))

    def _has_reached(self, sensor: str, moment: float) -> bool:
        return len(self.series.read_window(sensor, moment - 0.001, moment + 60.0)[0]) > 0

    def _load_facts(self, incident_id: str, event: str | None = "") -> EvidenceFacts | None:
        """Load the data of a detection.

        If `event` is empty, it is the one that opened the incident or made it likely; if None, the
        latest.
        """
        with closing(sqlite.connect(self.database, read_only=True)) as db:
            row = db.execute(
                "SELECT e.*, i.room AS place FROM alert_event e JOIN incident i ON i.id ="
                " e.incident WHERE i.id = ?1 AND (coalesce(?2, '') = '' OR e.id = ?2)"
                " ORDER BY e.kind <> i.kind, iif(?2 IS NULL, -e.alerted, e.alerted), e.id LIMIT 1",
                (incident_id, event),
            ).fetchone()
        if row is None:
            return None
        room = self.registry.rooms.get(row["place"])
        over = row["phase"] == EventPhase.ENDED.value
        last = row["end"] if row["end"] is not None else row["last_heard"]
        return EvidenceFacts(
            kind=row["kind"],
            room=room.name if room else row["place"],
            place=join_place(format_floor(room.floor), room.building) if room else "",
            site=room.shown_site if room else "",
            sensor=row["sensor"],
            onset=row["onset"],
            alerted=row["alerted"],
            end=last if over else None,
            until=last,
            sentence=repository.write_sentence(row, "decided_"),
            zone=(room.zone if room else "") or self.zone,
            baselines={key: float(v[0]) for key, v in json.loads(row["decided_evidence"]).items()},
        )


class NoticePictures:
    """Draws pictures for notices within `within_s` seconds, or gives up."""

    def __init__(
        self, source: IncidentPictures, *, within_s: float = 0.5, settle_s: float = 0.2
    ) -> None:
        self._source = source
        self._within_s = within_s
        self._settle_s = settle_s
        self._thread: ThreadPoolExecutor | None = None
        self._making: dict[tuple[str, str], asyncio.Future[bytes | None]] = {}

    def open(self) -> None:
        """Start the drawing thread and import the drawing library there."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="plumewatch-picture")
        self._thread.submit(drawing.warm_up)

    def close(self) -> None:
        """Stop accepting work and abandon a picture in progress."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    async def draw_in_time(self, incident_id: str, code: str = ENGLISH) -> bytes | None:
        """Return an incident's PNG in a language, or None if not ready in time; never raise."""
        key = incident_id, code
        making = self._making.get(key)
        if making is None:
            if self._thread is None or len(self._making) >= _QUEUE:
                return None
            loop = asyncio.get_running_loop()
            making = loop.run_in_executor(self._thread, self._draw, *key)
            self._making[key] = making
            making.add_done_callback(lambda _: self._making.pop(key, None))
        try:
            async with asyncio.timeout(self._within_s):
                return await asyncio.shield(making)
        except TimeoutError:
            return None

    def _draw(self, incident_id: str, code: str) -> bytes | None:
        try:
            with use_language(code):
                return self._source.draw_png(incident_id, settle_s=self._settle_s)
        except Exception as error:  # noqa: BLE001 - the notice must go out even if drawing fails
            _LOG.warning("no picture of incident %s: %s", incident_id, type(error).__name__)
            return None
