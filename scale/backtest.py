"""Back-tests: what versions of the detector would have alerted.

Each bucket is one independent task in order of time, which reads every part once for all versions.
Tasks run on the cores of this machine (`on_processes`) or of a cluster
(`scale.spark.batch.on_spark`); both call `judge`, so the result is the same.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from detection.alert_thresholds import AlertBudgets
from detection.events import EventPhase
from detection.model import Model
from scale.history import History
from scale.shard import Shard, Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from detection.events import Event

_BLOCK: Final = 50_000
"""Readings judged at once: tens of each sensor, which share the cost of a call."""
_LOOK_S: Final = 0.2
ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
"""Set to 1 if every process has one core to itself."""


class Variant(msgspec.Struct, frozen=True):
    """One version of the detector; `model` is a file, empty for the shipped one."""

    name: str
    budget: float
    model: bytes = b""
    own: dict[str, float] = {}
    moved: dict[str, float] = {}


class Task(msgspec.Struct, frozen=True):
    """One bucket, its parts in order, and versions to judge; returns alerts of `kinds`, if any."""

    name: str
    parts: list[str]
    variants: list[Variant]
    kinds: list[str] = []


class Alert(msgspec.Struct):
    """The final state of an event of one version; with `explained_by` it alerts nobody."""

    variant: int
    id: str
    sensor: str
    building: str
    room: str
    kind: str
    onset: float
    alerted: float
    end: float | None
    confidence: float
    explained_by: str


class Judged(msgspec.Struct):
    """Result of a task; `sensor_days` sums hours with readings, `others` counts further kinds."""

    name: str
    readings: int
    sensor_days: float
    first: float
    last: float
    models: list[str]
    alerts: list[Alert]
    others: list[dict[str, int]]


def tasks_of(
    histories: Iterable[History], variants: Sequence[Variant], kinds: Collection[str] = ()
) -> list[Task]:
    """Return one task per bucket, the largest first, so that all cores finish together."""
    tasks = [
        Task(f"{history.folder}/{bucket}", [str(p) for p in parts], [*variants], sorted(kinds))
        for history in histories
        for bucket, parts in history.buckets.items()
    ]
    return sorted(tasks, key=lambda task: (-sum(_size(p) for p in task.parts), task.name))


def judge(task: Task, on_bytes: Callable[[int], None] = lambda _: None) -> Judged:
    """Judge a bucket by all versions; raises `HistoryError` or `ModelError`."""
    streams = Streams()
    shards = []
    for variant in task.variants:
        budgets = AlertBudgets(variant.budget, variant.own, variant.moved)
        shards.append(Shard(budgets, _model(variant), streams))
    found: list[dict[str, Alert]] = [{} for _ in shards]
    others: list[Counter[str]] = [Counter() for _ in shards]
    seen, hours = dict[str, float](), 0
    readings, first, last = 0, float("inf"), float("-inf")
    for path in task.parts:
        frame = History.read(Path(path))
        for start in range(0, frame.height, _BLOCK):
            block = frame[start : start + _BLOCK]
            stream = streams.of(block)
            for k, shard in enumerate(shards):
                for event in shard.step(stream):
                    _note(k, event, streams, found[k], others[k], task.kinds)
        if frame.height:
            readings += frame.height
            first, last = min(first, frame["time"][0]), max(last, frame["time"][-1])
            spans = frame.select("sensor", (frame["time"] // 3600.0).alias("hour")).unique()
            for sensor, hour in spans.sort("hour").iter_rows():
                if hour > seen.get(sensor, -1.0):
                    seen[sensor] = hour
                    hours += 1
        on_bytes(_size(path))
    return Judged(
        task.name,
        readings,
        hours / 24,
        first,
        last,
        [shard.model_version for shard in shards],
        [alert for alerts in found for alert in alerts.values()],
        [dict(counted) for counted in others],
    )


def _note(
    variant: int,
    event: Event,
    streams: Streams,
    found: dict[str, Alert],
    others: Counter[str],
    kinds: Collection[str],
) -> None:
    """Keep the latest state of an event."""
    kind = event.kind.value
    if kinds and kind not in kinds:
        others[kind] += event.phase is EventPhase.ALERTED
        return
    building, room = streams.places.get(event.sensor, ("", ""))
    found[event.id] = Alert(
        variant,
        event.id,
        event.sensor,
        building,
        room,
        kind,
        event.onset,
        event.alerted,
        event.end,
        event.confidence,
        event.explained_by,
    )


@lru_cache(maxsize=8)
def _of_bytes(body: bytes) -> Model:
    return Model.from_bytes(body)


def _model(variant: Variant) -> Model | None:
    return _of_bytes(variant.model) if variant.model else None


def _size(path: str) -> int:
    return Path(path).stat().st_size


def on_processes(
    tasks: Sequence[Task], processes: int, on_bytes: Callable[[int], None] = lambda _: None
) -> list[Judged]:
    """Run tasks on the cores of this machine, with the errors of `judge`."""
    context = multiprocessing.get_context("spawn")
    done = context.Value("q", 0)
    reported = 0
    with (
        _single_threads(),
        ProcessPoolExecutor(
            max(1, min(processes, len(tasks))), context, initializer=_share, initargs=(done,)
        ) as pool,
    ):
        futures = [pool.submit(_judge_shared, task) for task in tasks]
        waiting = set(futures)
        try:
            while waiting:
                ended, waiting = wait(waiting, _LOOK_S, FIRST_COMPLETED)
                for future in ended:
                    future.result()
                on_bytes(done.value - reported)
                reported = done.value
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


_DONE: Any = None


def _share(done: Any) -> None:
    global _DONE  # noqa: PLW0603 - how a process pool hands a counter to its workers
    _DONE = done


def _judge_shared(task: Task) -> Judged:
    def count(size: int) -> None:
        with _DONE.get_lock():
            _DONE.value += size

    return judge(task, count)


@contextmanager
def _single_threads() -> Iterator[None]:
    """Limit processes started within to one core each."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
