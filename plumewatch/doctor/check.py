"""``plumewatch check``: all faults of a configuration, then whether what it names works."""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from alerts.notify.channels.apprise_notifier import NotifySettings, check_target
from plumewatch.cli.exit_codes import DONE, UNREACHABLE, USAGE
from plumewatch.config.faults import ConfigError
from plumewatch.config.settings import check_settings
from plumewatch.config.sharding import load_shard
from plumewatch.doctor.broker import check_broker
from plumewatch.doctor.machine import check_clock, check_store
from plumewatch.doctor.people import check_duty, check_http_ingest, check_notifiers, check_page
from plumewatch.doctor.result import State, fault, ok
from plumewatch.doctor.sensors import check_sensors
from plumewatch.doctor.servers import check_grafana, check_series
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from alerts.policy import AlertPolicy
    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.doctor.result import CheckResult

log = logging.getLogger(__name__)


def run_check(path: Path, printer: Printer, now: float | None = None) -> int:
    """Check a configuration and what it names.

    Return 0 if all is well, 2 if the configuration has faults, 3 if a part does not work or
    loses data.
    """
    now = time.time() if now is None else now
    try:
        config = load_shard(path)
        check_settings(config)
    except ConfigError as error:
        for found in error.faults:
            sentence = f"{found.value}: {found.allowed}"
            fault(found.path, sentence, f"change {found.path} in {path}").print(printer)
        return USAGE
    sentence = (
        f"{path} has {len(config.room)} rooms, {len(config.sensor)} sensors,"
        f" {len(config.staff)} staff and no faults"
    )
    ok("configuration", sentence).print(printer)
    if config.mapping:
        names = ", ".join(mapping.name for mapping in config.mapping)
        count = sum(len(mapping.example) for mapping in config.mapping)
        sentence = f"{len(config.mapping)} in the order {names}; their {count} examples pass"
        ok("mappings", sentence).print(printer)
    code = DONE
    for check in _CHECKS:
        for result in _results(check, config, now):
            result.print(printer)
            code = UNREACHABLE if result.state is State.FAULT else code
    return code


def _results(
    check: Callable[[PlumewatchConfig, float], Iterable[CheckResult]],
    config: PlumewatchConfig,
    now: float,
) -> Iterator[CheckResult]:
    """Run one check; files that it cannot read are a fault of the store."""
    try:
        yield from check(config, now)
    except (StorageError, sqlite3.Error) as error:
        yield fault("store", str(error), f"ls -l {config.data_dir}: this account must read it")


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
    check_grafana,
)


def log_notifier_problems(config: PlumewatchConfig, policy: AlertPolicy) -> None:
    """Log what would keep notices from being delivered."""
    settings = NotifySettings(allow_private=config.alerts.allow_private_targets)
    targets = [(member, target) for member in policy.staff for target in member.targets]
    if not targets:
        log.warning("no member of staff has an address: alerts show on the staff page only")
    for member, target in targets:
        for wrong in check_target(target, settings):
            log.warning("notices to %s will fail: %s", member.id, wrong)
