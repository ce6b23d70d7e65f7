"""Tables for the terminal, and the benchmark's documentation page."""

from __future__ import annotations

import csv
import math
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.table import Table as RichTable

from research.benchmark import peers
from research.benchmark.people import LARGE_UG_M3
from research.benchmark.recordings import CHANNEL_GROUPS
from research.benchmark.run import COLD, FLOORS, LEAD_IN_DAYS, SHIPPED, WITHOUT
from research.benchmark.scoring import calibrate, summarize
from research.benchmark.world_recordings import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import Console

    from research.benchmark.run import Result
    from research.benchmark.scoring import SensorScore, Summary
    from research.benchmark.world_recordings import WorldSpec

DRAWS: Final = 500
BUDGET: Final = 0.5
"""False alarms per sensor-day allowed when choosing one threshold for all worlds."""
FAST_S: Final = 5.0
INTERVALS: Final = (1, 2, 5, 10, 30, 60)
_FIGURES: Final = ("visible", "recall", "precision", "F1", "false alarms a sensor-day")
_LATE: Final = "latency p50 / p90, s"
_LATE_FAST: Final = "latency p50 / p90 up to 5 s, s"
_LATE_REPORTS: Final = "latency p50 / p90 in reporting intervals"
_MODELS: Final = {WITHOUT: "trained without the world", SHIPPED: "shipped model"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table's rows, its title, and a sentence that explains it."""

    title: str
    head: tuple[str, ...]
    rows: list[list[str]]
    about: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The content of a report."""

    results: Sequence[Result]
    specs: Sequence[WorldSpec]
    version: str
    command: str
    cpu_s: float

    @property
    def method(self) -> str:
        """Method for split tables: the model trained without the world, if all worlds have one."""
        tested = {r.recording for r in self.select(SHIPPED, *PROGRAMS)}
        return WITHOUT if tested == {r.recording for r in self.select(WITHOUT)} else SHIPPED

    def select(self, method: str, *programs: str, people: str = COLD) -> list[Result]:
        """Return the results of a method in some programs, by default in all of them."""
        return [
            r
            for r in self.results
            if r.method == method and r.people == people and (not programs or r.program in programs)
        ]


def _n(value: float, digits: int = 2) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _span(summary: Summary, key: str) -> str:
    if key not in summary.interval:
        return ""
    low, high = summary.interval[key]
    return f" ({low:.2f}-{high:.2f})"


def _figures(s: Summary) -> list[str]:
    rates = (s.recall, s.precision, s.f1, s.false_per_day)
    keys = ("recall", "precision", "f1", "false_per_day")
    return [str(s.visible), *(_n(r) + _span(s, k) for r, k in zip(rates, keys, strict=True))]


def _late(s: Summary) -> str:
    return f"{_n(s.latency_p50_s, 0)} / {_n(s.latency_p90_s, 0)}"


def _scores(
    results: Iterable[Result], keep: Callable[[SensorScore], bool] = lambda _: True
) -> list[SensorScore]:
    return [r.score for r in results if keep(r.score)]


def _seen(results: Iterable[Result]) -> list[SensorScore]:
    """Return the scores that include possible vaping; published rules have none."""
    return [r.with_possible for r in results if r.with_possible is not None]


def _is_fast(score: SensorScore) -> bool:
    return score.sensor.interval_s <= FAST_S


def _whole(results: Sequence[Result]) -> list[str]:
    s = summarize(_scores(results), draws=DRAWS)
    reports = f"{_n(s.latency_p50_reports, 1)} / {_n(s.latency_p90_reports, 1)}"
    return [*_figures(s), _late(summarize(_scores(results, _is_fast))), reports]


_WHOLE: Final = (*_FIGURES, _LATE_FAST, _LATE_REPORTS)


def _names(results: Iterable[Result]) -> list[str]:
    return list(dict.fromkeys(r.recording for r in results))


def tabulate_left_out(report: Report, program: str) -> Table:
    """Tabulate each world with a model trained without it, and with the shipped model."""
    shipped, without = report.select(SHIPPED, program), report.select(WITHOUT, program)
    rows = []
    for world in _names(shipped):
        mine = [r for r in without if r.recording == world]
        s = summarize(_scores(r for r in shipped if r.recording == world))
        beside = f"{_n(s.f1)} at {_n(s.false_per_day)}"
        figures = _whole(mine) if mine else ["no model without it", *["–"] * (len(_WHOLE) - 1)]
        rows.append([world, *figures, beside])
    if len({r.recording for r in without}) > 1:
        s = summarize(_scores(shipped))
        rows.append(["all", *_whole(without), f"{_n(s.f1)} at {_n(s.false_per_day)}"])
    head = ("world", *_WHOLE, "shipped model: F1 at false alarms")
    return Table(f"Worlds left out, {program} rooms", head, rows, _ABOUT_PROGRAM[program])


_ABOUT_PROGRAM: Final = {
    "busy": "Each world's readings go to a model trained without that world and one other.",
    "ordinary": (
        "These rooms have a vaping session every few days, but the nuisances of busy rooms, because"
        " no world can lower their rate. So false alarms are an upper bound."
    ),
}


def tabulate_feedback(report: Report) -> Table:
    """Tabulate results by the feedback that the thresholds got, for groups of sensors."""
    groups: dict[str, tuple[str, Callable[[SensorScore], bool]]] = {
        "busy rooms": ("busy", lambda _: True),
        "ordinary rooms": ("ordinary", lambda _: True),
        "busy, up to 2 s, with sizes": ("busy", _is_best),
        "busy, 5 to 10 s": ("busy", lambda s: 2.0 < s.sensor.interval_s <= 10.0),
        "busy, 30 s and more": ("busy", lambda s: s.sensor.interval_s > 10.0),
    }
    rows = []
    for group, (program, keep) in groups.items():
        for people in LEAD_IN_DAYS:
            results = report.select(report.method, program, people=people)
            results = [r for r in results if keep(r.score)]
            seen = _seen(results)
            if not seen:
                continue
            s, notified = summarize(_scores(results)), summarize(seen)
            large = [f for r in seen for f in r.sessions if f.session.seen_pm25 >= LARGE_UG_M3]
            notices = sum(len(r.incidents) for r in seen) / notified.sensor_days
            share = np.mean([not f.missed for f in large]) if large else math.nan
            rates = (s.recall, s.precision, s.f1, s.false_per_day)
            fast = summarize(_scores(results, _is_fast)).latency_p50_s
            rows.append(
                [
                    *(group, people, str(s.visible), *map(_n, rates), _n(fast, 0)),
                    *(_n(notified.recall), _n(notices), f"{_n(float(share))} of {len(large)}"),
                ]
            )
    head = (
        *("rooms", "thresholds", *_FIGURES, "latency p50 up to 5 s, s"),
        *("recall with possible", "likely and possible a day", "large found, with possible"),
    )
    return Table("Effect of room tests and answers, worlds left out", head, rows, _ABOUT_PEOPLE)


_ABOUT_PEOPLE: Final = (
    f"*Cold*: one day after the sensor starts. *Large*: at least {LARGE_UG_M3:g} µg/m³ at the"
    " sensor. A room's first large session and its first other events stand in for the room test."
    " Half of the alerts are answered correctly within the hour."
)


def _is_best(score: SensorScore) -> bool:
    return score.sensor.interval_s <= 2.0 and score.sensor.channel_group.startswith("sizes")


def tabulate_shipped(report: Report, program: str) -> Table:
    """Tabulate the shipped model's results by world."""
    results = report.select(SHIPPED, program)
    rows = [[w, *_whole([r for r in results if r.recording == w])] for w in _names(results)]
    if len(rows) > 1:
        rows.append(["all", *_whole(results)])
    return Table(f"The shipped model, {program} rooms", ("world", *_WHOLE), rows)


def tabulate_one_policy(report: Report) -> Table:
    """Tabulate the best F1 within the false alarm budget, with one threshold for all worlds."""
    rows = []
    for method, words in _MODELS.items():
        results = report.select(method, "busy")
        visible = sum(len(r.score.sessions) for r in results)
        days = sum(r.score.days for r in results)
        points = []
        for k, floor in enumerate(FLOORS):
            found, false = (sum(r.by_floor[k][i] for r in results) for i in range(2))
            if visible and false / days <= BUDGET:
                f1 = 2 * found / (visible + found + false)
                points.append((f1, found / visible, false / days, floor))
        if points:
            f1, recall, a_day, floor = max(points)
            rows.append([words, f"{floor:g}", _n(f1), _n(recall), _n(a_day)])
    head = ("model", "alerts from a probability of", "F1", "recall", "false alarms a sensor-day")
    return Table(f"One policy over all worlds, at most {BUDGET} false alarms a day", head, rows)


def _split(
    report: Report, title: str, first: str, groups: dict[str, Callable[[SensorScore], bool]]
) -> Table:
    rows = []
    for name, keep in groups.items():
        scores = _scores(report.select(report.method, "busy"), keep)
        if scores:
            s = summarize(scores, draws=DRAWS)
            rows.append([name, f"{s.sensor_days:.0f}", *_figures(s), _late(s)])
    return Table(title, (first, "sensor-days", *_FIGURES, _LATE), rows)


def tabulate_intervals(report: Report) -> Table:
    """Tabulate results by reporting interval."""
    groups: dict[str, Callable[[SensorScore], bool]] = {
        f"{every} s": lambda s, e=every: round(s.sensor.interval_s) == e  # type: ignore[misc]
        for every in INTERVALS
    }
    groups |= {"up to 5 s": _is_fast, "10 s and more": lambda s: not _is_fast(s)}
    return _split(report, "By reporting interval", "interval", groups)


def tabulate_channels(report: Report) -> Table:
    """Tabulate results by the quantities that the device measures."""
    groups: dict[str, Callable[[SensorScore], bool]] = {
        name: lambda s, n=name: s.sensor.channel_group == n  # type: ignore[misc]
        for name in CHANNEL_GROUPS
    }
    return _split(report, "By device channels", "in addition to PM2.5", groups)


def _by_world(report: Report, title: str, first: str, cells: dict[str, dict[str, str]]) -> Table:
    worlds = _names(report.select(report.method, "busy"))
    rows = [[name, *(row.get(w, "–") for w in worlds)] for name, row in cells.items()]
    return Table(title, (first, *worlds), rows)


def tabulate_products(report: Report) -> Table:
    """Tabulate recall by vaping product."""
    tally: dict[str, dict[str, list[bool]]] = {}
    for r in report.select(report.method, "busy"):
        for f in r.score.sessions:
            row = tally.setdefault(f.session.style, {})
            row.setdefault(r.recording, []).append(not f.missed)
    cells = {
        style: {w: f"{sum(hits) / len(hits):.2f} of {len(hits)}" for w, hits in row.items()}
        for style, row in sorted(tally.items())
    }
    return _by_world(report, "Recall by vaping product", "style", cells)


def tabulate_causes(report: Report) -> Table:
    """Tabulate false alarms per sensor-day by the kind of event that caused them."""
    results = report.select(report.method, "busy")
    causes = summarize(_scores(results)).causes
    cells: dict[str, dict[str, str]] = {cause: {} for cause in causes}
    for world in _names(results):
        s = summarize(_scores(r for r in results if r.recording == world))
        for cause, n in s.causes.items():
            cells[cause][world] = _n(n / s.sensor_days)
    return _by_world(report, "False alarms a sensor-day by cause", "kind", cells)


def tabulate_calibration(report: Report) -> Table:
    """Tabulate how stated probabilities compare with outcomes, by world."""
    rows = []
    results = report.select(report.method, "busy")
    for world in _names(results):
        mine = [r for r in results if r.recording == world]
        incidents = [i for r in mine for i in r.score.incidents]
        c = calibrate(
            np.array([i.confidence for i in incidents], float),
            np.array([i.right for i in incidents], np.bool_),
            bins=5,
        )
        bins = [
            f"{_n(stated)}: {_n(seen)} of {n}" if n else "–"
            for stated, seen, n in zip(c.stated, c.observed, c.count, strict=True)
        ]
        rows.append([world, *bins, _n(c.brier, 3)])
    spans = (f"stated {k / 5:g}-{(k + 1) / 5:g}" for k in range(5))
    head = ("world", *spans, "Brier")
    about = "Each cell: mean stated probability, share that was vaping, and number of incidents."
    return Table("Calibration", head, rows, about)


def tabulate_rules(report: Report) -> Table:
    """Tabulate the published rules' results over all worlds."""
    methods = {m: f"Plumewatch, {words}" for m, words in _MODELS.items()}
    methods |= {key: name for key, (name, _) in peers.RULES.items()}
    sensors = len(report.select(SHIPPED, "busy"))
    rows = []
    for method, name in methods.items():
        if results := report.select(method, "busy"):
            rows.append([name, f"{len(results)} of {sensors}", *_whole(results)])
    about = (
        "Each rule runs on the sensors that have the channels it needs. Rules that cannot run: "
        + "; ".join(f"{rule} ({why})" for rule, why in peers.NOT_APPLICABLE.items())
    )
    return Table(
        "Comparison with published rules", ("method", "sensors", *_WHOLE), rows, about + "."
    )


def tabulate_real(report: Report) -> Table:
    """Tabulate alarms in real recordings without vaping."""
    rows = []
    results = report.select(SHIPPED, "real")
    for name in _names(results):
        row = [name]
        for key in (SHIPPED, *peers.RULES):
            mine = [r for r in report.select(key, "real") if r.recording == name]
            s = summarize(_scores(mine))
            if key == SHIPPED:
                row += [str(len(mine)), _n(s.sensor_days, 1)]
                row.append(str(s.false))
            row.append(_n(s.false_per_day))
            if key == SHIPPED:
                row.append(_n(summarize(_seen(mine)).false_per_day))
        rows.append(row)
    head = ("recording", "sensors or runs", "days", "alarms", "a day", "with possible, a day")
    rules = tuple(f"{name}, a day" for name, _ in peers.RULES.values())
    return Table("Real recordings without vaping", head + rules, rows)


def tabulate_labeled(report: Report, program: str, title: str, about: str = "") -> Table:
    """Tabulate labeled recordings."""
    rows = []
    for name in _names(report.select(SHIPPED, program)):
        for key in (SHIPPED, *peers.RULES):
            if mine := [r for r in report.select(key, program) if r.recording == name]:
                words = "Plumewatch" if key == SHIPPED else peers.RULES[key][0]
                with_possible = _n(summarize(_seen(mine)).recall)
                rows.append([name, words, *_whole(mine), with_possible])
    return Table(title, ("recording", "method", *_WHOLE, "recall with possible"), rows, about)


_ABOUT_PUFFS: Final = (
    "Real air of occupied rooms on days that training did not use, with simulated sessions added."
    " Puffs are drawn as in training, so these results are too good."
)


def build_tables(report: Report) -> Iterator[Table]:
    """Build all tables that have rows, the main results first."""
    ran = [p for p in PROGRAMS if report.select(SHIPPED, p)]
    made = [tabulate_left_out(report, program) for program in ran]
    made += [tabulate_feedback(report), tabulate_one_policy(report)]
    made += [tabulate_shipped(report, program) for program in ran]
    made += [
        f(report)
        for f in (
            tabulate_intervals,
            tabulate_channels,
            tabulate_products,
            tabulate_causes,
            tabulate_calibration,
        )
    ]
    made += [tabulate_rules(report), tabulate_real(report)]
    made += [tabulate_labeled(report, "real with puffs", "Puffs on real air", _ABOUT_PUFFS)]
    made += [tabulate_labeled(report, "labeled", "Labeled recordings")]
    return (table for table in made if table.rows)


def summarize_results(report: Report) -> str:
    """Describe in a sentence what a school can expect from sensors that report often."""
    s = summarize(_scores(report.select(report.method, "busy"), _is_fast))
    if not s.visible:
        return ""
    air = "worlds that the model was not trained on" if report.method == WITHOUT else "all worlds"
    a_day = s.false_per_day
    rate = f"{a_day:.1f} false alarms a day" if a_day >= 1 else "no false alarm"
    if 0 < a_day < 1:
        rate = f"one false alarm in {1 / a_day:.0f} days"
    return (
        f"In busy rooms of {air}, of ten vaping sessions that reach a sensor reporting every 5 s or"
        f" faster, {10 * s.recall:.0f} are detected, half of them within {s.latency_p50_s:.0f} s."
        f" A sensor causes {rate}."
    )


def show(report: Report, console: Console) -> None:
    """Print all tables."""
    for table in build_tables(report):
        rich = RichTable(title=table.title, title_justify="left", header_style="bold")
        for k, name in enumerate(table.head):
            rich.add_column(name, justify="left" if k == 0 else "right", overflow="fold")
        for row in table.rows:
            rich.add_row(*row)
        console.print(rich)
        if table.about:
            console.print(table.about)
    console.print(summarize_results(report))
    console.print(f"model {report.version}; {report.cpu_s:.0f} s of CPU time")


def write_cases(report: Report, path: Path) -> None:
    """Write every miss and false alarm of `Report.method` to a file, for inspection."""
    head = ("recording", "program", "group", "sensor", "device", "interval_s", "channels")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*head, "case", "time", "cause", "seen_pm25", "base_pm25", "confidence"])
        for r in report.select(report.method):
            s = r.score.sensor
            who = [r.recording, r.program, s.group, s.name, s.device, s.interval_s, s.channel_group]
            for session in (f.session for f in r.score.sessions if f.missed):
                size = [f"{session.seen_pm25:.1f}", f"{session.base_pm25:.1f}", ""]
                writer.writerow([*who, "missed", f"{session.arrival:.1f}", session.style, *size])
            for i in (i for i in r.score.incidents if not i.right):
                confidence = f"{i.confidence:.3f}"
                writer.writerow([*who, "false", f"{i.time:.1f}", i.cause, "", "", confidence])


