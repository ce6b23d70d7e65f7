"""Compare detections with the truth of a simulated school."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from typing import Final

from language.messages import ngettext
from language.plain_text import pluralize
from sensor_sim.trace import Truth

_COLUMNS: Final = [field.name for field in fields(Truth)]
_EARLY_S: Final = 60.0
_LATE_S: Final = 240.0
"""An alert matches a session from `_EARLY_S` before its start to `_LATE_S` after its end."""
_DECIDED_S: Final = 600.0
"""Wait before judging an alert, in seconds, because sessions are reported when they end."""


@dataclass(frozen=True, slots=True)
class _Session:
    room: str
    start: float
    end: float

    def explains(self, room: str, onset: float) -> bool:
        return room == self.room and self.start - _EARLY_S <= onset <= self.end + _LATE_S


class TruthScore:
    """Counts the vaping sessions that the detector found, and its false alarms."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._ends: dict[str, float] = {}
        self._alerts: list[tuple[str, float]] = []

    def add_line(self, line: str) -> None:
        """Add a row of the simulator's truth; rows for other kinds of events are ignored."""
        values = next(csv.reader([line]), [])
        if len(values) != len(_COLUMNS):
            return
        row = dict(zip(_COLUMNS, values, strict=True))
        if row["kind"] == "vape":
            self._ends[row["session"]] = float(row["end"])
        if row["kind"] == "vape" and row["arrival"] != "nan":
            session = _Session(row["room"], float(row["start"]), float(row["end"]))
            self._sessions.setdefault(row["session"], session)

    def add_alert(self, room: str, onset: float) -> None:
        """Add an alert of the detector."""
        self._alerts.append((room, onset))

    def is_explained(self, room: str, onset: float) -> bool:
        """Return whether a finished session matches an alert."""
        return any(session.explains(room, onset) for session in self._sessions.values())

    def explain(self, rooms: int, now: float) -> str:
        """Describe how many sessions a sensor could see; empty before the first one is over."""
        everywhere = sum(end + _LATE_S <= now for end in self._ends.values())
        reached = sum(s.end + _LATE_S <= now for s in self._sessions.values())
        if not everywhere:
            return ""
        return (
            f"Of {pluralize(everywhere, 'vaping session')} in {rooms} rooms so far, {reached}"
            " could be seen by a sensor; 'found' counts those that caused an alert."
        )

    def describe(self, now: float) -> str:
        """Describe how many finished sessions were found, and how many alerts were false."""
        over = [s for s in self._sessions.values() if s.end + _LATE_S <= now]
        found = sum(any(s.explains(*alert) for alert in self._alerts) for s in over)
        false = sum(
            not self.is_explained(room, onset)
            for room, onset in self._alerts
            if onset + _DECIDED_S <= now
        )
        return ngettext(
            "found %(found)s of %(all)s finished vaping sessions that reached a sensor,"
            " 1 false alarm",
            "found %(found)s of %(all)s finished vaping sessions that reached a sensor,"
            " %(n)s false alarms",
            false,
            found=found,
            all=len(over),
        )
