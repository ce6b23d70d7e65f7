"""Open the Spark session for streams."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from pyspark.sql import SparkSession

if TYPE_CHECKING:
    from collections.abc import Mapping

ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
SETTINGS: Final[Mapping[str, str]] = {
    "spark.ui.enabled": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.python.daemon.module": "scale.spark.daemon",
    # By default, Spark sets these two only for some kinds of functions, and then starts separate
    # daemons and workers for each environment.
    "spark.sql.execution.pyspark.udf.faulthandler.enabled": "false",
    "spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled": "false",
    "spark.executorEnv.PYTHONFAULTHANDLER": "1",
    "spark.sql.streaming.stateStore.providerClass": (
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    ),
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
    "spark.ui.showConsoleProgress": "false",
    **{f"spark.executorEnv.{name}": "1" for name in ONE_THREAD},
}
"""Times are Unix seconds, a task uses one core, state is in RocksDB, and a trigger writes only its
changes. `spark-submit` may override these settings."""


def open_session(master: str, name: str, settings: Mapping[str, str] | None = None) -> SparkSession:
    """Return the running session, or open one; if `master` is empty, `spark-submit` sets it."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if master.startswith("local"):
        # Executors are threads of this JVM, and their workers inherit the environment.
        for variable in ONE_THREAD:
            os.environ.setdefault(variable, "1")
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.appName(name)
    if master:
        builder = builder.master(master)
    for key, value in {**SETTINGS, **(settings or {})}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
