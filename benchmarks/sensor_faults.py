"""How often faults of sensors are found, and how often one is said of a healthy sensor.

Usage: python benchmarks/sensor_faults.py [--seeds N] [--rooms N] [--real FOLDER]

Simulated schools with every device model at its usual interval, ordinary days. Healthy sensors are
watched over four days; what is said of a sensor while the simulator had a fault in it counts as
right. The state after three days is kept, and each kind of fault is put into every sensor from
there on, one kind at a time, at ten in the morning of the fourth day. The simulator's own: covered
for two hours, blown at (`sensor_sim.faults.attacks`), one channel frozen or dead
(`sensor_sim.devices.faults`), here for six hours. Others: every channel frozen, the noise tenfold,
a channel at its ceiling.

What is said to be building-wide is held against what the simulation had outdoors, in schools of
twelve rooms a building whose days have mowing and smoke fifty times as often as ordinary ones.

With --real, the gym recording is watched as well.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alerts.policy import AlertPolicy
from detection.batch import ReadingBatch
from detection.events import EventKind, EventPhase
from detection.per_minute.detectors import MinuteDetectors
from detection.per_minute.minutes import CHANNELS
from detection.quantities import COLUMN_INDEX, COLUMNS, QUANTITIES
from plumewatch.replay import replay
from sensor_sim.faults.at_sensor import BlownAt, Covered
from sensor_sim.school import random_school
from sensor_sim.simulate import simulate
from sensor_sim.sources import BUILDING_WIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detection.events import Event
    from sensor_sim.trace import DeviceTrace, Truth

    Fault = Callable[[DeviceTrace, np.random.Generator], DeviceTrace]

_START = 1_757_311_200.0
"""A Monday, 06:00."""
_DAY_S = 86_400.0
_LEARN_DAYS = 3
_FAULT_AT = _START + _LEARN_DAYS * _DAY_S + 4 * 3600.0
_FAULT_S = 6 * 3600.0
_BATCH = 50_000
_OFTEN = 50.0


def place(sensor: str) -> tuple[str, str]:
    """Return building and room of a sensor of a random school."""
    return sensor.partition("-")[0], sensor


def days(seed: int, rooms: int, count: int, nuisance: float = 1.0) -> list[list[DeviceTrace]]:
    """Traces of each of some days."""
    _TRUTHS.clear()
    found = []
    school = random_school(seed, rooms)
    run = simulate(
        school,
        seed=seed,
        start=_START,
        duration_s=count * _DAY_S,
        chunk_s=_DAY_S,
        nuisance_rate=nuisance,
    )
    for chunk in run:
        found.append(list(chunk.traces))
        _TRUTHS.extend(t for t in chunk.truths if t.kind in {"sensor_fault", "ambient"})
    return found


_TRUTHS: list[Truth] = []


def watch(slow: MinuteDetectors, traces: Sequence[DeviceTrace]) -> list[Event]:
    """Show the traces of a day to the detectors, in order of arrival."""
    rows = [np.full(t.sent.size, slow.row(t.sensor), np.int32) for t in traces]
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


def named(event: Event) -> str:
    """Kind of fault of an event."""
    return event.model_version.rpartition("-")[2]


def _inside(trace: DeviceTrace, length_s: float) -> np.ndarray:
    return (trace.sent >= _FAULT_AT) & (trace.sent < _FAULT_AT + length_s)


def _present(trace: DeviceTrace) -> list[int]:
    return [
        COLUMN_INDEX[k] for k in CHANNELS if not np.isnan(trace.values[:, COLUMN_INDEX[k]]).all()
    ]


def _one(trace: DeviceTrace, rng: np.random.Generator) -> int:
    return int(rng.choice(_present(trace)))


def frozen(trace: DeviceTrace, rng: np.random.Generator) -> DeviceTrace:
    """One channel, drawn at random, keeps its value."""
    values, inside, column = trace.values.copy(), _inside(trace, _FAULT_S), _one(trace, rng)
    if inside.any():
        values[inside, column] = values[inside, column][0]
    return replace(trace, values=values)


def all_frozen(trace: DeviceTrace, _: np.random.Generator) -> DeviceTrace:
    """Every channel keeps its value."""
    values, inside = trace.values.copy(), _inside(trace, _FAULT_S)
    if inside.any():
        values[inside] = values[inside][0]
    return replace(trace, values=values)


def dead(trace: DeviceTrace, rng: np.random.Generator) -> DeviceTrace:
    """One channel, drawn at random, is not reported."""
    values = trace.values.copy()
    values[_inside(trace, _FAULT_S), _one(trace, rng)] = np.nan
    return replace(trace, values=values)


def noisy(trace: DeviceTrace, rng: np.random.Generator) -> DeviceTrace:
    """Make the noise of fine particles, or else of humidity, tenfold."""
    column = next(
        COLUMN_INDEX[k] for k in ("pm25", "n03", "rh") if COLUMN_INDEX[k] in _present(trace)
    )
    x = trace.values[:, column]
    step = np.diff(x[~np.isnan(x)])
    scale = max(float(np.median(np.abs(step))), 2 * QUANTITIES[COLUMNS[column]].resolution)
    values, inside = trace.values.copy(), _inside(trace, _FAULT_S)
    values[inside, column] += 10 * scale * rng.standard_normal(int(inside.sum()))
    return replace(trace, values=np.maximum(values, 0.0))


def full(trace: DeviceTrace, _: np.random.Generator) -> DeviceTrace:
    """Fine particles, or else humidity, stand at a ceiling for eight hours."""
    column = next(
        COLUMN_INDEX[k] for k in ("pm25", "n03", "rh") if COLUMN_INDEX[k] in _present(trace)
    )
    values = trace.values.copy()
    values[_inside(trace, 8 * 3600.0), column] = 100.0 if COLUMNS[column] == "rh" else 6000.0
    return replace(trace, values=values)


def covered(trace: DeviceTrace, _: np.random.Generator) -> DeviceTrace:
    """Put a bag over the sensor for two hours."""
    return Covered(trace.sensor, _FAULT_AT, _FAULT_AT + 7200.0).on_trace(trace)


def blown(trace: DeviceTrace, _: np.random.Generator) -> DeviceTrace:
    """Somebody blows into the sensor for two seconds."""
    return BlownAt(trace.sensor, _FAULT_AT + 20.0).on_trace(trace)


_FAULTS: dict[str, tuple[Fault, str]] = {
    "one channel frozen": (frozen, "frozen"),
    "all channels frozen": (all_frozen, "frozen"),
    "one channel dead": (dead, "missing"),
    "at a ceiling": (full, "saturated"),
    "noise tenfold": (noisy, "noisy"),
    "covered": (covered, "covered"),
    "blown at": (blown, "blown"),
}


def _is_true(event: Event) -> bool:
    return any(
        t.kind == "sensor_fault"
        and t.sensor == event.sensor
        and t.start - 60 <= event.onset <= t.end + 60
        for t in _TRUTHS
    )


def faults(seeds: int, rooms: int) -> None:
    """Watch healthy and faulty sensors and print what was said."""
    said: Counter[str] = Counter()
    false: Counter[str] = Counter()
    found: Counter[str] = Counter()
    fast: Counter[str] = Counter()
    fast_found: Counter[str] = Counter()
    other: Counter[str] = Counter()
    delays: dict[str, list[float]] = {name: [] for name in _FAULTS}
    sensors = 0
    for seed in range(501, 501 + seeds):
        traces = days(seed, rooms, _LEARN_DAYS + 1)
        sensors += len(traces[0])
        slow = MinuteDetectors(place)
        healthy = [event for day in traces[:-1] for event in watch(slow, day)]
        state = slow.snapshot()
        last = watch(slow, traces[-1])
        for event in [*healthy, *last]:
            if event.kind is not EventKind.AMBIENT:
                (said if _is_true(event) else false)[named(event)] += 1
        known = {event.id for event in last}
        for name, (fault, expected) in _FAULTS.items():
            rng = np.random.default_rng(seed)
            branch = MinuteDetectors.restore(state, place)
            hit: dict[str, float] = {}
            for event in watch(branch, [fault(trace, rng) for trace in traces[-1]]):
                if event.kind is EventKind.AMBIENT or event.id in known:
                    continue
                if named(event) == expected and event.alerted >= _FAULT_AT:
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
    print(f"healthy: {total} sensor-days; of faults the simulator had: {dict(said)};")
    print(f"  wrongly: {dict(false) or 'none'} = {sum(false.values()) / total:.4f} a sensor-day")
    for name in _FAULTS:
        wait = f", half within {np.median(delays[name]) / 60:.0f} min" if delays[name] else ""
        print(
            f"{name}: found {found[name]} of {sensors}; reporting up to 10 s"
            f" {fast_found[name]} of {fast[name]}{wait}; said otherwise {other[name]}"
        )


def ambient(seeds: int) -> None:
    """Watch buildings while something happens outdoors, and while nothing does."""
    for often in (1.0, _OFTEN):
        hits = events = wrong = building_days = 0
        for seed in range(601, 601 + seeds):
            traces = outdoors(seed, often)
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
            f"building-wide, outdoors {often:.0f} times as often as usual: {hits} of {events} told;"
            f" wrongly {wrong} in {building_days} building-days"
        )


def outdoors(seed: int, often: float) -> list[list[DeviceTrace]]:
    """Three days of two buildings with mowing and smoke `often` times as often as usual."""
    rates = dict(BUILDING_WIDE)
    try:
        BUILDING_WIDE.update({name: rate * often for name, rate in rates.items()})
        return days(seed, 24, 3)
    finally:
        BUILDING_WIDE.update(rates)


def real(folder: Path) -> None:
    """Watch the gym recording and print every fault that is said."""
    result = replay([folder / "gym_pms5003_61s.csv.gz"], policy=AlertPolicy())
    kinds = (EventKind.SENSOR_FAULT, EventKind.TAMPER, EventKind.AMBIENT)
    wrong = [e for e in result.events.values() if e.kind in kinds]
    print(f"gym, 14 days of whole numbers: {len(wrong)} faults said")
    for event in wrong:
        print(f"  {event.sensor} {named(event)}: {event.detail}")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rooms", type=int, default=20)
    parser.add_argument("--real", type=Path)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    faults(options.seeds, options.rooms)
    ambient(options.seeds)
    if options.real:
        real(options.real)


if __name__ == "__main__":
    main()
