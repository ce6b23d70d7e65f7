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

from alerts.errors import NotifyError
from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
from alerts.notify.notice import Notice, NoticeReason, Priority
from alerts.routing.targets import target_id
from language.messages import speaking
from plumewatch.config.faults import ConfigError
from plumewatch.config.model import PlumewatchConfig
from plumewatch.config.secrets import read_secret
from plumewatch.errors import UsageError
from plumewatch.report_request import ReportRequest, gather_facts
from reports.summary import summary
from reports.suppress import TooFewError
from reports.view import letter
from storage.errors import StorageError

if TYPE_CHECKING:
    from alerts.notify.channels.apprise_notifier import Notifier

_TIMEOUT_S: Final = 60.0


def weekly_notice(config: PlumewatchConfig, now: float) -> Notice:
    """Return the summary of the week before `now` as a notice.

    Raises `TooFewError` if its sums would reveal a small count, else as `gather_facts`.
    """
    last = datetime.fromtimestamp(now, config.zone()) - timedelta(days=7)
    facts, _ = gather_facts(config, ReportRequest("summary", week=f"{last:%G-W%V}"), now)
    with speaking(config.language):
        title, text = letter(summary(facts), config.web.url)
    return Notice(
        incident="report",
        reason=NoticeReason.REPORT,
        kind="",
        room="",
        floor="",
        building=config.site,
        since=now,
        evidence=text,
        zone=config.timezone,
        priority=Priority.NORMAL,
        headline=title,
        language=config.language,
    )


def send_weekly(config: PlumewatchConfig, now: float, notifier: Notifier | None = None) -> str:
    """Send the summary to the address of ``[reports]``; return what was done."""
    target = read_secret(config, "reports.weekly")
    if target is None:
        return "no weekly summary was sent: [reports] has no weekly_file"
    notice = weekly_notice(config, now)
    private = NotifySettings(allow_private=config.alerts.allow_private_targets)
    sender = notifier or AppriseNotifier(private)
    asyncio.run(sender.send(target, notice, timeout_s=_TIMEOUT_S))
    return f"weekly summary sent to {target_id(target)}: {notice.headline}"


def main() -> int:
    """Send it; 0 if that was possible."""
    os.nice(19)
    config = PlumewatchConfig.model_validate_json(sys.stdin.buffer.read())
    try:
        done = send_weekly(config, time.time())
    except (ConfigError, UsageError, TooFewError, NotifyError) as error:
        sys.stdout.write(f"no weekly summary was sent: {error}\n")
        return 1
    except (StorageError, sqlite3.Error, OSError) as error:
        sys.stdout.write(f"no weekly summary was sent: {error}\n")
        return 3
    sys.stdout.write(f"{done}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
