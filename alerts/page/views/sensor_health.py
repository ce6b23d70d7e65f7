"""Sensor health: which sensors are reliable, and which need attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from alerts.outbound.sensor_conditions import active_faults
from alerts.page.page_group import Access, PageGroup, serves
from alerts.page.rendering import SPANS
from alerts.page.views.charts import span_of
from detection.details import details_text
from language.messages import Words, mark
from storage import firmware

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.outbound.sensor_conditions import ActiveFaults
    from alerts.page.settings import SensorStatus
    from storage.firmware import Firmware
    from storage.timeseries.records import Record

_SUMS: Final = Words(
    {"missing": mark("Missing"), "late": mark("Late"), "clock_faults": mark("Wrong clock")}
)
"""Data problems that are shown only where a sensor has any."""
_RECENT_S: Final = 900.0
_SUMMED: Final = (
    "online_s",
    "period_s",
    "expected",
    "received",
    "missing",
    "late",
    "faulty",
    "clock_faults",
)


class SensorHealthPages(PageGroup):
    """Last seen, gaps, battery, drift, faults, tampering, firmware."""

    @serves("/sensor-health", Access.SENSOR_READERS, one_school=True)
    async def _page(self, request: Request) -> Response:
        context = self._context
        span = span_of(request)
        now = context.settings.clock()
        versions, active = await context.read(lambda db: (firmware.current(db), active_faults(db)))
        statuses = context.pipeline().sensors
        spans = (now - SPANS[span], now)
        rows = await context.in_thread(self._rows, *spans, versions, statuses, active)
        return context.render(
            request,
            "sensor_health.html",
            rows=rows,
            noted=[
                (key, words)
                for key, words in _SUMS.items()
                if any(row["sums"].get(key) for row in rows)
            ],
            span=span,
        )

    def _rows(
        self,
        start: float,
        end: float,
        versions: Mapping[str, Firmware],
        statuses: Mapping[str, SensorStatus],
        active: Mapping[str, ActiveFaults],
    ) -> list[dict[str, Any]]:
        context = self._context
        unlike = firmware.unlike_others(context.registry.sensors.values(), versions)
        series = context.settings.series
        found = series.sums("sensor_health", _SUMMED, start, end, context.registry.sensors)
        totals = {name: dict(zip(_SUMMED, sums, strict=True)) for name, sums in found.items()}
        newest: dict[str, Record] = {
            record.sensor: record
            for record in series.records(
                "sensor_health", end - _RECENT_S, end + 60.0, sensors=context.registry.sensors
            )
        }
        latest = series.latest()
        rows = []
        for sensor in context.registry.sensors.values():
            record, seen = newest.get(sensor.id), latest.get(sensor.id)
            fields: Mapping[str, Any] = record.fields if record else {}
            values = seen.values if seen else {}
            sums = totals.get(sensor.id, {})
            faulty = active.get(sensor.id)
            rows.append(
                {
                    "sensor": sensor,
                    "room": context.registry.rooms.get(sensor.room),
                    "state": status.state
                    if (status := statuses.get(sensor.id))
                    else fields.get("state", "not checked yet"),
                    "seen": seen.time if seen else None,
                    "online": _share(sums, "online_s", "period_s"),
                    "received": _share(sums, "received", "expected"),
                    "sums": sums,
                    "battery": values.get("battery"),
                    "rssi": values.get("rssi"),
                    "tamper": faulty is not None and faulty.tampered,
                    "fault": details_text(faulty.details) if faulty else "",
                    "no_particles": status is not None and status.no_particles_since is not None,
                    "test_due": fields.get("condition") == "test_due",
                    "firmware": versions.get(sensor.id),
                    "unlike": sensor.id in unlike,
                }
            )
        return sorted(rows, key=_urgency)


def _share(sums: Mapping[str, float], part: str, whole: str) -> float | None:
    return sums[part] / sums[whole] if sums.get(whole) else None


def _urgency(row: Mapping[str, Any]) -> tuple[bool, bool, bool, float]:
    is_well = not (row["tamper"] or row["fault"] or row["no_particles"])
    return is_well, row["state"] == "alive", not row["test_due"], row["online"] or 0.0
