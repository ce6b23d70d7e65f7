"""*Room*: what happened here, and on what evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import AnnotationQuery

from dashboards import panels, queries
from dashboards.frame import ROOM_UID, frame, incident_link
from dashboards.lines import dashed
from detection.quantities import QUANTITIES
from storage.timeseries.records import CLASSES

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import table, timeseries
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings

_CHANNELS: Final = (
    ("Particles", ("pm1", "pm25", "pm4", "pm10"), "pm25"),
    ("Particle counts", ("n03", "n05", "n10", "n25", "n50", "n100"), "n03"),
    ("VOC and NOx index", ("voc_index", "nox_index"), "voc_index"),
    ("TVOC, ppb", ("tvoc_ppb",), "tvoc_ppb"),
    ("TVOC, µg/m³", ("tvoc_ugm3",), "tvoc_ugm3"),
    ("VOC raw signal", ("voc_raw",), "voc_raw"),
    ("Humidity", ("rh",), "rh"),
    ("Temperature", ("temp",), "temp"),
    ("CO2", ("co2",), "co2"),
    ("CO", ("co",), "co"),
    ("Air pressure", ("pressure",), "pressure"),
    ("Light", ("light",), "light"),
)
_NOT_FROM_ZERO: Final = frozenset({"temp", "pressure", "voc_raw"})
_GAP_MS: Final = 90_000
"""Longer without a probability, the air was at its baseline: no line bridges it."""
_MARKS: Final = (
    ("Vaping, smoke", ("vape", "smoke"), panels.VERMILLION),
    ("Tampering, faults", ("tamper", "sensor_fault"), panels.ORANGE),
    ("Other air", ("spray", "steam", "voc", "dust"), panels.BLUE),
)


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    probabilities = panels.chart(
        "Class probabilities",
        "Of the detector while something is in the air; they sum to 1. Nothing while the air is at"
        " its baseline.",
        queries.over_time(
            {kind: f'mean("{kind}")' for kind in CLASSES}, queries.DETECTION, fill="null"
        ),
        unit="percentunit",
        colors=panels.KIND_COLORS,
        empty="air at its baseline in this time",
        least="20s",
        low=0,
        high=1,
        gap_ms=_GAP_MS,
    )
    score = panels.chart(
        "Log-odds of vaping",
        "Compared with the alert threshold of the sensor; an alert needs it to stay above.",
        queries.over_time('max("score")', queries.DETECTION, "sensor", fill="null"),
        counted="log-odds",
        empty="air at its baseline in this time",
        least="20s",
        gap_ms=_GAP_MS,
    )
    made = frame(
        settings,
        ROOM_UID,
        "Plumewatch: room",
        "All channels of a room around a time, what was detected, and the evidence.",
        [
            ("Detections", [dashed(probabilities, CLASSES), score, _events(settings)]),
            ("Air", [_channel(*channel) for channel in _CHANNELS]),
        ],
        since="now-1h",
        refresh="30s",
        one_room=True,
    )
    for name, kinds, color in _MARKS:
        which = " OR ".join(f"\"kind\" = '{kind}'" for kind in kinds)
        fields = '"sentence", "kind", "end" * 1000 AS "until"'
        query = queries.select(fields, queries.EVENT, f"{queries.IN_TIME} AND ({which})")
        made.annotation(_DetectionMarks(name, query, color))
    return made


def _channel(title: str, keys: tuple[str, ...], unit: str) -> timeseries.Panel:
    labels = {QUANTITIES[key].label: f'mean("{key}")' for key in keys}
    several = len(keys) > 1
    panel = panels.chart(
        title,
        f"{', '.join(labels)}, mean of each interval, by sensor.",
        queries.over_time(
            labels, queries.READINGS, "sensor", alias="$tag_sensor $col" if several else ""
        ),
        unit=panels.unit_of(unit),
        counted=QUANTITIES[unit].unit or "index",
        empty="no sensor here reports this, or none did in this time",
        least="5s",
        low=None if unit in _NOT_FROM_ZERO else 0,
        width=8,
        height=7,
    )
    return dashed(panel, labels) if several else panel


def _events(settings: DashboardSettings) -> table.Panel:
    link = incident_link(settings)
    return panels.grid(
        "Events and their evidence",
        "What the detectors reported, newest first: how far and how fast each channel rose above"
        " its baseline. Click an incident for its page, with all of the evidence.",
        queries.listed(
            ("kind", "sensor", "confidence", "duration_s", "sentence", "incident"), queries.EVENT
        ),
        columns=[
            panels.Column("Time", 170),
            panels.Column("kind", 100),
            panels.Column("sensor", 140),
            panels.Column("confidence", 100, unit="percentunit", decimals=0),
            panels.Column("duration_s", 100, title="duration", unit="s", decimals=0),
            panels.Column("incident", 130 if link else None, link=link),
            panels.Column("sentence", wraps=True),
        ],
        empty="no event in this time",
        height=9,
    )


class _DetectionMarks(Builder[AnnotationQuery], AnnotationQuery):
    """Detections of some kinds in the charts; people can hide them.

    The InfluxQL returns ``sentence``, ``kind`` and ``until``, the end in milliseconds.
    """

    def __init__(self, name: str, query: str, color: str) -> None:
        super().__init__(name=name, datasource=queries.DATA_SOURCE, icon_color=color, enable=True)
        self.query = query

    def build(self) -> AnnotationQuery:
        """Return itself."""
        return self

    def to_json(self) -> dict[str, object]:
        """Return it with the keys that the data source needs and the SDK does not know."""
        return {
            **super().to_json(),
            "query": self.query,
            "rawQuery": True,
            "titleColumn": "kind",
            "textColumn": "sentence",
            "tagsColumn": "kind",
            "timeEndColumn": "until",
        }
