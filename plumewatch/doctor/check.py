"""``plumewatch check``: all faults of a configuration, then whether what it names works."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import check_settings
from plumewatch.config.sharding import load_shard
from plumewatch.doctor.broker import check_broker
from plumewatch.doctor.machine import check_clock, check_store
from plumewatch.doctor.people import (
    check_duty,
    check_http_ingest,
    check_notifiers,
    check_page,
    check_polls,
)
from plumewatch.doctor.result import fault, ok
from plumewatch.doctor.sensors import check_sensors
from plumewatch.doctor.servers import check_grafana, check_series
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.doctor.result import CheckResult


def check(path: Path, now: float) -> Iterator[CheckResult]:
    """Check a configuration, then whether what it names works; yield one result after the other.

    Raises `ConfigError` with every fault of the configuration.
    """
    config = load_shard(path)
    check_settings(config)
    yield ok(
        "configuration",
        f"{path} has {len(config.room)} rooms, {len(config.sensor)} sensors,"
        f" {len(config.staff)} staff and no faults",
    )
    if config.mapping:
        names = ", ".join(mapping.name for mapping in config.mapping)
        count = sum(len(mapping.example) for mapping in config.mapping)
        sentence = f"{len(config.mapping)} in the order {names}; their {count} examples pass"
        yield ok("mappings", sentence)
    kept_demo = DataPaths(config.data_dir).demo.exists()
    if kept_demo:
        sentence = "broker, sensors, phones and staff page ran only with the demo: not checked"
        yield ok("demo", sentence)
    for check_part in _OF_DEMO if kept_demo else _CHECKS:
        yield from _results(check_part, config, now)


def _results(
    check_part: Callable[[PlumewatchConfig, float], Iterable[CheckResult]],
    config: PlumewatchConfig,
    now: float,
) -> Iterator[CheckResult]:
    """Run one check; files that it cannot read are a fault of the store."""
    try:
        yield from check_part(config, now)
    except (StorageError, sqlite3.Error) as error:
        yield fault("store", str(error), f"ls -l {config.data_dir}: this account must read it")


_OF_DEMO: Final = (check_store, check_series, check_duty)
_CHECKS: Final = (
    check_broker,
    check_store,
    check_series,
    check_clock,
    check_sensors,
    check_duty,
    check_notifiers,
    check_page,
    check_http_ingest,
    check_polls,
    check_grafana,
)
