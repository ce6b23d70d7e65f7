"""Check duty, notices, sign-in, the staff page, HTTP ingest and polls."""

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

from alerts.access.directory import is_from_directory, list_people
from alerts.access.own_channels import SCHEME as WEB_PUSH
from alerts.access.own_channels import TO, ChannelKind
from alerts.access.passwords import list_with_password
from alerts.access.roles import Right, may
from alerts.errors import NotifyReason, ProviderError
from alerts.escalation.coverage import find_coverage_gaps, list_paged_labels
from alerts.notify.channels.apprise_notifier import NotifySettings, check_target
from alerts.notify.channels.reachability import find_unreachable
from alerts.secrets import find_scheme
from ingest.decoding import Context
from ingest.errors import DecodeError
from ingest.http.poll import PollError, get
from ingest.intake import decode_message
from ingest.mapping.examples import MEANING, find_missing
from ingest.validation import Message
from language.messages import write_date
from language.plain_text import pluralize
from plumewatch.check.result import CheckResult, State, fault, merge_places, ok, warn
from plumewatch.config.faults import ConfigError, list_some
from plumewatch.config.ingest_settings import build_routes, read_http_sources, read_polled_sensors
from plumewatch.config.paths import DataPaths
from plumewatch.config.secrets import SecretReader, read_secret
from plumewatch.config.sections.staff import SITE
from plumewatch.config.settings import (
    build_identity_provider,
    build_quiet_hours,
    build_sign_in_rules,
    read_alert_policy,
    read_gateways,
)
from plumewatch.service.web_server import is_loopback
from storage.audit import AuditKind
from storage.files import find_service_start
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from alerts.policy import StaffMember
    from alerts.secrets import Secret
    from ingest.decoders import Routes
    from ingest.http.poll import PolledSensor
    from plumewatch.config.model import PlumewatchConfig

_T = TypeVar("_T")
_LOOK_AHEAD: Final = timedelta(days=14)
_SHOWN: Final = 10


