"""Send last week's summary, in a separate process."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit, urlunsplit

from alerts.access.roles import Right, may
from alerts.errors import NotifyError
from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
from alerts.notify.notice import Notice, NoticeReason, Priority
from alerts.secrets import Secret, make_target_id
from language.messages import use_language
from plumewatch.config.faults import ConfigError
from plumewatch.config.secrets import read_secret
from plumewatch.config.settings import read_alert_policy
from plumewatch.errors import UsageError
from plumewatch.report_request import ReportRequest, gather_facts
from plumewatch.service.jobs import Done, is_due
from reports.files import write_report
from reports.letter import write_letter
from reports.summary import make_summary
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plumewatch.config.model import PlumewatchConfig


_TIMEOUT_S: Final = 60.0
_RECIPIENTS: Final = ("to", "cc", "bcc")
_REFUSALS: Final = (ConfigError, UsageError, NotifyError)


def build_weekly_notice(
    config: PlumewatchConfig, now: float, site: str = "", language: str = ""
) -> tuple[Notice, bytes]:
    """Return last week's summary of one school or all, as a notice and as a workbook."""
    language = language or config.language
    last = datetime.fromtimestamp(now, config.get_zone(site)) - timedelta(days=7)
    facts = gather_facts(config, ReportRequest("summary", week=f"{last:%G-W%V}", site=site), now)
    with use_language(language), tempfile.TemporaryDirectory() as folder:
        title, text = write_letter(make_summary(facts), config.web.public_url.rstrip("/"))
        path = Path(folder, "summary.xlsx")
        write_report("summary", facts, path, "xlsx")
        workbook = path.read_bytes()
    notice = Notice(
        incident="report",
        reason=NoticeReason.REPORT,
        kind="",
        room="",
        floor="",
        building=config.site,
        since=now,
        title=title,
        text=text,
        zone=config.get_zone(site).key,
        priority=Priority.NORMAL,
        language=language,
    )
    return notice, workbook


def send_weekly(
    config: PlumewatchConfig, since: float, now: float, sent: Sequence[str] = ()
) -> Done:
    """Send the summaries due since `since`, except those in `sent`: to `weekly_file` and staff."""
    target, done = read_secret(config, "reports.weekly"), Done()
    if target is None:
        return Done(["no weekly summary was sent: [reports] has no weekly_file"])
    for site, language, to in [("", "", target), *_find_staff_mails(config, target)]:
        key = f"{site} {make_target_id(to)}"
        if key in sent or not is_due(since, now, config.get_zone(site)):
            continue
        try:
            done.messages.append(_send(config, now, site, language, to))
            done.sent.append(key)
        except _REFUSALS as error:
            done.messages.append(f"no weekly summary{site and f' of {site}'} was sent: {error}")
            done.failed = True
    return done


def _send(config: PlumewatchConfig, now: float, site: str, language: str, target: Secret) -> str:
    settings = NotifySettings(config.alerts.allow_private_targets, several=True)
    notice, workbook = build_weekly_notice(config, now, site, language)
    sent = AppriseNotifier(settings).send(target, notice, timeout_s=_TIMEOUT_S, picture=workbook)
    asyncio.run(sent)
    return f"weekly summary sent to {make_target_id(target)}: {notice.title}"


def _find_staff_mails(
    config: PlumewatchConfig, target: Secret
) -> Iterator[tuple[str, str, Secret]]:
    """Yield a school's id, a language, and the address for mail to its staff with that language."""
    if not config.reports.weekly_to_staff:
        return
    known, url = config.build_registry().sites, urlsplit(target.reveal())
    policy = read_alert_policy(config)
    of_all = known if len(known) == 1 else ()
    for name, site in known.items():
        people: dict[str, list[str]] = {}
        for member in policy.staff:
            own = policy.find_sites(member.id)
            is_here = name in (of_all if own is None else own)
            if member.email and may(member.role, Right.SUMMARY) and is_here:
                people.setdefault(member.language, []).append(member.email)
        pairs = url.query.split("&") if url.query else []
        kept = [pair for pair in pairs if pair.partition("=")[0].lower() not in _RECIPIENTS]
        for language, emails in people.items():
            query = "&".join([*kept, f"to={quote(','.join(emails), safe='@,')}"])
            yield site.id, language, Secret(urlunsplit(url._replace(query=query, path="")))


def run(config: PlumewatchConfig, since: float, now: float, sent: Sequence[str]) -> Done:
    """Send the summaries; a failure is reported like a refused mail."""
    try:
        return send_weekly(config, since, now, sent)
    except (ConfigError, StorageError, sqlite3.Error, OSError) as error:
        return Done([f"no weekly summary was sent: {error}"], failed=True)
