"""Measure how often sensor faults are detected, and how often healthy sensors are reported.

Usage: python -m research.benchmark.sensor_faults [--seeds N] [--rooms N] [--real FOLDER]

The simulated schools have every device model at its usual interval. Healthy sensors are monitored
for four days; a report counts as right if the simulator had a fault at that time. Then, from the
state after three days, each kind of fault is added to every sensor, one kind at a time. Reports of
building-wide events are compared with the simulated outdoor events, at their usual frequency and at
fifty times that. --real also monitors the gym recording.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alerts.policy import AlertPolicy
from detection.channels import ReadingBatch
from detection.combined import MinuteDetectors
from detection.events import EventKind, EventPhase, join_details
from detection.per_minute.minutes import CHANNELS
from detection.quantities import COLUMN_INDEX, COLUMNS, QUANTITIES
from ingest.recordings import read_recordings
from plumewatch.replay import replay
from research.benchmark.tampering import BlownAt, Covered
from sensor_sim.school import draw_school
from sensor_sim.simulate import simulate
from sensor_sim.sources import BUILDING_WIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from detection.events import Event
    from sensor_sim.trace import DeviceTrace, Truth

    Values = NDArray[np.float64]
    Fault = Callable[[DeviceTrace, np.random.Generator], DeviceTrace]

_START = 1_757_311_200.0
"""A Monday, 6:00 AM."""
_DAY_S = 86_400.0
_LEARN_DAYS = 3
_FAULT_AT = _START + _LEARN_DAYS * _DAY_S + 4 * 3600.0
_FAULT_S = 6 * 3600.0
_BATCH = 50_000
_OFTEN = 50.0


def place(sensor: str) -> tuple[str, str]:
    """Return the building and room of a sensor in a random school."""
    return sensor.partition("-")[0], sensor


def simulate_days(
    seed: int, rooms: int, count: int, nuisance: float = 1.0
) -> list[list[DeviceTrace]]:
    """Return the traces of each day."""
    _TRUTHS.clear()
    found = []
    school = draw_school(seed, rooms)
    hours = list(
        simulate(
            school,
            seed=seed,
            start=_START,
            duration_s=count * _DAY_S,
            nuisance_rate=nuisance,
        )
    )
    for first in range(0, len(hours), 24):
        day = hours[first : first + 24]
        found.append([_join(parts) for parts in zip(*(c.traces for c in day), strict=True)])
        truths = (t for chunk in day for t in chunk.truths)
        _TRUTHS.extend(t for t in truths if t.kind in {"sensor_fault", "ambient"})
    return found


def _join(parts: Sequence[DeviceTrace]) -> DeviceTrace:
    """Join the traces of a device's hours."""
    time, sent, values = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("time", "sent", "values")
    )
    events = tuple(event for part in parts for event in part.events)
    return replace(parts[0], time=time, sent=sent, values=values, events=events)


_TRUTHS: list[Truth] = []


def watch(slow: MinuteDetectors, traces: Sequence[DeviceTrace]) -> list[Event]:
    """Feed a day's traces to the detectors, in order of arrival."""
    rows = [np.full(t.sent.size, slow.assign_row(t.sensor), np.int32) for t in traces]
    time = np.concatenate([np.minimum(t.time, t.sent) for t in traces])
    values = np.concatenate([t.values for t in traces])
    order = np.argsort(np.concatenate([t.sent for t in traces]), kind="stable")
    sensor, time, values = np.concatenate(rows)[order], time[order], values[order]
    events: list[Event] = []
    for a in range(0, order.size, _BATCH):
        part = slice(a, a + _BATCH)
        events += slow.step(ReadingBatch(sensor[part], time[part], values[part]))
        events += slow.on_time(float(time[part].max()))
        slow.mark([])
    return [event for event in events if event.phase is EventPhase.ALERTED]