def check_duty(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Find people on duty without permission to respond, and class periods with nobody on duty."""
    asked = {person for shift in config.shift for person in shift.people}
    asked |= {override.add for override in config.override}
    for one in config.receiver:
        asked |= {*one.people, *one.catch_all, *chain.from_iterable(one.leads.values())}
    cannot = [p.id for p in config.staff if p.id in asked and not may(p.role, Right.ANSWER)]
    if cannot:
        yield warn(
            "duty",
            f"{list_some(cannot)}: on duty, but without permission to respond to incidents",
            'set role to "staff", "facilities" or "admin" in their [[staff]] blocks, or name other'
            " people in [[shift]], [[override]] and [[receiver]]",
        )
    if not config.bells:
        return
    begin, days = datetime.fromtimestamp(now, UTC), _LOOK_AHEAD.days
    incidents = list_paged_labels(config.build_registry().rooms.values())
    quiet = build_quiet_hours(config)
    found = list(
        find_coverage_gaps(config.build_roster(), incidents, begin, begin + _LOOK_AHEAD, quiet)
    )
    if not found:
        text = f"someone is on duty in every class period of the next {pluralize(days, 'day')}"
        yield ok("duty", text)
        return
    starts = list(dict.fromkeys(gap.start for gap in found))
    first = (start.astimezone(config.get_zone()) for start in starts[:_SHOWN])
    when = "; ".join(write_date(start, "moment") for start in first)
    when += "; ..." * (len(starts) > _SHOWN)
    rooms = list_some(dict.fromkeys(room for gap in found for room in gap.rooms))
    yield warn(
        "duty",
        f"in the next {pluralize(days, 'day')}, nobody on duty would be notified in"
        f" {pluralize(len(starts), 'class period')} ({when}); rooms: {rooms}",
        "add a [[shift]] for those periods, or the missing addresses of the people on duty",
    )


def check_notifiers(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check that addresses are valid and their servers answer; send nothing."""
    del now
    settings = NotifySettings(allow_private=config.alerts.allow_private_targets)
    staff = read_alert_policy(config).staff
    everyone = [member for member in staff if member.targets]
    joins = any(group.joins for group in build_sign_in_rules(config).groups)
    if not everyone and joins and not any(is_from_directory(member.id) for member in staff):
        yield warn(
            "notifiers",
            "nobody has joined from the directory yet, so nobody would be notified",
            f"open {config.web.url} and sign in: people join at their first sign-in, then add a"
            " channel on their page",
        )
    elif not everyone:
        yield fault(
            "notifiers",
            "no staff member has an address or a channel, so nobody would be notified",
            "let people add a channel on their page, or add"
            ' notify = [{ url_file = "secrets/ap-north" }] to a [[staff]] block',
        )
    found = ((m, tuple(t for t in m.targets if find_scheme(t) != WEB_PUSH)) for m in everyone)
    reachable = [replace(member, targets=targets) for member, targets in found if targets]
    targets = [target for member in reachable for target in member.targets]
    files = find_notify_files(config)
    reasons = dict(zip(targets, asyncio.run(find_unreachable(targets, settings)), strict=True))
    yield from merge_places(
        (member.id, _check_member(member, settings, reasons, files)) for member in reachable
    )
    gateways = read_gateways(config)
    for kind, address in (
        (ChannelKind.EMAIL, "a@school.example"),
        (ChannelKind.PHONE, "+15550100199"),
    ):
        target = gateways.build_target(kind, address)
        if target is not None and (why := _find_target_fault(target, settings)):
            text = f"{kind}_url_file: no channel of this kind can be used: {why}"
            yield fault("notifiers", text, f"put one Apprise URL with {TO} into that file")
    if why := _find_weekly_fault(config, replace(settings, several=True)):
        yield fault(
            "weekly summary",
            f"cannot be sent: {why}",
            "put one Apprise URL into the file that weekly_file in [reports] names, such as a"
            " mailtos:// URL of a mail server that this machine can reach",
        )


def find_notify_files(config: PlumewatchConfig) -> Mapping[Secret, Path]:
    """Return the file of each address that the configuration names."""
    reader, files = SecretReader(config), {}
    for i, person in enumerate(config.staff):
        for k, target in enumerate(person.notify):
            if secret := reader.read(f"staff.{i}.notify.{k}.url"):
                files[secret] = target.url_file
    return files


def _find_weekly_fault(config: PlumewatchConfig, settings: NotifySettings) -> str:
    """Return why the weekly summary cannot be sent; empty if it can be, or is not configured."""
    try:
        target = read_secret(config, "reports.weekly")
    except ConfigError as error:
        return str(error)
    return "" if target is None else _find_target_fault(target, settings)


def _find_target_fault(target: Secret, settings: NotifySettings) -> str:
    wrong = "; ".join(str(found) for found in check_target(target, settings))
    return wrong or asyncio.run(find_unreachable([target], settings))[0]


def _check_member(
    member: StaffMember,
    settings: NotifySettings,
    reasons: Mapping[Secret, str],
    files: Mapping[Secret, Path],
) -> CheckResult:
    """Check one person's addresses; `reasons`: why each cannot be reached, or an empty text."""
    count = len(member.targets)
    wrong = [
        (target, found) for target in member.targets for found in check_target(target, settings)
    ]
    if wrong:
        private = any(found.reason is NotifyReason.FORBIDDEN_ADDRESS for _, found in wrong)
        return fault(
            "notifiers",
            "; ".join(f"{files.get(target, 'own channel')}: {found}" for target, found in wrong),
            "if the server is on your network, set allow_private_targets = true in [alerts];"
            " if not, use an encrypted address, such as ntfys://"
            if private
            else "each notify file of the [[staff]] block must contain one"
            " Apprise URL of an allowed kind",
        )
    unreachable = [
        f"{files.get(target, 'own channel')}: {why}"
        for target in member.targets
        if (why := reasons[target])
    ]
    if unreachable:
        report = fault if len(unreachable) == count else warn
        return report(
            "notifiers",
            f"{len(unreachable)} of {count} addresses cannot be reached: {'; '.join(unreachable)}",
            "check the network and firewall of this machine, and the host in `notify` of"
            " the [[staff]] block: one Apprise URL per file",
        )
    counted = pluralize(count, "address", "addresses")
    return ok("notifiers", f"{counted} of an allowed kind (nothing was sent)")


def check_sign_in(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Fetch the sign-in provider's metadata and keys; check who can sign in with and without it."""
    provider = build_identity_provider(config)
    if provider is None:
        return
    own, name = config.sign_in, provider.settings.label
    try:
        count = len(asyncio.run(provider.fetch_keys()).keys)
    except ProviderError as error:
        why = f" ({own.issuer} {error.__cause__})" if error.__cause__ else ""
        yield fault(
            "sign-in",
            f"{name}: {str(error.message).removesuffix('.')}{why}; only people"
            " with passwords can sign in",
            "sign_in.issuer must match the issuer that this command prints: curl -i"
            f" {own.issuer.rstrip('/')}/.well-known/openid-configuration",
        )
    else:
        yield ok(
            "sign-in",
            f"{name} answers, with {pluralize(count, 'key')}; it sends people back to"
            f" {provider.settings.callback}",
        )
    rules = build_sign_in_rules(config)
    joined = _read_state(config, list_people) or ()
    absent = [p.id for p in joined if p.gone_at is None and p.seen_at <= now - rules.warned_s]
    if absent:
        yield warn(
            "sign-in",
            f"{list_some(absent)}: no sign-in for {rules.warned_s / 86_400:.0f} days; after"
            f" {own.absent_days}, they are removed and get no more alerts",
            "ask them to sign in, or remove people who left under Settings, People and channels",
        )
    closed = [g.group for g in rules.groups if not g.joins]
    if closed and any(person.email for person in config.staff):
        yield ok("sign-in", f"{list_some(closed)}: admits only people listed with their addresses")
    elif closed:
        yield warn(
            "sign-in",
            f"{list_some(closed)}: names no school, so nobody gets access through it",
            'set sites to ["*"] or ids of schools in its [[sign_in.group]] or line of groups.csv,'
            f" or, for one group per school, put {SITE} into the group's name",
        )
    by_password = config.find_password_staff() or frozenset()
    admins = {person.id for person in config.staff if person.role == "admin"} & by_password
    if not admins - {*find_without_password(config)}:
        text = f"nobody could sign in without {name}: no administrator has a password"
        yield warn("sign-in", text, f"plumewatch staff password {min(admins)}")


def check_page(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check the staff page: its port, the address in links, and who has no password yet."""
    del now
    web = config.web
    taken = _check_port(config, "staff page", web.host, web.port)
    if taken is not None and taken.state is not State.OK:
        yield taken
        return
    missing = ", ".join(find_without_password(config))
    missing = f"; without a password: {missing} (plumewatch staff password ID)" if missing else ""
    free = taken.sentence if taken else f"{web.host}:{web.port} is free"
    public = urlsplit(web.public_url)
    is_protected = public.scheme == "https" or is_loopback(public.hostname or "")
    has_proxy = bool(web.trusted_proxies or _read_state(config, _find_proxy))
    has_links = any(p.notify for p in config.staff) and is_loopback(web.host)
    if not web.public_url and (has_proxy or has_links):
        where = "a proxy is in front of it" if has_proxy else "no phone can reach it there"
        yield warn(
            "staff page",
            f"{free}; {where}, and public_url, which links in notices need, is not set{missing}",
            "set web.public_url to the https address of the proxy in front of it (docs/install.md)",
        )
    elif not (is_loopback(web.host) or is_protected):
        yield warn(
            "staff page",
            f"{free}; without TLS, so passwords and links can be read on the network{missing}",
            "set host to 127.0.0.1 behind a proxy with TLS, and web.public_url to its https address"
            " (docs/install.md)",
        )
    elif not web.public_url:
        alone = "for browsers on this machine only; a proxy in front of it needs web.public_url"
        yield ok("staff page", f"{free}; {alone}{missing}")
    else:
        yield ok("staff page", f"{free}{missing}")


def _find_proxy(db: sqlite3.Connection) -> bool:
    """Return whether the page has received requests through a proxy."""
    found = db.execute("SELECT 1 FROM audit WHERE kind = ? LIMIT 1", (AuditKind.PROXY,))
    return found.fetchone() is not None


def check_http_ingest(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Check the port of HTTP ingest, and list its senders."""
    del now
    http, sources = config.ingest.http, read_http_sources(config)
    if not sources:
        return
    free = f"{http.host}:{http.port} is free"
    taken = _check_port(config, "http ingest", http.host, http.port)
    if taken is not None:
        yield taken
    elif not is_loopback(http.host):
        yield warn(
            "http ingest",
            f"{free}; without TLS, so tokens can be read on the network",
            "set host to 127.0.0.1 behind a proxy with TLS (docs/http.md)",
        )
    else:
        yield ok("http ingest", free)
    for source in sources:
        sensors = list_some(source.sensors, 5)
        sensors = sensors or f"no sensor yet: add decoder = {source.decoder!r} to a [[sensor]]"
        yield ok(
            f"http source: {source.name}", f"POST /ingest/{source.decoder}, readings of {sensors}"
        )


def check_polls(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Poll the sensors that are polled over HTTP, and decode their answers."""
    polls = read_polled_sensors(config)
    order, context = build_routes(config) if polls else None, Context(zone=config.get_zone())
    return merge_places(
        (polled.sensor, _check_poll(polled, context, order, now)) for polled in polls
    )


def _check_poll(
    polled: PolledSensor, context: Context, order: Routes | None, now: float
) -> CheckResult:
    try:
        message = Message(polled.topic.replace("+", polled.sensor), asyncio.run(get(polled)), now)
        readings = decode_message(message, context, polled.decoder, order)
    except (PollError, DecodeError) as error:
        return fault("polls", str(error), "check url, user, password_file in its [[ingest.poll]]")
    read = {name for one in readings for name in (*one.values, *one.faults)}
    if "particles" in find_missing(read, has_time=True):
        return warn(
            "polls",
            f"answers, but {MEANING['particles']}",
            "use the url with its particle values, or add a particle sensor next to it"
            " (docs/devices.md)",
        )
    count = len({name for reading in readings for name in reading.values})
    return ok("polls", f"answers, with {pluralize(count, 'value')}")


def _check_port(config: PlumewatchConfig, part: str, host: str, port: int) -> CheckResult | None:
    """Return the result for an address that is in use or cannot be used; None if it is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            return None
    except OSError as error:
        if error.errno == errno.EADDRINUSE and find_service_start(DataPaths(config.data_dir).lock):
            return ok(part, f"{host}:{port} is in use, as expected while the service runs")
        remedy = (
            f"find the program that uses it: ss -ltnp 'sport = :{port}';"
            " or use another port or address"
        )
        if error.errno == errno.EACCES:
            remedy = (
                "only root may use ports below 1024: use a higher port, such as 8420, behind a"
                " proxy (docs/install.md)"
            )
        reason = os.strerror(error.errno or 0)
        return fault(part, f"cannot listen on {host}:{port}: {reason}", remedy)


def find_without_password(config: PlumewatchConfig) -> list[str]:
    """Return the ids of staff who sign in with a password but have not set one yet."""
    have, local = _read_state(config, list_with_password) or {}, config.find_password_staff()
    return [m.id for m in config.staff if m.id not in have and (local is None or m.id in local)]


def _read_state(config: PlumewatchConfig, read: Callable[[sqlite3.Connection], _T]) -> _T | None:
    """Read the state database; None if it or its tables do not exist yet."""
    path = DataPaths(config.data_dir).state
    if path.exists():
        with closing(connect(path, read_only=True)) as db, suppress(sqlite3.OperationalError):
            return read(db)
    return None
