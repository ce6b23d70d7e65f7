"""Judge history again: what versions of the detector would have said.

One task a bucket, each by itself, in order of time; a task reads every part once and shows it to
all versions. Tasks run over the cores of this machine (`on_processes`) or of a cluster
(`scale.spark.batch.on_spark`); either calls `judge`, so the result is the same.
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
"""Readings shown to the detectors at once: tens of each sensor, which share what a call costs."""
_LOOK_S: Final = 0.2
ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
"""Set to 1 where every process has one core to itself."""


class Variant(msgspec.Struct, frozen=True):
    """One version of the detector, as it would have been run.

    Attributes
    ----------
    name : str
        What reports call it.
    budget : float
        Tolerable false alarms a sensor-week.
    model : bytes
        Model file; empty for the one shipped.
    own, moved : dict of str to float
        As of `AlertBudgets`.
    """

    name: str
    budget: float
    model: bytes = b""
    own: dict[str, float] = {}
    moved: dict[str, float] = {}


class Task(msgspec.Struct, frozen=True):
    """What one core is given: a bucket and the versions.

    Attributes
    ----------
    parts : list of str
        Paths, in order.
    kinds : list of str
        Kinds of event to return in full; all if empty. Others are counted.
    """

    name: str
    parts: list[str]
    variants: list[Variant]
    kinds: list[str] = []


class Alert(msgspec.Struct):
    """One event that a version said, with its last word.

    Times are Unix seconds of event time. `explained_by` is what else accounts for it: such an event
    alerts nobody.
    """

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
    withdrawn: bool
    explained_by: str


class Judged(msgspec.Struct):
    """What a task found.

    Attributes
    ----------
    readings : int
        Shown to the detectors, once each.
    sensor_days : float
        Sum over sensors of the hours in which each was heard, days.
    first, last : float
        Event time of the first and last reading by position, Unix seconds.
    models : list of str
        Version of each variant's model.
    others : list of dict of str to int
        By variant, events of other kinds.
    """

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
    """Return a task for each bucket, the largest first, so that no core ends long after others."""
    tasks = [
        Task(f"{history.folder}/{bucket}", [str(p) for p in parts], [*variants], sorted(kinds))
        for history in histories
        for bucket, parts in history.buckets.items()
    ]
    return sorted(tasks, key=lambda task: (-sum(_size(p) for p in task.parts), task.name))


def judge(task: Task, on_bytes: Callable[[int], None] = lambda _: None) -> Judged:
    """Show a bucket to the versions, in order of time.

    Parameters
    ----------
    on_bytes : callable
        Told the size of each part when it is done.

    Raises
    ------
    HistoryError
        If a part cannot be read.
    ModelError
        If a model file is none.
    """
    streams = Streams()
    shards = []
    for variant in task.variants:
        budgets = AlertBudgets(variant.budget, variant.own, variant.moved)
        shards.append(Shard(budgets, _model(variant), streams))
    found: list[dict[str, Alert]] = [{} for _ in shards]
    others: list[Counter[str]] = [Counter() for _ in shards]
    heard, hours = dict[str, float](), 0
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
                if hour > heard.get(sensor, -1.0):
                    heard[sensor] = hour
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
    """Keep the last word on an event."""
    kind = event.kind.value
    if kinds and kind not in kinds:
        others[kind] += event.phase is EventPhase.ALERTED
        return
    building, room = streams.places.get(event.sensor, ("", ""))
    before = found.get(event.id)
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
        event.phase is EventPhase.WITHDRAWN or (before is not None and before.withdrawn),
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
    """Run tasks over the cores of this machine.

    Parameters
    ----------
    on_bytes : callable
        Progress, in bytes of the parts.

    Returns
    -------
    list of Judged
        In the order of the tasks.

    Raises
    ------
    HistoryError, ModelError
        As `judge`.
    """
    context = multiprocessing.get_context("spawn")
    done = context.Value("q", 0)
    told = 0
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
                on_bytes(done.value - told)
                told = done.value
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
    """Let every process that is started within use one core."""
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