def get_fault_kind(event: Event) -> str:
    """Return the kind of fault that an event reports."""
    return event.model_version.rpartition("-")[2]


def _present(trace: DeviceTrace) -> list[int]:
    return [
        c for c in (COLUMN_INDEX[k] for k in CHANNELS) if not np.isnan(trace.values[:, c]).all()
    ]


def _one(trace: DeviceTrace, rng: np.random.Generator) -> list[int]:
    return [int(rng.choice(_present(trace)))]


def _all(trace: DeviceTrace, _: np.random.Generator) -> list[int]:
    return list(range(trace.values.shape[1]))


def _fine(trace: DeviceTrace, _: np.random.Generator) -> list[int]:
    present = _present(trace)
    return [next(COLUMN_INDEX[k] for k in ("pm25", "n03", "rh") if COLUMN_INDEX[k] in present)]


def _noisy(inside: Values, rng: np.random.Generator, whole: Values, column: int) -> Values:
    step = np.diff(whole[~np.isnan(whole)])
    scale = max(float(np.median(np.abs(step))), 2 * QUANTITIES[COLUMNS[column]].resolution)
    return np.maximum(inside + 10 * scale * rng.standard_normal(inside.size), 0.0)


def _changed(
    trace: DeviceTrace,
    rng: np.random.Generator,
    columns: Callable[..., list[int]],
    change: Callable[..., Values | float],
    length_s: float = _FAULT_S,
) -> DeviceTrace:
    values = trace.values.copy()
    inside = (trace.sent >= _FAULT_AT) & (trace.sent < _FAULT_AT + length_s)
    for column in columns(trace, rng) if inside.any() else ():
        whole = values[:, column].copy()
        values[inside, column] = change(whole[inside], rng, whole, column)
    return replace(trace, values=values)


_FROZEN = partial(_changed, change=lambda inside, *_: inside[0])
_FULL = partial(_changed, change=lambda *a: 100.0 if COLUMNS[a[-1]] == "rh" else 6000.0)
_FAULTS: dict[str, tuple[Fault, str]] = {
    "one channel frozen": (partial(_FROZEN, columns=_one), "frozen"),
    "all channels frozen": (partial(_FROZEN, columns=_all), "frozen"),
    "one channel dead": (partial(_changed, columns=_one, change=lambda *_: np.nan), "missing"),
    "at a ceiling": (partial(_FULL, columns=_fine, length_s=8 * 3600.0), "saturated"),
    "noise tenfold": (partial(_changed, columns=_fine, change=_noisy), "noisy"),
    "covered": (
        lambda t, _: Covered(t.sensor, _FAULT_AT, _FAULT_AT + 7200.0).on_trace(t),
        "covered",
    ),
    "blown at": (lambda t, _: BlownAt(t.sensor, _FAULT_AT + 20.0).on_trace(t), "blown"),
}


def _is_true(event: Event) -> bool:
    return any(
        t.kind == "sensor_fault"
        and t.sensor == event.sensor
        and t.start - 60 <= event.onset <= t.end + 60
        for t in _TRUTHS
    )


