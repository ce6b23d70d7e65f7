"""From what a school writes to what each part is given; secrets are read here and nowhere else."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from alerts.duty.shifts import ClockHours
from alerts.duty.wall_time import DAY_MIN, minutes
from alerts.errors import CalendarError, MatcherError, PolicyError, SecretError
from alerts.escalation.timings import EscalationTimings
from alerts.incidents.throttling import QuietHours
from alerts.notify.guarded_http import fault_of_url
from alerts.notify.secrets import load_secret
from alerts.policy import BUILT_IN_INHIBITIONS, AlertPolicy, StaffMember
from alerts.routing.labels import LABELS
from alerts.routing.matchers import parse_matchers
from alerts.routing.muting import InhibitRule
from detection.alert_thresholds import AlertBudgets
from ingest.broker import BrokerSettings
from ingest.subscriptions import Subscriptions
from plumewatch.config.faults import ConfigError, ConfigFault
from plumewatch.config.roster import weekdays

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from alerts.notify.secrets import Secret
    from alerts.routing.matchers import Matcher
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.paths import DataPaths
    from plumewatch.config.sections.alerts import InhibitConfig
    from plumewatch.config.sections.staff import QuietHoursConfig, StaffConfig


def broker_settings(config: PlumewatchConfig) -> BrokerSettings:
    """How to reach the broker.

    Raises
    ------
    ConfigError
        If the password or the certificate cannot be read.
    """
    broker = config.broker
    password = ""
    if broker.password_file or broker.password_env:
        password = secret_of(
            "broker.password", file=broker.password_file, env=broker.password_env
        ).reveal()
    tls = None
    if broker.tls:
        try:
            tls = ssl.create_default_context(cafile=broker.ca_file)
        except OSError as error:
            fault = ConfigFault(
                "broker.ca_file",
                str(broker.ca_file),
                f"must be a readable certificate file ({error})",
            )
            raise ConfigError([fault]) from error
    return BrokerSettings(
        host=broker.host,
        port=broker.port,
        client_id=broker.client_id,
        username=broker.username,
        password=password,
        tls=tls,
    )


def session_topics(config: PlumewatchConfig, paths: DataPaths) -> Subscriptions:
    """Where the topics of the broker's session are remembered."""
    broker = config.broker
    session = f"{broker.client_id}@{broker.host}:{broker.port}"
    return Subscriptions(paths.subscriptions, session)


def page_url(config: PlumewatchConfig) -> str:
    """Where staff reach the staff page, without a trailing slash."""
    web = config.web
    return (web.public_url or f"http://{web.host}:{web.port}").rstrip("/")


