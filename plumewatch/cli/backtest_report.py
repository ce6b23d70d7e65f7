"""The page of a back-test: what versions of the detector would have said, and how they differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from reports.charts import bars, stacked
from reports.documents import html
from reports.drawing import svg
from reports.safe_text import shown
from scale.compare import alerts_of, differences, repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from zoneinfo import ZoneInfo

    from scale.backtest import Alert, Judged, Variant
    from scale.compare import Answer

_LISTED: Final = 200
_DAYS: Final = 31
_VERDICTS: Final = ("confirmed", "false_alarm", "nothing_found", "test")


@dataclass(frozen=True, slots=True)
class Backtest:
    """Everything a page is made of.

    Attributes
    ----------
    results : sequence of Judged
        Of all buckets.
    kinds : sequence of str
        Kinds of alert that are compared.
    answers : sequence of Answer or None
        What staff said of incidents; None if it is not known.
    place : str
        School, or folder.
    processes : str
        Where it ran.
    """

    variants: Sequence[Variant]
    results: Sequence[Judged]
    kinds: Sequence[str]
    answers: Sequence[Answer] | None
    zone: ZoneInfo
    place: str
    made: datetime
    took_s: float
    processes: str


def backtest_page(test: Backtest) -> str:
    """Return the page as one HTML file that loads nothing."""
    every = [alert for result in test.results for alert in result.alerts]
    told = [alerts_of(every, k) for k in range(len(test.variants))]
    readings = sum(result.readings for result in test.results)
    days = sum(result.sensor_days for result in test.results)
    view: dict[str, Any] = {
        "title": "Back-test",
        "school": shown(test.place),
        "place": "",
        "from": _local(min(result.first for result in test.results), test.zone),
        "to": _local(max(result.last for result in test.results), test.zone),
        "made": f"{test.made.astimezone(test.zone):%Y-%m-%d %H:%M}",
        "zone": str(test.zone),
        "schema": f"{readings:,} readings in {test.took_s:,.1f} s ({test.processes})",
        "kinds": ", ".join(test.kinds),
        "days": f"{days:,.0f}",
        "versions": [_version(test, k, told[k], every, days) for k in range(len(test.variants))],
        "others": _others(test),
        "pairs": [_pair(test, told, k) for k in range(1, len(test.variants))],
        "chart": "" if len(told) > 1 else _by_day(test, [("alerts", told[0])], "Alerts"),
        "answers": _answers(test, told),
    }
    return html("backtest", view)


def _version(
    test: Backtest, k: int, told: Sequence[Alert], every: Sequence[Alert], days: float
) -> dict[str, str]:
    variant = test.variants[k]
    sure = sorted(alert.confidence for alert in told)
    explained = sum(a.variant == k and bool(a.explained_by) for a in every)
    return {
        "name": shown(variant.name),
        "model": test.results[0].models[k],
        "budget": f"{variant.budget:g}",
        "alerts": f"{len(told):,}",
        "rate": f"{7 * len(told) / days:.2f}" if days else "—",
        "withdrawn": f"{sum(alert.withdrawn for alert in told):,}",
        "explained": f"{explained:,}",
        "confidence": f"{sure[len(sure) // 2]:.2f}" if sure else "—",
    }


def _others(test: Backtest) -> list[dict[str, str]]:
    """Events of kinds that are not compared, by version."""
    found = []
    for k, variant in enumerate(test.variants):
        counts = sum((Counter(result.others[k]) for result in test.results), Counter[str]())
        said = ", ".join(f"{n:,} {kind}" for kind, n in sorted(counts.items())) or "none"
        found.append({"name": shown(variant.name), "said": said})
    return found


def _pair(test: Backtest, told: Sequence[Sequence[Alert]], k: int) -> dict[str, Any]:
    first, second = shown(test.variants[0].name), shown(test.variants[k].name)
    found = differences(told[0], told[k])
    parts = [
        (f"only {first}", found.only_first),
        ("both", found.both),
        (f"only {second}", found.only_second),
    ]
    listed = sorted(
        [(first, a) for a in found.only_first] + [(second, a) for a in found.only_second],
        key=lambda row: (-row[1].confidence, row[1].onset),
    )
    rooms = Counter(f"{a.building} {a.room or a.sensor}" for _, a in listed).most_common(12)
    return {
        "title": f"{second} against {first}",
        "said": f"{len(found.both):,} in both, {len(found.only_first):,} only {first},"
        f" {len(found.only_second):,} only {second}",
        "by_day": _by_day(test, parts, "Alerts by the day or week"),
        "by_hour": _by_hour(test, parts),
        "rooms": svg(
            bars("Where they differ", [shown(name) for name, _ in rooms], [n for _, n in rooms])
        )
        if rooms
        else "",
        "rows": [_row(test, name, alert) for name, alert in listed[:_LISTED]],
        "more": max(0, len(listed) - _LISTED),
    }


def _row(test: Backtest, only: str, alert: Alert) -> list[str]:
    place = f"{alert.building} {alert.room}".strip() or "—"
    gone = "withdrawn" if alert.withdrawn else ""
    when = f"{datetime.fromtimestamp(alert.alerted, test.zone):%Y-%m-%d %H:%M:%S}"
    cells = [only, when, place, alert.sensor, alert.kind, f"{alert.confidence:.2f}", gone]
    return [shown(cell) for cell in cells]


def _by_day(test: Backtest, parts: Sequence[tuple[str, Sequence[Alert]]], title: str) -> str:
    """Draw alerts a day; a week where there are many days."""
    first = datetime.fromtimestamp(min(r.first for r in test.results), test.zone).date()
    last = datetime.fromtimestamp(max(r.last for r in test.results), test.zone).date()
    step = 1 if (last - first).days < _DAYS else 7
    start = first if step == 1 else first - timedelta(days=first.weekday())
    n = (last - start).days // step + 1
    labels = [f"{start + timedelta(days=step * k):%d %b}" for k in range(n)]

    def bin_of(alert: Alert) -> int:
        day = datetime.fromtimestamp(alert.onset, test.zone).date()
        return min(max((day - start).days // step, 0), n - 1)

    notes = ["" if step == 1 else "week"] * n
    return svg(stacked(title, labels, notes, _counted(parts, bin_of, n)))


def _by_hour(test: Backtest, parts: Sequence[tuple[str, Sequence[Alert]]]) -> str:
    def hour(alert: Alert) -> int:
        return datetime.fromtimestamp(alert.onset, test.zone).hour

    labels = [f"{h}" for h in range(24)]
    return svg(
        stacked("Alerts by the hour of the day", labels, [""] * 24, _counted(parts, hour, 24))
    )


def _counted(
    parts: Sequence[tuple[str, Sequence[Alert]]], bin_of: Callable[[Alert], int], n: int
) -> list[tuple[str, list[int]]]:
    counted = []
    for name, alerts in parts:
        counts = Counter(bin_of(alert) for alert in alerts)
        counted.append((name, [counts[k] for k in range(n)]))
    return counted


def _answers(test: Backtest, told: Sequence[Sequence[Alert]]) -> dict[str, Any] | None:
    """How versions agree with staff."""
    if test.answers is None:
        return None
    rows = []
    for k, variant in enumerate(test.variants):
        raised = repeated(told[k], test.answers)
        cells = []
        for verdict in _VERDICTS:
            of = [hit for hit, a in zip(raised, test.answers, strict=True) if a.verdict == verdict]
            cells.append(f"{sum(of):,} of {len(of):,}")
        right, wrong = (
            sum(h for h, a in zip(raised, test.answers, strict=True) if a.verdict == verdict)
            for verdict in ("confirmed", "false_alarm")
        )
        share = f"{100 * right / (right + wrong):.0f} %" if right + wrong else "—"
        rows.append([shown(variant.name), *cells, share])
    return {"count": len(test.answers), "rows": rows}


def _local(time: float, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(time, UTC).astimezone(zone):%Y-%m-%d %H:%M}"
