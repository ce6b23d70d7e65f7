"""`plumewatch export plumes`: minutes around answered incidents, and calm hours, without a place.

Nothing says which school, room, sensor or day it was. Each piece is a sensor of its own with a name
made of a number, in random order, on a clock that begins at `ORIGIN`.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from alerts.incidents.incident import Verdict
from detection.events import EventKind
from detection.quantities import COLUMNS
from storage.files import atomic_write, write_csv

if TYPE_CHECKING:
    import random
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from storage.reading import Reading
    from storage.timeseries import Series

ORIGIN: Final = 1_600_000_000.0
"""First second of every piece; it means nothing."""
BEFORE_S: Final = 1_800.0
AFTER_S: Final = 600.0
CALM_S: Final = 3_600.0
_ONSET_S: Final = 90.0
"""A confirmed puff is taken to have begun so long before its alert, at most."""
_LEFT_OUT: Final = frozenset({"rssi", "battery", "light", "pressure"})
"""Not of the air, or of the place and the weather."""
KEYS: Final = tuple(key for key in COLUMNS if key not in _LEFT_OUT)
_TRUTH: Final = (
    *("sensor", "kind", "device", "dt", "onset", "end", "arrive"),
    *("seen_pm25", "base_pm25"),
)
_INDEX: Final = ("sensor", "piece", "verdict", "model", "interval_s")
LICENSE: Final = Path(__file__).with_name("plumes_license.txt").read_text(encoding="utf-8")


class Answer(NamedTuple):
    """What people found where a sensor alerted at `alerted`, Unix seconds."""

    sensor: str
    alerted: float
    is_vaping: bool


class Piece(NamedTuple):
    """A span of one sensor; `alerted` is None for a calm hour."""

    sensor: str
    start: float
    end: float
    alerted: float | None
    is_vaping: bool


def answers(state: sqlite3.Connection, start: float, end: float) -> list[Answer]:
    """Return the alerts of ``[start, end)`` answered right or false, in order, as last answered."""
    rows = state.execute(
        "SELECT e.sensor, min(e.alerted) AS alerted, f.verdict FROM incident i"
        " JOIN alert_event e ON e.incident = i.id AND e.sensor = i.sensor AND e.kind = i.kind"
        " JOIN incident_feedback f ON f.incident = i.id AND f.seq ="
        " (SELECT max(seq) FROM incident_feedback WHERE incident = i.id)"
        " WHERE i.kind = ? AND f.verdict IN (?, ?) AND f.cause <> 'sensor'"
        " AND e.model_version NOT LIKE 'device-%' AND e.alerted >= ? AND e.alerted < ?"
        " GROUP BY i.id ORDER BY alerted, i.id",
        (EventKind.VAPE.value, Verdict.CONFIRMED.value, Verdict.FALSE_ALARM.value, start, end),
    )
    return [
        Answer(row["sensor"], row["alerted"], row["verdict"] == Verdict.CONFIRMED.value)
        for row in rows
    ]


def pieces(
    answers: Sequence[Answer],
    span: tuple[float, float],
    sensors: Sequence[str],
    rng: random.Random,
    busy: Callable[[str, float, float], bool],
) -> list[Piece]:
    """Choose what is exported: answered alerts and calm hours, not `busy`, none overlapping."""
    found: list[Piece] = []
    for a in sorted(answers, key=lambda a: a.alerted):
        piece = Piece(a.sensor, a.alerted - BEFORE_S, a.alerted + AFTER_S, a.alerted, a.is_vaping)
        if not _overlaps(piece, found):
            found.append(piece)
    calm: list[Piece] = []
    first, last = span
    for _ in range(20 * len(found)):
        if len(calm) == len(found) or last - first <= CALM_S or not sensors:
            break
        start = rng.uniform(first, last - CALM_S)
        sensor = rng.choice(sensors)
        piece = Piece(sensor, start, start + CALM_S, None, is_vaping=False)
        if not busy(sensor, start - BEFORE_S, start + CALM_S + BEFORE_S) and not _overlaps(
            piece, [*found, *calm]
        ):
            calm.append(piece)
    found += calm
    rng.shuffle(found)
    return found


def _overlaps(piece: Piece, chosen: Sequence[Piece]) -> bool:
    return any(
        piece.sensor == other.sensor and piece.start < other.end and other.start < piece.end
        for other in chosen
    )


def export_plumes(
    series: Series,
    chosen: Sequence[Piece],
    models: Mapping[str, tuple[str, float]],
    folder: Path,
) -> int:
    """Write the pieces to a folder; return how many have readings.

    `models` has model and interval by sensor. ``plumes.csv`` is a recording for `plumewatch
    replay`, ``plumes.truth.csv`` its labels, ``pieces.csv`` names verdict, model and interval.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[list[object]] = []
    truth: list[list[object]] = []
    index: list[list[object]] = []
    for piece in chosen:
        readings = series.between(piece.start, piece.end, (piece.sensor,))
        if not readings:
            continue
        name = f"p{len(index) + 1:05d}"
        model, interval_s = models.get(piece.sensor, ("", 0.0))
        shift = ORIGIN - piece.start
        rows += [_row(name, reading, shift) for reading in readings]
        verdict = "calm" if piece.alerted is None else "vape" if piece.is_vaping else "false_alarm"
        what = "hour" if piece.alerted is None else "alert"
        index.append([name, what, verdict, model, interval_s])
        if piece.is_vaping and piece.alerted is not None:
            onset, end = piece.alerted - _ONSET_S, piece.alerted + _ONSET_S
            moments = [round(at + shift, 3) for at in (onset, end, onset)]
            truth.append(
                [name, "vape", model, interval_s, *moments, *_excess(readings, onset, end)]
            )
    rows.sort(key=lambda row: (row[0], row[1]))
    write_csv(folder / "plumes.csv", ("time", "sensor", *KEYS), rows)
    write_csv(folder / "plumes.truth.csv", _TRUTH, truth)
    write_csv(folder / "pieces.csv", _INDEX, index)
    with atomic_write(folder / "LICENSE.txt") as draft:
        draft.write_text(LICENSE, encoding="utf-8")
    return len(index)


def _excess(readings: Sequence[Reading], onset: float, end: float) -> tuple[float, float]:
    """Return how far PM2.5 rose in a span above the median before it, and that median, µg/m³."""
    values = [(r.time, r.values["pm25"]) for r in readings if "pm25" in r.values]
    before = [value for time, value in values if time < onset]
    during = [value for time, value in values if onset <= time <= end]
    if not before or not during:
        return 0.0, 0.0
    base = statistics.median(before)
    return round(max(during) - base, 1), round(base, 1)


def _row(name: str, reading: Reading, shift: float) -> list[object]:
    values = [reading.values.get(key, "") for key in KEYS]
    return [round(reading.time + shift, 3), name, *values]
