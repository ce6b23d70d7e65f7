"""The people: whether they are on duty, can be reached and can open the page; HTTP senders."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from alerts.access.passwords import with_password
from alerts.escalation.coverage import coverage_gaps, paged_incidents
from alerts.notify.channels.apprise_notifier import NotifySettings, check_target
from alerts.notify.channels.reachability import why_unreachable
from ingest.decoding import Context
from ingest.errors import DecodeError
from ingest.http_poll import PollError, get
from ingest.message import Message
from ingest.routes import decode_message
from plumewatch.config.ingest_settings import http_sources, polled_sensors, routes
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import alert_policy, quiet_hours
from plumewatch.doctor.certificates import check_file
from plumewatch.doctor.result import CheckResult, fault, ok, warning
from plumewatch.service.web_server import is_loopback
from storage.lease import holder_of
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alerts.policy import StaffMember
    from plumewatch.config.model import PlumewatchConfig

_LOOK_AHEAD: Final = timedelta(days=14)
_TARGET = "`notify` of the [[staff]] block: one Apprise URL per file"


def check_duty(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Find lesson periods of the next days in which nobody on duty would be notified."""
    if not config.bells:
        return
    begin, days = datetime.fromtimestamp(now, UTC), _LOOK_AHEAD.days
    incidents, quiet = paged_incidents(config.registry().rooms.values()), quiet_hours(config)
    found = list(coverage_gaps(config.roster(), incidents, begin, begin + _LOOK_AHEAD, quiet))
    if not found:
        yield ok("duty", f"somebody is on duty in every lesson period of the next {days} days")
        return
    times, rooms = len({gap.start for gap in found}), len({gap.room for gap in found})
    first = found[0].start.astimezone(config.zone())
    yield warning(
        "duty",
        f"nobody on duty would be notified at {times} times of the next {days} days in {rooms}"
        f" rooms; first {first:%a %Y-%m-%d %H:%M}, {found[0].room}",
        "plumewatch routes gaps lists them; add a [[shift]] for those periods, or the missing"
        " addresses of the people on duty",
    )


def check_notifiers(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check whether the servers of all addresses answer; nothing is sent."""
    del now
    settings = NotifySettings(allow_private=config.alerts.allow_private_targets)
    reachable = [member for member in alert_policy(config).staff if member.targets]
    if not reachable:
        yield fault(
            "notifiers",
            "no member of staff has an address, so nobody would be notified",
            'add notify = [{ url_file = "secrets/ap-north" }] to a [[staff]] block',
        )
    targets = [target for member in reachable for target in member.targets]
    answers = iter(asyncio.run(why_unreachable(targets, settings)))
    for member in reachable:
        yield _member(member, settings, [next(answers) for _ in member.targets])


def _member(member: StaffMember, settings: NotifySettings, answers: Sequence[str]) -> CheckResult:
    """Check the addresses of one person; `answers` has why each is unreachable, or is empty."""
    part, count = f"notifiers: {member.id}", len(member.targets)
    wrong = [str(found) for target in member.targets for found in check_target(target, settings)]
    if wrong:
        return fault(part, "; ".join(wrong), _TARGET)
    unreachable = [why for why in answers if why]
    if len(unreachable) == count:
        return fault(
            part,
            f"cannot be reached: {'; '.join(unreachable)}",
            f"check the network and firewall of this machine, and the host in {_TARGET}",
        )
    if unreachable:
        return warning(
            part,
            f"{len(unreachable)} of {count} addresses cannot be reached: {'; '.join(unreachable)}",
            f"check the host in {_TARGET}",
        )
    addresses = f"{count} address{'es' if count > 1 else ''}"
    return ok(part, f"{addresses} of an allowed kind (nothing was sent)")


def check_page(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check the staff page: its port, where links lead, who can sign in."""
    del now
    web, part = config.web, "staff page"
    taken = _taken(config, part, web.host, web.port)
    if taken is not None:
        yield taken
        return
    missing = ", ".join(without_password(config))
    missing = f"; without a password: {missing} (plumewatch staff password ID)" if missing else ""
    free = f"{web.host}:{web.port} is free"
    if any(p.notify for p in config.staff) and is_loopback(web.host) and not web.public_url:
        yield warning(
            part,
            f"{free}; links in notices lead there, where no phone can reach it: public_url is not"
            f" set{missing}",
            'web.public_url = "https://..." of the proxy in front of it (docs/phone.md)',
        )
    elif not is_loopback(web.host) and not _is_protected(web.public_url):
        yield warning(
            part,
            f"{free}; without TLS, so passwords and links can be read on the network{missing}",
            'host 127.0.0.1 behind a proxy with TLS, and web.public_url = "https://..."'
            " (docs/phone.md)",
        )
    else:
        yield ok(part, f"{free}{missing}")


def _is_protected(url: str) -> bool:
    """Whether people reach the page over TLS, or on this machine only."""
    return url.startswith("https://") or is_loopback(urlsplit(url).hostname or "")


def check_http_ingest(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check HTTP ingest: its port, its certificate, and its senders."""
    http, sources, part = config.ingest.http, http_sources(config), "http ingest"
    if not sources:
        return
    free = f"{http.host}:{http.port} is free"
    taken = _taken(config, part, http.host, http.port)
    if taken is not None:
        yield taken
    elif http.cert_file is None and not is_loopback(http.host):
        yield warning(
            part,
            f"{free}; without TLS, so tokens can be read on the network",
            "ingest.http.cert_file and key_file, or host 127.0.0.1 behind a proxy with TLS",
        )
    else:
        yield ok(part, free)
    if http.cert_file is not None:
        yield check_file("http ingest certificate", http.cert_file, now)
    for source in sources:
        sensors = ", ".join(sorted(source.sensors)[:5]) + ", ..." * (len(source.sensors) > 5)
        sensors = sensors or f"no sensor yet: give one [[sensor]] decoder = {source.decoder!r}"
        sentence = f"POST /ingest/{source.decoder}, readings of {sensors}"
        yield ok(f"http source: {source.name}", sentence)


def check_polls(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Ask the sensors that are asked over HTTP, and read their answers."""
    polls = polled_sensors(config)
    order, context = routes(config) if polls else None, Context(zone=config.zone())
    for polled in polls:
        part = f"poll: {polled.sensor}"
        try:
            message = Message(polled.topic.replace("+", polled.sensor), get(polled), now)
            readings = decode_message(message, context, polled.decoder, order)
        except (PollError, DecodeError) as error:
            yield fault(part, str(error), "url, user and password_file of its [[ingest.poll]]")
            continue
        count = len({name for reading in readings for name in reading.values})
        yield ok(part, f"answers; {count} values are read")


def _taken(config: PlumewatchConfig, part: str, host: str, port: int) -> CheckResult | None:
    """Return why nobody can listen on an address; None if the service can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            return None
    except OSError as error:
        if error.errno == errno.EADDRINUSE and holder_of(DataPaths(config.data_dir).lock):
            return ok(part, f"{host}:{port} is in use, as expected while the service runs")
        return fault(
            part,
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}",
            f"find the program: ss -ltnp 'sport = :{port}'; or use another port or address",
        )


def without_password(config: PlumewatchConfig) -> list[str]:
    """Return the ids of staff who cannot sign in yet."""
    path = DataPaths(config.data_dir).state
    have: dict[str, float] = {}
    if path.exists():
        with closing(connect(path, read_only=True)) as db, suppress(sqlite3.OperationalError):
            have = with_password(db)  # there is no table if a version without passwords wrote it
    return [m.id for m in config.staff if m.id not in have]
