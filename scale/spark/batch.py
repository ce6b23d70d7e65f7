"""Back-tests on a cluster: one Spark task per bucket, which calls `scale.backtest.judge`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import pandas as pd

from scale.backtest import Judged, Task, judge
from scale.errors import ScaleError
from scale.spark.session import session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyspark.sql import SparkSession

_LOOK_S: Final = 0.5


def on_spark(
    tasks: Sequence[Task],
    master: str,
    on_bytes: Callable[[int], None] = lambda _: None,
    spark: SparkSession | None = None,
) -> list[Judged]:
    """Run tasks on a cluster whose executors can read the parts; `ScaleError` if one fails."""
    used = spark or session(master, "plumewatch-backtest")
    try:
        return _collected(used, tasks, on_bytes)
    except Exception as error:
        raise ScaleError(f"Spark, {master}: {_last_line(error)}") from error
    finally:
        if spark is None:
            used.stop()


def _collected(
    spark: SparkSession, tasks: Sequence[Task], on_bytes: Callable[[int], None]
) -> list[Judged]:
    rows = [(k, msgspec.msgpack.encode(task)) for k, task in enumerate(tasks)]
    context = spark.sparkContext
    # One partition per task, so that each is scheduled and retried by itself.
    frame = spark.createDataFrame(context.parallelize(rows, len(rows)), "at int, task binary")
    found = frame.mapInPandas(_judge, "at int, judged binary")
    tracker = context.statusTracker()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(found.collect)
        reported = 0
        while not wait([future], _LOOK_S).done:
            stages = [tracker.getStageInfo(k) for k in tracker.getActiveStageIds()]
            done = max((s.numCompletedTasks for s in stages if s is not None), default=0)
            on_bytes(_bytes(tasks[reported:done]))
            reported = max(reported, done)
        on_bytes(_bytes(tasks[reported:]))
        collected = sorted(future.result())
    return [msgspec.msgpack.decode(row.judged, type=Judged) for row in collected]


def _judge(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    for frame in frames:
        tasks = (msgspec.msgpack.decode(task, type=Task) for task in frame["task"])
        judged = [msgspec.msgpack.encode(judge(task)) for task in tasks]
        yield pd.DataFrame({"at": frame["at"], "judged": judged})


def _bytes(tasks: Sequence[Task]) -> int:
    return sum(Path(part).stat().st_size for task in tasks for part in task.parts)


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    named = [line.strip() for line in lines if "Error: " in line or "Exception: " in line]
    return (named or lines or [type(error).__name__])[-1]
