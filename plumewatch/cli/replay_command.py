"""The command around `plumewatch.replay`: configuration, progress bar, files, exit codes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from alerts.errors import PolicyError
from alerts.policy import AlertPolicy
from plumewatch.cli.exit_codes import DONE, USAGE, told
from plumewatch.cli.progress import progress
from plumewatch.config.settings import alert_budgets
from plumewatch.config.sharding import load_shard
from plumewatch.replay import replay, write_alerts, write_events

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.replay import Replayed


def replay_policy(config: PlumewatchConfig | None) -> AlertPolicy:
    """Rules of alerting for recorded readings: the school's, or the defaults."""
    if config is None:
        return AlertPolicy()
    return AlertPolicy(cooldown_s=config.alerts.cooldown_s, zone=config.timezone)


@told(usage=(PolicyError,))
def run_replay(
    readings: Sequence[Path],
    alerts: Path,
    events: Path | None,
    config_path: Path | None,
    printer: Printer,
) -> int:
    """Run ``plumewatch replay``; see `plumewatch.cli` for exit codes."""
    wrong = [path for path in readings if not path.is_file()]
    for path in wrong:
        said = "is a folder, not a file" if path.is_dir() else "no such file"
        sys.stderr.write(f"{path}: {said}\n")
    if wrong:
        return USAGE
    folders = [path.parent for path in (alerts, events) if path is not None]
    for folder in folders:
        if not folder.is_dir():
            sys.stderr.write(f"{folder}: no such folder to write into\n")
            return USAGE
    config = None if config_path is None else load_shard(config_path)
    policy = replay_policy(config)
    bar = progress()
    total = sum(path.stat().st_size for path in readings)
    try:
        with bar:
            task = bar.add_task("replaying", total=total)
            result = replay(
                readings,
                policy=policy,
                registry=None if config is None else config.registry(),
                budgets=None if config is None else alert_budgets(config),
                on_bytes=lambda n: bar.advance(task, n),
            )
        write_alerts(alerts, result.alerts)
        if events is not None:
            write_events(events, result)
    except OSError as error:
        sys.stderr.write(f"cannot write the results: {error.strerror}\n")
        return USAGE
    printer.sum_up(
        _summary(result),
        readings=result.readings,
        events=len(result.events),
        alerts=len(result.alerts),
        replaced=result.replaced,
        unjudged=result.unjudged,
    )
    return DONE


def _summary(result: Replayed) -> str:
    lines = [
        f"{result.readings} readings, {len(result.events)} events, {len(result.alerts)} alerts"
    ]
    if result.replaced:
        lines.append(f"{result.replaced} stamped in the future: put between the rows around them")
    if result.unjudged:
        lines.append(f"{result.unjudged} not judged: not later than the sensor's reading before")
    return "\n".join(lines)
