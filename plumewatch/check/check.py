"""`plumewatch check`: list all faults of a configuration, then test the servers that it names."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Final

from ingest.mapping.examples import MEANING, describe_faulty, find_all_missing
from language.plain_text import pluralize
from plumewatch.check import broker, machine, people, sensors
from plumewatch.check.result import fault, ok, warn
from plumewatch.config.faults import list_some
from plumewatch.config.load import load
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import check_settings
from plumewatch.service.stored_values import describe_damage
from storage.errors import StorageCorruptError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from plumewatch.check.result import CheckResult
    from plumewatch.config.model import PlumewatchConfig


def check(path: Path, now: float) -> Iterator[CheckResult]:
    """Check a configuration, then the servers that it names; raises `ConfigError`.

    `now` is the time of the call. Readings keep arriving, so each check gets its own current time.
    """
    began = time.monotonic()
    config = load(path)
    check_settings(config)
    registry = config.build_registry()
    yield ok(
        "configuration",
        f"{path} has {pluralize(len(registry.rooms), 'room')},"
        f" {pluralize(len(registry.sensors), 'sensor')}, {len(config.staff)} staff and no faults",
    )
    if config.mapping:
        names = ", ".join(mapping.name for mapping in config.mapping)
        count = sum(len(mapping.example) for mapping in config.mapping)
        missing = find_all_missing(config.mapping)
        passed = "1 example passes" if count == 1 else f"{count} examples pass"
        if broken := sum(bool(e.faults) for mapping in config.mapping for e in mapping.example):
            passed += f" ({broken} with faults)"
        if timeless := list_some(missing["time"]):
            passed += f"; {timeless}: {MEANING['time']}"
        yield ok("mappings", f"{names}; their {passed}")
        for mapping in config.mapping:
            if faulty := describe_faulty(example.model_dump() for example in mapping.example):
                yield warn(
                    "mappings",
                    f"{mapping.name}: {faulty}",
                    "compare unit, scale, range and missing of its [[mapping.field]] with the data"
                    " sheet, or add an example of a valid value",
                )
        for word, better in (
            ("particles", "a particle value"),
            ("gas or PM1", "PM1 or a VOC value"),
        ):
            if lacking := list_some(missing[word]):
                yield warn(
                    "mappings",
                    f"{lacking}: {MEANING[word]}",
                    f"if the device sends {better}, add a [[mapping.field]] for it"
                    " (docs/mappings.md)",
                )
    kept_demo = DataPaths(config.data_dir).demo.exists()
    if kept_demo:
        yield ok("demo", "not checked: broker, sensors, phones and staff page run only in the demo")
    for check_part in _OF_DEMO if kept_demo else _CHECKS:
        yield from _run_check(check_part, config, now + time.monotonic() - began)


def _run_check(
    check_part: Callable[[PlumewatchConfig, float], Iterable[CheckResult]],
    config: PlumewatchConfig,
    now: float,
) -> Iterator[CheckResult]:
    """Run one check, and report files that it cannot read as a fault of the store."""
    try:
        yield from check_part(config, now)
    except StorageCorruptError:
        return  # `check_store` reports it
    except (StorageError, sqlite3.Error) as error:
        yield fault(
            "store", str(error), f"ls -l {config.data_dir}: this account must be able to read it"
        )
    except Exception:
        if not describe_damage(DataPaths(config.data_dir).state):
            raise


_OF_DEMO: Final = (machine.check_store, machine.check_series, people.check_duty)
_CHECKS: Final = (
    broker.check_broker,
    machine.check_store,
    machine.check_secrets,
    machine.check_series,
    machine.check_clock,
    machine.check_time_zones,
    sensors.check_sensors,
    people.check_duty,
    people.check_notifiers,
    people.check_page,
    people.check_sign_in,
    people.check_http_ingest,
    people.check_polls,
)
