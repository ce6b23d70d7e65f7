"""The page of a back-test: what detector versions would have alerted, and how they differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from reports.charts import bars, stacked
from reports.documents import html
from reports.drawing import svg
from reports.rows import CONFIRMED, FALSE, NOTHING, TEST
from reports.text import shown
from scale.compare import alerts_of, differences, repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from zoneinfo import ZoneInfo

    from reports.drawing import Drawing
    from scale.backtest import Alert, Judged, Variant
    from scale.compare import Answer

    Parts = Sequence[tuple[str, Sequence[Alert]]]

_MOST_LISTED: Final = 200
_MOST_DAYS: Final = 31


@dataclass(frozen=True, slots=True)
class Backtest:
    """Input of a page: alerts of `kinds`, verdicts as `answers`, and where it ran."""

    variants: Sequence[Variant]
    results: Sequence[Judged]
    kinds: Sequence[str]
    answers: Sequence[Answer] | None
    zone: ZoneInfo
    place: str
    made: datetime
    took_s: float
    processes: str

    @property
    def span(self) -> tuple[datetime, datetime]:
        """Local time of the first and last reading."""
        first = min(result.first for result in self.results)
        last = max(result.last for result in self.results)
        return self.local(first), self.local(last)

    def local(self, moment: float) -> datetime:
        """Return Unix seconds as local time."""
        return datetime.fromtimestamp(moment, self.zone)


def backtest_page(test: Backtest) -> str:
    """Return the page as one HTML file that loads nothing else."""
    found = [alert for result in test.results for alert in result.alerts]
    alerts = [alerts_of(found, k) for k in range(len(test.variants))]
    readings = sum(result.readings for result in test.results)
    days = sum(result.sensor_days for result in test.results)
    names = [shown(variant.name) for variant in test.variants]
    view: dict[str, Any] = {
        "title": "Back-test",
        "school": shown(test.place),
        "place": "",
        "from": f"{test.span[0]:%Y-%m-%d %H:%M}",
        "to": f"{test.span[1]:%Y-%m-%d %H:%M}",
        "made": f"{test.made.astimezone(test.zone):%Y-%m-%d %H:%M}",
        "zone": str(test.zone),
        "schema": f"{readings:,} readings in {test.took_s:,.1f} s ({test.processes})",
        "kinds": ", ".join(test.kinds),
        "days": f"{days:,.0f}",
        "versions": [_version(test, k, alerts[k], found, days) for k in range(len(names))],
        "others": [{"name": name, "counts": _others(test, k)} for k, name in enumerate(names)],
        "pairs": [
            _pair(test, (names[0], names[k]), (alerts[0], alerts[k])) for k in range(1, len(names))
        ],
        "chart": "" if len(names) > 1 else svg(_by_day(test, [("alerts", alerts[0])], "Alerts")),
        "answers": _answers(test, names, alerts),
    }
    return html("backtest", view)


def _version(
    test: Backtest, k: int, alerts: Sequence[Alert], found: Sequence[Alert], days: float
) -> dict[str, str]:
    variant, confidences = test.variants[k], sorted(alert.confidence for alert in alerts)
    return {
        "name": shown(variant.name),
        "model": test.results[0].models[k],
        "budget": f"{variant.budget:g}",
        "alerts": f"{len(alerts):,}",
        "rate": f"{7 * len(alerts) / days:.2f}" if days else "—",
        "explained": f"{sum(a.variant == k and bool(a.explained_by) for a in found):,}",
        "confidence": f"{confidences[len(confidences) // 2]:.2f}" if confidences else "—",
    }


def _others(test: Backtest, k: int) -> str:
    """Count the events of a version that are of other kinds."""
    counts = sum((Counter(result.others[k]) for result in test.results), Counter[str]())
    return ", ".join(f"{n:,} {kind}" for kind, n in sorted(counts.items())) or "none"


def _pair(
    test: Backtest, names: tuple[str, str], alerts: tuple[Sequence[Alert], Sequence[Alert]]
) -> dict[str, Any]:
    first, second = names
    found = differences(*alerts)
    parts = [
        (f"only {first}", found.only_first),
        ("both", found.both),
        (f"only {second}", found.only_second),
    ]
    listed = [(first, a) for a in found.only_first] + [(second, a) for a in found.only_second]
    listed.sort(key=lambda row: (-row[1].confidence, row[1].onset))
    rooms = Counter(shown(f"{a.building} {a.room or a.sensor}") for _, a in listed).most_common(12)
    hours = _stacked(
        "Alerts by hour of the day",
        [str(hour) for hour in range(24)],
        parts,
        lambda alert: test.local(alert.onset).hour,
    )
    return {
        "title": f"{second} against {first}",
        "counts": f"{len(found.both):,} in both, {len(found.only_first):,} only {first},"
        f" {len(found.only_second):,} only {second}",
        "by_day": svg(_by_day(test, parts, "Alerts by day or week")),
        "by_hour": svg(hours),
        "rooms": svg(bars("Rooms that differ", *zip(*rooms, strict=True))) if rooms else "",
        "rows": [_row(test, name, alert) for name, alert in listed[:_MOST_LISTED]],
        "more": max(0, len(listed) - _MOST_LISTED),
    }


def _row(test: Backtest, only: str, alert: Alert) -> list[str]:
    place = f"{alert.building} {alert.room}".strip() or "—"
    when = f"{test.local(alert.alerted):%Y-%m-%d %H:%M:%S}"
    cells = [only, when, place, alert.sensor, alert.kind, f"{alert.confidence:.2f}"]
    return [*map(shown, cells)]


def _by_day(test: Backtest, parts: Parts, title: str) -> Drawing:
    """Draw alerts by day, or by week if there are many days."""
    first, last = (moment.date() for moment in test.span)
    step = 1 if (last - first).days < _MOST_DAYS else 7
    start = first if step == 1 else first - timedelta(days=first.weekday())
    count = (last - start).days // step + 1

    def bin_of(alert: Alert) -> int:
        day = test.local(alert.onset).date()
        return min(max((day - start).days // step, 0), count - 1)

    labels = [f"{start + timedelta(days=step * k):%d %b}" for k in range(count)]
    return _stacked(title, labels, parts, bin_of, "" if step == 1 else "week")


def _stacked(
    title: str, labels: Sequence[str], parts: Parts, bin_of: Callable[[Alert], int], note: str = ""
) -> Drawing:
    counts = [(name, Counter(map(bin_of, alerts))) for name, alerts in parts]
    binned = [(name, [count[k] for k in range(len(labels))]) for name, count in counts]
    return stacked(title, labels, [note] * len(labels), binned)


def _answers(
    test: Backtest, names: Sequence[str], alerts: Sequence[Sequence[Alert]]
) -> dict[str, Any] | None:
    """Count how many answered incidents each version would have raised again, by verdict."""
    if test.answers is None:
        return None
    total = Counter(answer.verdict for answer in test.answers)
    rows = []
    for name, own in zip(names, alerts, strict=True):
        hits = zip(repeated(own, test.answers), test.answers, strict=True)
        raised = Counter(answer.verdict for hit, answer in hits if hit)
        right, wrong = raised[CONFIRMED], raised[FALSE]
        rows.append(
            [
                name,
                *(f"{raised[v]:,} of {total[v]:,}" for v in (CONFIRMED, FALSE, NOTHING, TEST)),
                f"{100 * right / (right + wrong):.0f} %" if right + wrong else "—",
            ]
        )
    return {"count": len(test.answers), "rows": rows}