def metrics_token(config: PlumewatchConfig) -> Secret | None:
    """Token that reading the numbers from elsewhere needs; None if nobody may.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    metrics = config.metrics
    if not metrics.token_file and not metrics.token_env:
        return None
    return secret_of("metrics.token", file=metrics.token_file, env=metrics.token_env)


def ping_url(config: PlumewatchConfig) -> Secret | None:
    """Address that is pinged while the service is ready; None for none.

    Raises
    ------
    ConfigError
        If it cannot be read, or may not be pinged; the address is never in it.
    """
    watchdog = config.watchdog
    if not watchdog.ping_url_file and not watchdog.ping_url_env:
        return None
    place = "watchdog.ping_url"
    url = secret_of(place, file=watchdog.ping_url_file, env=watchdog.ping_url_env)
    fault = fault_of_url(url.reveal(), allow_private=config.alerts.allow_private_targets)
    if fault:
        raise ConfigError([ConfigFault(place, "the address", fault)])
    return url


def page_hosts(config: PlumewatchConfig) -> tuple[str, ...]:
    """Host names under which the staff page answers."""
    web = config.web
    names = {"127.0.0.1", "localhost", "[::1]", web.host}
    if web.public_url:
        names.add(urlsplit(web.public_url).hostname or web.host)
    return tuple(sorted(names))


def alert_budgets(config: PlumewatchConfig) -> AlertBudgets:
    """Tolerable false alarms of the sensors."""
    own = {s.id: s.false_alarms_per_week for s in config.sensor if s.false_alarms_per_week}
    return AlertBudgets(config.detection.false_alarms_per_sensor_week, own)


def alert_policy(config: PlumewatchConfig) -> AlertPolicy:
    """Rules of alerting with the addresses of all staff.

    Raises
    ------
    ConfigError
        With every address that cannot be read.
    """
    faults: list[ConfigFault] = []
    staff = [_member(i, person, config.zone(), faults) for i, person in enumerate(config.staff)]
    inhibit = [_rule(i, rule, faults) for i, rule in enumerate(config.inhibit)]
    if faults:
        raise ConfigError(faults)
    try:
        return AlertPolicy(
            staff=tuple(staff),
            roster=config.roster(),
            cooldown_s=config.alerts.cooldown_s,
            zone=config.timezone,
            page_url=page_url(config),
            timings=escalation_timings(config),
            inhibit=(*BUILT_IN_INHIBITIONS, *inhibit),
        )
    except (PolicyError, CalendarError) as error:
        raise ConfigError(
            [
                ConfigFault("alerts", line, "see `plumewatch timeline`")
                for line in str(error).split("\n")
            ]
        ) from error


def escalation_timings(config: PlumewatchConfig) -> EscalationTimings:
    """How fast the next people are asked; what a school does not set follows what it does."""
    usual, wait = EscalationTimings(), config.alerts.escalate_after_s
    return EscalationTimings(
        escalate_after_s=wait,
        repeat_after_s=max(usual.repeat_after_s, wait),
        gather_s=min(usual.gather_s, wait / 2),
        acknowledged_for_s=config.alerts.acknowledged_for_s,
        notices_per_hour=config.alerts.notices_per_hour,
        storm_rooms=config.alerts.storm_rooms,
    )


def _member(
    index: int, person: StaffConfig, zone: ZoneInfo, faults: list[ConfigFault]
) -> StaffMember:
    targets: list[Secret] = []
    for k, target in enumerate(person.notify):
        try:
            targets.append(
                secret_of(f"staff.{index}.notify.{k}", file=target.url_file, env=target.url_env)
            )
        except ConfigError as error:
            faults.extend(error.faults)
    return StaffMember(person.id, person.name, person.role, tuple(targets), _quiet_of(person, zone))


def quiet_hours(config: PlumewatchConfig) -> dict[str, tuple[QuietHours, ...]]:
    """Return the quiet hours of all staff, by person."""
    return {person.id: _quiet_of(person, config.zone()) for person in config.staff}


def _quiet_of(person: StaffConfig, zone: ZoneInfo) -> tuple[QuietHours, ...]:
    return tuple(_quiet(found, zone) for found in person.quiet_hours)


def _quiet(found: QuietHoursConfig, zone: ZoneInfo) -> QuietHours:
    end = minutes(found.end, latest=DAY_MIN)
    hours = ClockHours(zone, minutes(found.start), end, weekdays(found.days))
    return QuietHours(hours, divert=found.then == "divert")


def _rule(index: int, found: InhibitConfig, faults: list[ConfigFault]) -> InhibitRule:
    sides = []
    for name, texts in (("source", found.source), ("target", found.target)):
        matchers: list[Matcher] = []
        for text in texts:
            try:
                matchers += parse_matchers(text)
            except MatcherError as error:
                path = f"inhibit.{index}.{name}"
                faults.append(ConfigFault(path, repr(text)[:80], str(error)))
        names = {matcher.name for matcher in matchers} | set(found.equal)
        faults += [
            ConfigFault(f"inhibit.{index}", repr(n), f"one of {', '.join(LABELS)}")
            for n in sorted(names - set(LABELS))
        ]
        sides.append(tuple(matchers))
    return InhibitRule(sides[0], sides[1], tuple(found.equal))


def secret_of(what: str, *, file: object, env: str) -> Secret:
    """Read a secret; `what` is the path of its setting.

    Raises
    ------
    ConfigError
        If it cannot be read; the value is never in it.
    """
    try:
        return load_secret(what, file=str(file) if file else None, env=env or None)
    except SecretError as error:
        place, _, reason = str(error).partition(": ")
        raise ConfigError([ConfigFault(place, "unreadable", reason)]) from error
