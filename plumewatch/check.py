"""``plumewatch check``: all faults of a configuration, then whether what it names answers."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import sqlite3
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from alerts.duty.gaps import gaps
from alerts.level_moves import levels
from alerts.notify import NotifySettings, check_target
from ingest.broker import probe
from ingest.decoders import DECODERS
from ingest.errors import BrokerError
from plumewatch.config import ConfigError, Fault, load
from plumewatch.http_settings import http_sources
from plumewatch.intake_settings import mapping_decoders
from plumewatch.outbound_settings import cap_token, webhooks
from plumewatch.paths import DataPaths
from plumewatch.routes_command import all_incidents
from plumewatch.settings import (
    alert_policy,
    broker_settings,
    metrics_token,
    ping_url,
)
from plumewatch.staff_command import without_password
from plumewatch.timeseries_settings import influx_settings, said_of_server
from plumewatch.web_server import is_loopback
from storage.errors import StorageError
from storage.lease import holder_of
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from alerts.policy import AlertPolicy
    from plumewatch.config import PlumewatchConfig
    from plumewatch.printer import Printer
    from storage.lease import Holder

__all__ = ["Finding", "check_secrets", "run_check", "warn_of_silence"]

log = logging.getLogger(__name__)

_LOOK_AHEAD = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one part."""

    part: str
    ok: bool
    sentence: str
    warning: bool = False


def run_check(path: Path, printer: Printer) -> int:
    """Check a configuration and what it names.

    Returns
    -------
    int
        0 all well, 2 the configuration has faults, 3 something it names does not answer.
    """
    try:
        config = load(path, decoders=frozenset(DECODERS))
        check_secrets(config)
    except ConfigError as error:
        for fault in error.faults:
            _say(Finding(fault.path, ok=False, sentence=f"{fault.value}: {fault.allowed}"), printer)
        return 2
    _say(
        Finding(
            "configuration",
            ok=True,
            sentence=f"{path} has {len(config.room)} rooms, {len(config.sensor)} sensors,"
            f" {len(config.staff)} staff and no faults",
        ),
        printer,
    )
    findings = [
        *_mappings(config),
        _broker(config),
        *_store(config),
        *_series(config),
        *_levels(config),
        *_duty(config),
        *_notifiers(config),
        _page(config),
        *_door(config),
    ]
    for finding in findings:
        _say(finding, printer)
    return 0 if all(f.ok for f in findings) else 3


def _say(finding: Finding, printer: Printer) -> None:
    word = "warn " if finding.warning else "ok   " if finding.ok else "FAULT"
    printer.say(
        f"{word} {finding.part}: {finding.sentence}",
        part=finding.part,
        ok=finding.ok,
        finding=finding.sentence,
        **({"warning": True} if finding.warning else {}),
    )


def check_secrets(config: PlumewatchConfig) -> None:
    """Read every secret and certificate, and try every example of a mapping.

    Raises
    ------
    ConfigError
        With every fault found.
    """
    faults: list[Fault] = []
    secrets = (broker_settings, alert_policy, metrics_token, ping_url, webhooks, cap_token)
    for read in (*secrets, mapping_decoders, http_sources, influx_settings):
        try:
            read(config)
        except ConfigError as error:
            faults.extend(error.faults)
    if faults:
        raise ConfigError(faults)


def warn_of_silence(config: PlumewatchConfig, policy: AlertPolicy) -> None:
    """Log at the start what would keep notices from reaching anyone."""
    settings = NotifySettings(allow_private=config.alerts.allow_private_targets)
    targets = [(member, target) for member in policy.staff for target in member.targets]
    if not targets:
        log.warning("no member of staff has an address: alerts show on the staff page only")
    for member, target in targets:
        for fault in check_target(target, settings):
            log.warning("notices to %s will fail: %s", member.id, fault)


def _mappings(config: PlumewatchConfig) -> Iterator[Finding]:
    count = sum(len(mapping.example) for mapping in config.mapping)
    if config.mapping:
        yield Finding(
            "mappings",
            ok=True,
            sentence=f"{len(config.mapping)} in the order"
            f" {', '.join(m.name for m in config.mapping)}; their {count} examples pass",
        )


def _broker(config: PlumewatchConfig) -> Finding:
    settings = broker_settings(config)
    try:
        asyncio.run(probe(settings))
    except BrokerError as error:
        return Finding("broker", ok=False, sentence=str(error))
    where = f"{settings.host}:{settings.port}"
    return Finding("broker", ok=True, sentence=f"{where} accepts the connection")


def _store(config: PlumewatchConfig) -> Iterator[Finding]:
    paths = DataPaths(config.data_dir)
    root = paths.root
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        yield Finding("store", ok=False, sentence=f"cannot write into {root}: {error.strerror}")
        return
    space = os.statvfs(root)
    free_gb = space.f_bavail * space.f_frsize / 1e9
    yield Finding(
        "store", ok=free_gb >= 1, sentence=f"{root} is writable, {free_gb:.0f} GB are free"
    )
    holder = _holder(config)
    if holder is not None:
        yield Finding("service", ok=True, sentence=f"{root} is in use by {holder}")
    for path in (paths.journal, paths.state, paths.series):
        if not path.exists():
            continue
        try:
            connect(path, read_only=True).close()
        except StorageError as error:
            yield Finding("store", ok=False, sentence=str(error))


