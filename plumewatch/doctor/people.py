"""The people: whether anybody is on duty, can be reached, and can open the page."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from alerts.duty.gaps import gaps
from alerts.notify.apprise_notifier import NotifySettings, check_target
from alerts.notify.reachability import why_unreachable
from plumewatch.cli.routes_command import all_incidents
from plumewatch.cli.staff_command import without_password
from plumewatch.config.ingest_settings import http_sources
from plumewatch.config.settings import alert_policy, quiet_hours
from plumewatch.doctor.broker import certificate_finding
from plumewatch.doctor.finding import Finding, fault, fine, warn
from plumewatch.doctor.holder import holder
from plumewatch.service.web_server import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alerts.policy import StaffMember
    from plumewatch.config.model import PlumewatchConfig

_LOOK_AHEAD: Final = timedelta(days=14)
_TARGET = "`notify` of the [[staff]] block: one Apprise URL in a file of its own"


def duty_findings(config: PlumewatchConfig, now: float) -> Iterator[Finding]:
    """Look for lesson periods of the next days in which nobody on duty would hear."""
    if not config.bells:
        return
    begin = datetime.fromtimestamp(now, UTC)
    found = list(
        gaps(
            config.roster(),
            all_incidents(config),
            begin,
            begin + _LOOK_AHEAD,
            quiet_hours(config),
        )
    )
    if not found:
        yield fine(
            "duty",
            f"somebody is on duty in every lesson period of the next {_LOOK_AHEAD.days} days",
        )
        return
    rooms = len({gap.room for gap in found})
    first = found[0]
    local = first.start.astimezone(config.zone())
    yield warn(
        "duty",
        f"nobody on duty would hear at {len({gap.start for gap in found})} times of the next"
        f" {_LOOK_AHEAD.days} days in {rooms} rooms; first {local:%a %Y-%m-%d %H:%M}, {first.room}",
        "plumewatch routes gaps lists them; a [[shift]] for those periods, or the missing"
        " addresses of who is on duty",
    )


def notifier_findings(config: PlumewatchConfig) -> Iterator[Finding]:
    """Try whether the services of all addresses answer; nothing is sent."""
    settings = NotifySettings(allow_private=config.alerts.allow_private_targets)
    policy = alert_policy(config)
    reachable = [member for member in policy.staff if member.targets]
    if not reachable:
        yield fault(
            "notifiers",
            "no member of staff has an address, so nobody would be told;"
            " give at least one `notify`",
            'such as notify = [{ url_file = "secrets/ap-north" }] in a [[staff]] block',
        )
    targets = [(member, target) for member in reachable for target in member.targets]
    answers = asyncio.run(why_unreachable([target for _, target in targets], settings))
    silent = {id(target): why for (_, target), why in zip(targets, answers, strict=True) if why}
    for member in reachable:
        yield _of_member(member, settings, silent)


def _of_member(member: StaffMember, settings: NotifySettings, silent: dict[int, str]) -> Finding:
    part, count = f"notifiers: {member.id}", len(member.targets)
    wrong = [said for target in member.targets for said in check_target(target, settings)]
    if wrong:
        return fault(part, "; ".join(map(str, wrong)), _TARGET)
    away = [silent[id(target)] for target in member.targets if id(target) in silent]
    if len(away) == count:
        return fault(
            part,
            f"cannot be reached: {'; '.join(away)}",
            f"the network and the firewall of this machine, and the host in {_TARGET}",
        )
    if away:
        return warn(
            part,
            f"{len(away)} of {count} addresses cannot be reached: {'; '.join(away)}",
            f"the host in {_TARGET}",
        )
    return fine(part, f"{_addresses(member.targets)} of an allowed kind (nothing was sent)")


def _addresses(targets: Sequence[object]) -> str:
    return f"{len(targets)} address{'es' if len(targets) > 1 else ''}"


def page_finding(config: PlumewatchConfig) -> Finding:
    """Look at the staff page: its port, where links lead, who can sign in."""
    where = f"{config.web.host}:{config.web.port}"
    taken = _taken(config, "staff page", config.web.host, config.web.port)
    if taken is not None:
        return taken
    without = without_password(config)
    missing = f"; without a password: {', '.join(without)} (plumewatch staff password ID)"
    missing = missing if without else ""
    told = any(person.notify for person in config.staff)
    if told and is_loopback(config.web.host) and not config.web.public_url:
        return warn(
            "staff page",
            f"{where} is free; links in notices lead there, where no phone comes: public_url is"
            f" not given{missing}",
            'web.public_url = "https://..." of the proxy before it (docs/staff-page.md)',
        )
    return fine("staff page", f"{where} is free{missing}")


def http_ingest_findings(config: PlumewatchConfig, now: float) -> Iterator[Finding]:
    """Look at the HTTP ingest: its port, its certificate, who may post."""
    http = config.ingest.http
    sources = http_sources(config)
    if not sources:
        return
    taken = _taken(config, "http ingest", http.host, http.port)
    free = f"{http.host}:{http.port} is free"
    if taken is not None:
        yield taken
    elif http.cert_file is None and not is_loopback(http.host):
        yield warn(
            "http ingest",
            f"{free}; without TLS, so tokens can be read on the network",
            "ingest.http.cert_file and key_file, or host 127.0.0.1 behind a proxy with TLS",
        )
    else:
        yield fine("http ingest", free)
    if http.cert_file is not None:
        yield certificate_finding("http ingest certificate", http.cert_file, now)
    for source in sources:
        mine = ", ".join(sorted(source.sensors)[:5]) + ", ..." * (len(source.sensors) > 5)
        none = f"no sensor yet: give one [[sensor]] decoder = {source.decoder!r}"
        yield fine(
            f"http source: {source.name}",
            f"POST /ingest/{source.decoder}, speaks for {mine or none}",
        )


def _taken(config: PlumewatchConfig, part: str, host: str, port: int) -> Finding | None:
    """Say why an address cannot be listened on; None if it can be."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family):
            return None
    except OSError as error:
        if error.errno == errno.EADDRINUSE and holder(config) is not None:
            return fine(part, f"{host}:{port} is in use, as it should be while the service runs")
        why = os.strerror(error.errno or 0)
        return fault(
            part,
            f"cannot listen on {host}:{port}: {why}",
            f"who has it: ss -ltnp 'sport = :{port}'; another port, or an address of this machine",
        )
