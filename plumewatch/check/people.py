"""The people: whether they are on duty, can be reached and can open the page; HTTP senders."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from alerts.access import api_tokens
from alerts.access.passwords import with_password
from alerts.access.roles import Right, may
from alerts.errors import ProviderError
from alerts.escalation.coverage import coverage_gaps, paged_incidents
from alerts.notify.channels.apprise_notifier import NotifySettings, check_target
from alerts.notify.channels.reachability import why_unreachable
from ingest.decoding import Context
from ingest.errors import DecodeError
from ingest.http_poll import PollError, get
from ingest.mapping.lacks import MEANING, lacking
from ingest.message import Message
from ingest.routes import decode_message
from plumewatch.check.broker import check_file
from plumewatch.check.result import CheckResult, result
from plumewatch.config.faults import ConfigError, some
from plumewatch.config.ingest_settings import http_sources, polled_sensors, routes
from plumewatch.config.paths import DataPaths
from plumewatch.config.secrets import read_secret
from plumewatch.config.settings import alert_policy, identity_provider, quiet_hours
from plumewatch.service.web_server import is_loopback
from storage.lock import service_runs
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from alerts.policy import StaffMember
    from plumewatch.config.model import PlumewatchConfig

_T = TypeVar("_T")
_LOOK_AHEAD: Final = timedelta(days=14)
_SHOWN: Final = 10


def check_duty(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Find people on duty who may not respond, and lesson periods when nobody is notified."""
    asked = {person for shift in config.shift for person in shift.people}
    asked |= {override.add for override in config.override}
    for one in config.receiver:
        asked |= {*one.people, *one.catch_all, *chain.from_iterable(one.leads.values())}
    cannot = [p.id for p in config.staff if p.id in asked and not may(p.role, Right.ANSWER)]
    if cannot:
        yield result("cannot_respond", people=some(cannot))
    if not config.bells:
        return
    begin, days = datetime.fromtimestamp(now, UTC), _LOOK_AHEAD.days
    incidents, quiet = paged_incidents(config.registry().rooms.values()), quiet_hours(config)
    found = list(coverage_gaps(config.roster(), incidents, begin, begin + _LOOK_AHEAD, quiet))
    if not found:
        yield result("on_duty", days=days)
        return
    starts = list(dict.fromkeys(gap.start for gap in found))
    first = (start.astimezone(config.zone()) for start in starts[:_SHOWN])
    when = ", ".join(f"{start:%a %Y-%m-%d %H:%M}" for start in first)
    when += ", ..." * (len(starts) > _SHOWN)
    rooms = some(dict.fromkeys(gap.room for gap in found))
    yield result("nobody_on_duty", times=len(starts), days=days, rooms=rooms, when=when)


