"""`plumewatch export plumes`: minutes around answered incidents, and calm hours, without a place.

Written for a public data set: nothing says which school, room, sensor or day it was. Each piece is
a sensor of its own with a name made of a number, in random order, on a clock that begins at
`ORIGIN`. Kept are the values, their intervals, the model of the sensor, and what people found.
"""

from __future__ import annotations

import csv
import statistics
from typing import TYPE_CHECKING, Final, NamedTuple

from detection.quantities import COLUMNS
from storage.files import atomic_write

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from alerts.incidents.adaptations import Answer
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
LICENSE: Final = """\
License of this data set

The school or district named below owns these measurements of air and publishes them under the
Creative Commons CC0 1.0 Universal dedication: anybody may use them for any purpose, without
warranty.

They contain no name of a school, room, sensor or person, and no date. "vape" and "false_alarm" are
what staff answered, not what was proven.

School or district (may be left empty): ______________________________

Name, office, date, signature: ______________________________________
"""


class Piece(NamedTuple):
    """A span of one sensor; `alerted` is None for a calm hour."""

    sensor: str
    start: float
    end: float
    alerted: float | None
    is_vaping: bool


def pieces(
    answers: Sequence[Answer],
    span: tuple[float, float],
    sensors: Sequence[str],
    rng: random.Random,
    busy: Callable[[str, float, float], bool],
) -> list[Piece]:
    """Choose what is exported, in random order: answered alerts, and as many calm hours.

    No piece overlaps another of its sensor, so the two cannot be joined.
    `busy` says whether a sensor alerted in a span; such an hour is not calm.
    """
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
    _write(folder / "plumes.csv", ("time", "sensor", *KEYS), rows)
    _write(folder / "plumes.truth.csv", _TRUTH, truth)
    _write(folder / "pieces.csv", _INDEX, index)
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


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with atomic_write(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