def _markdown(table: Table) -> str:
    lines = [
        "| " + " | ".join(table.head) + " |",
        "|---" + "|---:" * (len(table.head) - 1) + "|",
        *("| " + " | ".join(row) + " |" for row in table.rows),
    ]
    about = f"{table.about}\n\n" if table.about else ""
    return f"## {table.title}\n\n{about}" + "\n".join(lines) + "\n"


def render_page(report: Report) -> str:
    """Return the benchmark's page."""
    seeds = sorted({s.seed for s in report.specs})
    spec = report.specs[0]
    days = sum(s.rooms * s.days for s in report.specs)
    split = {
        WITHOUT: "models trained without the world in which they are tested",
        SHIPPED: "the shipped model, trained on other seeds of these worlds",
    }[report.method]
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()},"
        f" Python {platform.python_version()}; {report.cpu_s / 60:.0f} min of CPU time"
    )
    page = Path(__file__).with_name("page.md").read_text(encoding="utf-8")
    return page.format(
        words=summarize_results(report),
        command=report.command,
        worlds=", ".join(dict.fromkeys(s.world for s in report.specs)),
        seeds=f"{seeds[0]}-{seeds[-1]}",
        rooms=spec.rooms,
        days=days,
        version=report.version,
        machine=machine,
        draws=DRAWS,
        split=split,
        tables="\n".join(_markdown(table) for table in build_tables(report)),
    )
