"""Sends the summary of last week: ``python -m plumewatch.weekly_summary``, as the service does.

It reads the configuration as JSON from its standard input and goes behind everything else of the
machine.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from alerts import sensor_tests
from alerts.errors import NotifyError
from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
from alerts.notify.notice import Notice, NoticeReason, Priority
from alerts.secrets import target_id
from language.messages import _, speaking
from plumewatch.config.faults import ConfigError
from plumewatch.config.model import PlumewatchConfig
from plumewatch.config.paths import DataPaths
from plumewatch.config.secrets import read_secret
from plumewatch.errors import UsageError
from plumewatch.report_request import ReportRequest, gather_facts
from plumewatch.service.data_folder import open_state
from reports.letter import letter
from reports.summary import summary
from reports.suppress import TooFewError
from storage.errors import StorageError
from storage.registry import natural

if TYPE_CHECKING:
    from collections.abc import Iterable


_TIMEOUT_S: Final = 60.0
_MOST_NAMED: Final = 5
_REFUSALS: Final = (ConfigError, UsageError, TooFewError, NotifyError)


def weekly_notice(config: PlumewatchConfig, now: float) -> Notice:
    """Return the summary of the week before `now`; `TooFewError` if it reveals a small count."""
    last = datetime.fromtimestamp(now, config.zone()) - timedelta(days=7)
    facts = gather_facts(config, ReportRequest("summary", week=f"{last:%G-W%V}"), now)
    with speaking(config.language):
        to_do = room_tests_to_do(config, now)
        title, text = letter(summary(facts), config.web.url, [to_do] if to_do else [])
    return Notice(
        incident="report",
        reason=NoticeReason.REPORT,
        kind="",
        room="",
        floor="",
        building=config.site,
        since=now,
        title=title,
        text=text,
        zone=config.timezone,
        priority=Priority.NORMAL,
        language=config.language,
    )


def room_tests_to_do(config: PlumewatchConfig, now: float) -> str:
    """Name the rooms whose commissioning test is due again, and those never tested, if any."""
    with open_state(DataPaths(config.data_dir).state) as state:
        tests = sensor_tests.latest(state)
    again: set[str] = set()
    first: set[str] = set()
    for sensor in config.registry().sensors.values():
        found = sensor_tests.valid_test(tests, sensor)
        if sensor_tests.is_due(found, now):
            (again if found else first).add(sensor.room)
    rooms = {room.id: room.name for room in config.room}
    sentences = []
    if again:
        named = _listed(rooms[room] for room in again)
        sentences.append(_("The yearly test is due: %(rooms)s.", rooms=named))
    if first := first - again:
        named = _listed(rooms[room] for room in first)
        sentences.append(_("Never tested: %(rooms)s.", rooms=named))
    if sentences:
        sentences.append(_("Five minutes with a phone, on the staff page: Sensors, Test rooms."))
    return " ".join(sentences)


def _listed(names: Iterable[str]) -> str:
    every = sorted(names, key=natural)
    more = len(every) - _MOST_NAMED
    return ", ".join([*every[:_MOST_NAMED], *([_("%(n)d more", n=more)] if more > 0 else [])])


def send_weekly(config: PlumewatchConfig, now: float) -> str:
    """Send the summary to the address of ``[reports]``; return what was done."""
    target = read_secret(config, "reports.weekly")
    if target is None:
        return "no weekly summary was sent: [reports] has no weekly_file"
    notice = weekly_notice(config, now)
    settings = NotifySettings(config.alerts.allow_private_targets, several=True)
    asyncio.run(AppriseNotifier(settings).send(target, notice, timeout_s=_TIMEOUT_S))
    return f"weekly summary sent to {target_id(target)}: {notice.title}"


def main() -> None:
    """Send it, and print what was done."""
    os.nice(19)
    config = PlumewatchConfig.model_validate_json(sys.stdin.buffer.read())
    try:
        done = send_weekly(config, time.time())
    except (*_REFUSALS, StorageError, sqlite3.Error, OSError) as error:
        done = f"no weekly summary was sent: {error}"
    sys.stdout.write(f"{done}\n")


if __name__ == "__main__":
    main()