def monitor_faults(seeds: int, rooms: int) -> None:
    """Monitor healthy and faulty sensors, and print the reports."""
    right: Counter[str] = Counter()
    false: Counter[str] = Counter()
    found: Counter[str] = Counter()
    fast: Counter[str] = Counter()
    fast_found: Counter[str] = Counter()
    other: Counter[str] = Counter()
    delays: dict[str, list[float]] = {name: [] for name in _FAULTS}
    sensors = 0
    for seed in range(501, 501 + seeds):
        traces = simulate_days(seed, rooms, _LEARN_DAYS + 1)
        sensors += len(traces[0])
        slow = MinuteDetectors(place)
        healthy = [event for day in traces[:-1] for event in watch(slow, day)]
        state = slow.snapshot()
        last = watch(slow, traces[-1])
        for event in [*healthy, *last]:
            if event.kind is not EventKind.AMBIENT:
                (right if _is_true(event) else false)[get_fault_kind(event)] += 1
        known = {event.id for event in last}
        for name, (fault, expected) in _FAULTS.items():
            rng = np.random.default_rng(seed)
            branch = MinuteDetectors.restore(state, place)
            hit: dict[str, float] = {}
            for event in watch(branch, [fault(trace, rng) for trace in traces[-1]]):
                if event.kind is EventKind.AMBIENT or event.id in known:
                    continue
                if get_fault_kind(event) == expected and event.alerted >= _FAULT_AT:
                    hit.setdefault(event.sensor, event.alerted - _FAULT_AT)
                else:
                    other[name] += 1
            for trace in traces[-1]:
                often = float(np.median(np.diff(trace.sent))) <= 10.5
                fast[name] += often
                fast_found[name] += often and trace.sensor in hit
            found[name] += len(hit)
            delays[name] += hit.values()
    total = sensors * (_LEARN_DAYS + 1)
    print(f"healthy: {total} sensor-days; reported, and simulated at that time: {dict(right)};")
    print(f"  false: {dict(false) or 'none'}; {sum(false.values()) / total:.4f} a sensor-day")
    for name in _FAULTS:
        wait = f", half within {np.median(delays[name]) / 60:.0f} min" if delays[name] else ""
        print(
            f"{name}: found {found[name]} of {sensors}; with intervals up to"
            f" 10 s, {fast_found[name]} of {fast[name]}{wait}; as other kinds {other[name]}"
        )


def monitor_ambient(seeds: int) -> None:
    """Monitor buildings with and without outdoor events."""
    for often in (1.0, _OFTEN):
        hits = events = wrong = building_days = 0
        for seed in range(601, 601 + seeds):
            traces = simulate_outdoors(seed, often)
            slow = MinuteDetectors(place)
            alerts = [e for day in traces for e in watch(slow, day) if e.kind is EventKind.AMBIENT]
            building_days += 2 * len(traces)
            spans = {t.session: (t.start, t.end) for t in _TRUTHS if t.kind == "ambient"}
            events += len(spans)
            hits += sum(
                any(a - 60 <= e.alerted <= b + 1800 for e in alerts) for a, b in spans.values()
            )
            wrong += sum(
                not any(a - 60 <= e.alerted <= b + 1800 for a, b in spans.values()) for e in alerts
            )
        print(
            f"building-wide, outdoor events {often:.0f} times as often: {hits} of {events} found;"
            f" {wrong} false reports in {building_days} building-days"
        )


def simulate_outdoors(seed: int, often: float) -> list[list[DeviceTrace]]:
    """Return three days of two buildings, with `often` times the usual mowing and smoke."""
    rates = dict(BUILDING_WIDE)
    try:
        BUILDING_WIDE.update({name: rate * often for name, rate in rates.items()})
        return simulate_days(seed, 24, 3)
    finally:
        BUILDING_WIDE.update(rates)


def monitor_real(folder: Path) -> None:
    """Monitor the gym recording and print every reported fault."""
    result = replay(read_recordings([folder / "gym_pms5003_61s.csv.gz"]), policy=AlertPolicy())
    kinds = (EventKind.SENSOR_FAULT, EventKind.TAMPER, EventKind.AMBIENT)
    wrong = [e for e in result.events.values() if e.kind in kinds]
    print(f"gym, 14 days of readings in whole numbers: {len(wrong)} faults reported")
    for event in wrong:
        print(f"  {event.sensor} {get_fault_kind(event)}: {join_details(event.details)}")


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rooms", type=int, default=20)
    parser.add_argument("--real", type=Path, help="folder of the gym recording")
    options = parser.parse_args()
    monitor_faults(options.seeds, options.rooms)
    monitor_ambient(options.seeds)
    if options.real:
        monitor_real(options.real)


if __name__ == "__main__":
    main()