def _series(config: PlumewatchConfig) -> Iterator[Finding]:
    settings = influx_settings(config)
    if settings is not None:
        for said in said_of_server(settings):
            yield Finding("time series", *said)


def _levels(config: PlumewatchConfig) -> Iterator[Finding]:
    """Budgets that cannot be kept, by what the service has stored of its sensors."""
    path = DataPaths(config.data_dir).state
    if not path.exists():
        return
    try:
        with closing(connect(path, read_only=True)) as connection:
            found = levels(connection)
    except (StorageError, sqlite3.Error):
        return  # said above, or written by a version without levels
    for sensor in config.sensor:
        report = found.get(sensor.id)
        if report is None or report.within_budget:
            continue
        why = "at the highest level allowed" if report.at_bound else "as feedback lowered its level"
        yield Finding(
            f"level: {sensor.id}",
            ok=True,
            warning=True,
            sentence=f"{report.expected:.1f} false alarms a week are to be expected {why},"
            f" {report.budget:g} are tolerable; find what sets it off, or tolerate more",
        )


def _duty(config: PlumewatchConfig) -> Iterator[Finding]:
    """Lesson periods of the next days in which nobody on duty would hear."""
    if not config.bells:
        return
    now = datetime.now(UTC)
    found = list(gaps(config.roster(), all_incidents(config), now, now + _LOOK_AHEAD))
    rooms = len({gap.room for gap in found})
    yield Finding(
        "duty",
        ok=True,
        warning=bool(found),
        sentence=f"nobody on duty would hear at {len({gap.start for gap in found})} times of the"
        f" next {_LOOK_AHEAD.days} days in {rooms} rooms; see `plumewatch routes gaps`"
        if found
        else f"somebody is on duty in every lesson period of the next {_LOOK_AHEAD.days} days",
    )


def _notifiers(config: PlumewatchConfig) -> Iterator[Finding]:
    settings = NotifySettings(allow_private=config.alerts.allow_private_targets)
    policy = alert_policy(config)
    reachable = [member for member in policy.staff if member.targets]
    if not reachable:
        yield Finding(
            "notifiers",
            ok=False,
            sentence="no member of staff has an address, so nobody would be told;"
            " give at least one `notify`",
        )
    for member in reachable:
        faults = [fault for target in member.targets for fault in check_target(target, settings)]
        said = "; ".join(str(fault) for fault in faults)
        count = len(member.targets)
        yield Finding(
            f"notifiers: {member.id}",
            ok=not faults,
            sentence=said
            or f"{count} address{'es' if count > 1 else ''} of an allowed kind (nothing was sent)",
        )


def _page(config: PlumewatchConfig) -> Finding:
    where = f"{config.web.host}:{config.web.port}"
    taken = _taken(config, config.web.host, config.web.port)
    if taken is not None:
        return Finding("staff page", *taken)
    told = any(person.notify for person in config.staff)
    if told and is_loopback(config.web.host) and not config.web.public_url:
        said = f"{where} is free; links in notices lead there, where no phone comes: public_url"
        return Finding("staff page", ok=True, warning=True, sentence=f"{said} is not given")
    without = without_password(config)
    if without:
        said = f"{where} is free; without a password: {', '.join(without)}"
        return Finding("staff page", ok=True, sentence=f"{said} (plumewatch staff password ID)")
    return Finding("staff page", ok=True, sentence=f"{where} is free")


def _door(config: PlumewatchConfig) -> Iterator[Finding]:
    http = config.ingest.http
    sources = http_sources(config)
    if not sources:
        return
    taken = _taken(config, http.host, http.port)
    open_to_all = http.cert_file is None and not is_loopback(http.host)
    free = f"{http.host}:{http.port} is free" + (
        "; without TLS, so tokens can be read on the network" if open_to_all else ""
    )
    yield Finding("http door", *(taken or (True, free)))
    for source in sources:
        mine = ", ".join(sorted(source.sensors)[:5]) + ", ..." * (len(source.sensors) > 5)
        none = f"no sensor yet: give one [[sensor]] decoder = {source.decoder!r}"
        yield Finding(
            f"http source: {source.name}",
            ok=True,
            sentence=f"POST /ingest/{source.decoder}, speaks for {mine or none}",
        )


def _taken(config: PlumewatchConfig, host: str, port: int) -> tuple[bool, str] | None:
    """Say why an address cannot be listened on, and whether that is well; None if it can be."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family):
            return None
    except OSError as error:
        if error.errno == errno.EADDRINUSE and _holder(config) is not None:
            return True, f"{host}:{port} is in use, as it should be while the service runs"
        why = os.strerror(error.errno or 0)
        return False, f"cannot listen on {host}:{port}: {why}"


def _holder(config: PlumewatchConfig) -> Holder | None:
    """Return which service runs on the data folder; None if none does or nobody can tell."""
    with suppress(StorageError):
        return holder_of(DataPaths(config.data_dir).lock)
    return None
