"""``plumewatch check``: all faults of a configuration, then whether what it names answers."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from alerts.notify.apprise_notifier import NotifySettings, check_target
from plumewatch.cli.exit_codes import USAGE
from plumewatch.config.faults import ConfigError
from plumewatch.config.settings import check_settings
from plumewatch.config.sharding import load_shard
from plumewatch.doctor.broker import broker_findings
from plumewatch.doctor.finding import fault, fine, tell
from plumewatch.doctor.machine import clock_findings, series_findings, store_findings
from plumewatch.doctor.outward import grafana_findings
from plumewatch.doctor.people import (
    duty_findings,
    http_ingest_findings,
    notifier_findings,
    page_finding,
)
from plumewatch.doctor.sensors import sensor_findings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from alerts.policy import AlertPolicy
    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.doctor.finding import Finding

log = logging.getLogger(__name__)


def run_check(path: Path, printer: Printer, now: float | None = None) -> int:
    """Check a configuration and what it names.

    Parameters
    ----------
    now : float, optional
        Unix seconds.

    Returns
    -------
    int
        0 all well, 2 the configuration has faults, 3 something it names does not answer or loses
        data.
    """
    now = time.time() if now is None else now
    try:
        config = load_shard(path)
        check_settings(config)
    except ConfigError as error:
        for found in error.faults:
            what_to_do = f"change {found.path} in {path}"
            tell(fault(found.path, f"{found.value}: {found.allowed}", what_to_do), printer)
        return USAGE
    said = (
        f"{path} has {len(config.room)} rooms, {len(config.sensor)} sensors,"
        f" {len(config.staff)} staff and no faults"
    )
    tell(fine("configuration", said), printer)
    well = True
    for finding in _findings(config, now):
        tell(finding, printer)
        well = well and finding.ok
    return 0 if well else 3


def _findings(config: PlumewatchConfig, now: float) -> Iterator[Finding]:
    yield from _mappings(config)
    yield from broker_findings(config, now)
    yield from store_findings(config)
    yield from series_findings(config)
    yield from clock_findings(config, now)
    yield from sensor_findings(config, now)
    yield from duty_findings(config, now)
    yield from notifier_findings(config)
    yield page_finding(config)
    yield from http_ingest_findings(config, now)
    yield from grafana_findings(config, now)


def warn_of_silence(config: PlumewatchConfig, policy: AlertPolicy) -> None:
    """Log at the start what would keep notices from reaching anyone."""
    settings = NotifySettings(allow_private=config.alerts.allow_private_targets)
    targets = [(member, target) for member in policy.staff for target in member.targets]
    if not targets:
        log.warning("no member of staff has an address: alerts show on the staff page only")
    for member, target in targets:
        for wrong in check_target(target, settings):
            log.warning("notices to %s will fail: %s", member.id, wrong)


def _mappings(config: PlumewatchConfig) -> Iterator[Finding]:
    count = sum(len(mapping.example) for mapping in config.mapping)
    if config.mapping:
        yield fine(
            "mappings",
            f"{len(config.mapping)} in the order"
            f" {', '.join(m.name for m in config.mapping)}; their {count} examples pass",
        )