def check_notifiers(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check whether the servers of all addresses answer; nothing is sent."""
    del now
    settings = NotifySettings(allow_private=config.alerts.allow_private_targets)
    reachable = [member for member in alert_policy(config).staff if member.targets]
    if not reachable:
        yield result("no_address")
    targets = [target for member in reachable for target in member.targets]
    answers = iter(asyncio.run(why_unreachable(targets, settings)))
    for member in reachable:
        yield _member(member, settings, [next(answers) for _ in member.targets])
    if why := _weekly_fault(config, replace(settings, several=True)):
        yield result("weekly_wrong", why=why)


def _weekly_fault(config: PlumewatchConfig, settings: NotifySettings) -> str:
    """Return why the weekly summary cannot be sent; empty if it can, or none is to be."""
    try:
        target = read_secret(config, "reports.weekly")
    except ConfigError as error:
        return str(error)
    if target is None:
        return ""
    wrong = "; ".join(str(found) for found in check_target(target, settings))
    return wrong or asyncio.run(why_unreachable([target], settings))[0]


def _member(member: StaffMember, settings: NotifySettings, answers: Sequence[str]) -> CheckResult:
    """Check the addresses of one person; `answers` has why each is unreachable, or is empty."""
    count = len(member.targets)
    wrong = [str(found) for target in member.targets for found in check_target(target, settings)]
    if wrong:
        return result("address_wrong", person=member.id, why="; ".join(wrong))
    unreachable = [why for why in answers if why]
    if len(unreachable) == count:
        return result("address_unreachable", person=member.id, why="; ".join(unreachable))
    if unreachable:
        return result(
            "some_unreachable",
            person=member.id,
            unreachable=len(unreachable),
            count=count,
            why="; ".join(unreachable),
        )
    return result("addresses", person=member.id, count=count, plural="es" if count > 1 else "")


def check_sign_in(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Ask the sign-in provider for its document and keys; check who can sign in without it."""
    del now
    provider = identity_provider(config)
    if provider is None:
        return
    own, name = config.sign_in, provider.settings.label
    try:
        document = provider.document()
        count = len(provider.keys().keys)
    except ProviderError as error:
        why = f" ({own.issuer} {error.__cause__})" if error.__cause__ else ""
        yield result(
            "provider_fails",
            name=name,
            error=f"{str(error.message).removesuffix('.')}{why}",
            issuer=own.issuer.rstrip("/"),
        )
    else:
        if own.sends_logouts and not document.get("backchannel_logout_supported"):
            yield result("provider_reports_no_ends", name=name)
        yield result("provider_answers", name=name, keys=count, callback=provider.settings.callback)
    lost = [p.id for p in config.staff if not p.email and p.id not in own.local]
    if lost:
        yield result("cannot_sign_in", people=", ".join(lost))
    admins = {person.id for person in config.staff if person.role == "admin"} & {*own.local}
    if not admins - {*without_password(config)}:
        yield result("no_local_password", name=name, person=min(admins))


def check_tokens(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Find tokens that no school limits since they are older, and what only lost schools limit."""
    sites = config.roster().sites
    names = {site.name for site in config.registry().sites.values()}
    tokens = [t for t in _stored(config, api_tokens.listed) or () if t.expires_at > now]
    found = [t for t in tokens if t.sites is None and sites.get(t.person) is not None]
    if found:
        yield result("old_tokens", tokens=some(f"{t.id} ({t.name})" for t in found))
    lost = [(t.name, gone) for t in tokens if t.sites and (gone := t.sites - names)]
    if lost:
        schools = some({name for _, gone in lost for name in gone})
        what = some(f"token {name}" for name, _ in lost)
        yield result("lost_schools", what=what, schools=schools)


def check_page(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check the staff page: its port, where links lead, who can sign in."""
    del now
    web = config.web
    taken = _taken(config, "staff page", web.host, web.port)
    if taken is not None:
        yield taken
        return
    missing = ", ".join(without_password(config))
    missing = f"; without a password: {missing} (plumewatch staff password ID)" if missing else ""
    free = f"{web.host}:{web.port} is free"
    if any(p.notify for p in config.staff) and is_loopback(web.host) and not web.public_url:
        yield result("page_unreachable", free=free, missing=missing)
    elif not is_loopback(web.host) and not _is_protected(web.public_url):
        yield result("page_without_tls", free=free, missing=missing)
    else:
        yield result("page", free=free, missing=missing)


def _is_protected(url: str) -> bool:
    return url.startswith("https://") or is_loopback(urlsplit(url).hostname or "")


def check_http_ingest(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check HTTP ingest: its port, its certificate, and its senders."""
    http, sources = config.ingest.http, http_sources(config)
    if not sources:
        return
    free = f"{http.host}:{http.port} is free"
    taken = _taken(config, "http ingest", http.host, http.port)
    if taken is not None:
        yield taken
    elif http.cert_file is None and not is_loopback(http.host):
        yield result("ingest_without_tls", free=free)
    else:
        yield result("ingest", free=free)
    if http.cert_file is not None:
        yield check_file("http ingest certificate", http.cert_file, now)
    for source in sources:
        sensors = some(source.sensors, 5)
        sensors = sensors or f"no sensor yet: give one [[sensor]] decoder = {source.decoder!r}"
        yield result("http_source", name=source.name, decoder=source.decoder, sensors=sensors)


def check_polls(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Ask the sensors that are asked over HTTP, and read their answers."""
    polls = polled_sensors(config)
    order, context = routes(config) if polls else None, Context(zone=config.zone())
    for polled in polls:
        try:
            message = Message(polled.topic.replace("+", polled.sensor), get(polled), now)
            readings = decode_message(message, context, polled.decoder, order)
        except (PollError, DecodeError) as error:
            yield result("poll_fails", sensor=polled.sensor, error=error)
            continue
        read = {name for one in readings for name in (*one.values, *one.faults)}
        if "particles" in lacking(read, has_time=True):
            yield result("poll_blind", sensor=polled.sensor, what=MEANING["particles"])
            continue
        count = len({name for reading in readings for name in reading.values})
        yield result("poll_answers", sensor=polled.sensor, values=count)


def _taken(config: PlumewatchConfig, part: str, host: str, port: int) -> CheckResult | None:
    """Return why nobody can listen on an address; None if the service can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            return None
    except OSError as error:
        if error.errno == errno.EADDRINUSE and service_runs(DataPaths(config.data_dir).lock):
            return result("port_ours", part=part, host=host, port=port)
        return result(
            "port_taken", part=part, host=host, port=port, why=os.strerror(error.errno or 0)
        )


def without_password(config: PlumewatchConfig) -> list[str]:
    """Return the ids of staff who sign in by password and have none yet."""
    own, have = config.sign_in, _stored(config, with_password) or {}
    local = [m.id for m in config.staff if not own.issuer or m.id in own.local]
    return [person for person in local if person not in have]


def _stored(config: PlumewatchConfig, read: Callable[[sqlite3.Connection], _T]) -> _T | None:
    """Read the state database; None without one, or while its tables are not made yet."""
    path = DataPaths(config.data_dir).state
    if path.exists():
        with closing(connect(path, read_only=True)) as db, suppress(sqlite3.OperationalError):
            return read(db)
    return None
