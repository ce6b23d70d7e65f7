"""*Room*: what happened here, and on what evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import AnnotationQuery

from dashboards.frame import ROOM_UID, frame
from dashboards.lines import dashed
from dashboards.panels import (
    BLUE,
    KIND_COLOURS,
    ORANGE,
    VERMILLION,
    chart,
    coloured,
    column,
    grid,
    link,
    only,
    transformed,
    unit_of,
)
from dashboards.queries import DATA_SOURCE, DETECTION, EVENT, IN_TIME, READINGS, InfluxQl
from detection.quantities import QUANTITIES
from storage.timeseries.records import CLASSES

if TYPE_CHECKING:
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
_CALM_MS: Final = 90_000
"""Without a probability for so long the air was calm: nothing is drawn across."""


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    channels = [_channel(*channel) for channel in _CHANNELS]
    chances = ", ".join(f'mean("{kind}") AS "{kind}"' for kind in CLASSES)
    probabilities = coloured(
        chart(
            "What the detector took it for",
            "Class probabilities while something is in the air; they sum to 1. Nothing where the"
            " air is calm.",
            InfluxQl(
                f"SELECT {chances} FROM {DETECTION} WHERE {IN_TIME}"
                " GROUP BY time($__interval) fill(null)",
                alias="$col",
            ),
            unit="percentunit",
            empty="calm in this time",
            least="20s",
            low=0,
            high=1,
        ),
        KIND_COLOURS,
    )
    dashed(probabilities, CLASSES).span_nulls(_CALM_MS)
    score = chart(
        "Log-odds of vaping",
        "What is compared with the level of the sensor; an alert needs it to stay above.",
        InfluxQl(
            f'SELECT max("score") FROM {DETECTION} WHERE {IN_TIME}'
            ' GROUP BY time($__interval), "sensor" fill(null)',
            alias="$tag_sensor",
        ),
        empty="calm in this time",
        least="20s",
    )
    score.span_nulls(_CALM_MS)
    made = frame(
        settings,
        ROOM_UID,
        "Plumewatch: room",
        "All channels of a room around a time, what was detected, and the evidence.",
        [("Detections", [probabilities, score, _events(settings)]), ("Air", channels)],
        since="now-1h",
        refresh="30s",
        one_room=True,
    )
    marks = (
        ("Vaping, smoke", "\"kind\" = 'vape' OR \"kind\" = 'smoke'", VERMILLION),
        ("Tampering, faults", "\"kind\" = 'tamper' OR \"kind\" = 'sensor_fault'", ORANGE),
        (
            "Other air",
            " OR ".join(f"\"kind\" = '{kind}'" for kind in ("spray", "steam", "voc", "dust")),
            BLUE,
        ),
    )
    for name, kinds, colour in marks:
        made.annotation(
            _DetectionMarks(
                name,
                'SELECT "sentence", "kind", "end" * 1000 AS "until"'
                f" FROM {EVENT} WHERE {IN_TIME} AND ({kinds})",
                colour,
            )
        )
    return made


def _channel(title: str, keys: tuple[str, ...], unit: str) -> object:
    chosen = ", ".join(f'mean("{key}") AS "{QUANTITIES[key].label}"' for key in keys)
    several = len(keys) > 1
    panel = chart(
        title,
        f"{', '.join(QUANTITIES[key].label for key in keys)}, mean of each interval, by sensor.",
        InfluxQl(
            f"SELECT {chosen} FROM {READINGS} WHERE {IN_TIME}"
            ' GROUP BY time($__interval), "sensor" fill(none)',
            alias="$tag_sensor $col" if several else "$tag_sensor",
        ),
        unit=unit_of(unit),
        empty="no sensor here reports this, or none did in this time",
        least="5s",
        low=None if unit in _NOT_FROM_ZERO else 0,
        width=8,
        height=7,
    )
    return dashed(panel, [QUANTITIES[key].label for key in keys]) if several else panel


def _events(settings: DashboardSettings) -> object:
    panel = grid(
        "Events and their evidence",
        "What the detectors said, newest first: how far which channel rose above what it was"
        " before, and how fast. Click an incident for its page, with all of the evidence.",
        InfluxQl(
            'SELECT "kind", "sensor", "confidence", "duration_s", "sentence",'
            f' "incident" FROM {EVENT} WHERE {IN_TIME} ORDER BY time DESC',
            table=True,
        ),
        empty="nothing was detected in this time",
        height=9,
    )
    transformed(
        panel,
        *only(
            "Time",
            "kind",
            "sensor",
            "confidence",
            "duration_s",
            "incident",
            "sentence",
            renamed={"duration_s": "duration"},
        ),
    )
    column(panel, "confidence", unit="percentunit", decimals=0, wide=100)
    column(panel, "duration", unit="s", decimals=0, wide=100)
    column(panel, "Time", wide=170)
    column(panel, "kind", wide=100)
    column(panel, "sensor", wide=120)
    column(panel, "sentence", wrapped=True)
    if settings.page_url:
        column(
            panel,
            "incident",
            wide=130,
            leads_to=link("Incident", "${staff_page}/incidents/${__value.raw:percentencode}"),
        )
    return panel


class _DetectionMarks(Builder[AnnotationQuery], AnnotationQuery):
    """Detections of some kinds in the charts, read by the data source; people can hide them.

    `question` is InfluxQL with ``sentence``, ``kind`` and ``until``, the end in milliseconds.
    """

    def __init__(self, name: str, question: str, colour: str) -> None:
        super().__init__(name=name, datasource=DATA_SOURCE, icon_color=colour, enable=True)
        self.question = question

    def build(self) -> AnnotationQuery:
        """Return itself."""
        return self

    def to_json(self) -> dict[str, object]:
        """Return it with what the data source needs and the SDK does not know."""
        return {
            **super().to_json(),
            "query": self.question,
            "rawQuery": True,
            "titleColumn": "kind",
            "textColumn": "sentence",
            "tagsColumn": "kind",
            "timeEndColumn": "until",
        }
