"""What broker, alerting and outbound integrations take from the configuration."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from alerts.duty.recurring_silence import RecurringSilence
from alerts.duty.shifts import ClockHours, QuietHours
from alerts.duty.timetable import DAY_MIN, minutes
from alerts.errors import CalendarError, PolicyError
from alerts.notify.guarded_http import fault_of_url
from alerts.outbound.webhooks import fault_of_secret
from alerts.policy import BUILT_IN_INHIBITIONS, AlertPolicy, StaffMember, Webhook
from alerts.routing.matchers import Matcher, MatchOp, parse_matchers
from alerts.routing.muting import InhibitRule
from alerts.timings import EscalationTimings
from detection.alert_thresholds import AlertBudgets
from ingest.mqtt.connection import BrokerSettings, new_client_id
from plumewatch.config.faults import ConfigError, ConfigFault
from plumewatch.config.ingest_settings import http_sources, mapping_decoders
from plumewatch.config.roster import weekdays
from plumewatch.config.secrets import SecretReader, read_secret
from plumewatch.config.sites import ALL
from plumewatch.config.timeseries_settings import influx_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from zoneinfo import ZoneInfo

    from alerts.secrets import Secret
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.sections.staff import QuietHoursConfig, StaffConfig


def broker_settings(config: PlumewatchConfig) -> BrokerSettings:
    """Return how to reach the broker.

    Raises `ConfigError` if the password or the certificate cannot be read.
    """
    broker = config.broker
    password = read_secret(config, "broker.password")
    try:
        tls = ssl.create_default_context(cafile=broker.ca_file) if broker.tls else None
    except OSError as error:
        allowed = f"must be a readable certificate file ({error})"
        fault = ConfigFault("broker.ca_file", str(broker.ca_file), allowed)
        raise ConfigError([fault]) from error
    return BrokerSettings(
        host=broker.host,
        port=broker.port,
        client_id=broker.client_id or new_client_id(),
        username=broker.username,
        password="" if password is None else password.reveal(),
        tls=tls,
    )


def ping_url(config: PlumewatchConfig) -> Secret | None:
    """Return the address to ping while the service is ready; None for none.

    Raises `ConfigError` if it cannot be read or may not be pinged.
    """
    url = read_secret(config, "watchdog.ping_url")
    faults = [] if url is None else [*_url_faults(config, "watchdog.ping_url", url)]
    if faults:
        raise ConfigError(faults)
    return url


def _url_faults(config: PlumewatchConfig, path: str, url: Secret) -> Iterator[ConfigFault]:
    fault = fault_of_url(url.reveal(), allow_private=config.alerts.allow_private_targets)
    if fault:
        yield ConfigFault(path, "the address", fault)


def alert_budgets(config: PlumewatchConfig) -> AlertBudgets:
    """Return the tolerable false alarms of the sensors."""
    own = {s.id: s.false_alarms_per_week for s in config.sensor if s.false_alarms_per_week}
    return AlertBudgets(config.detection.false_alarms_per_sensor_week, own)


def alert_policy(config: PlumewatchConfig) -> AlertPolicy:
    """Return the rules of alerting with the addresses of all staff.

    Raises `ConfigError` with every address that cannot be read and every rule that cannot be.
    """
    reader, quiet = SecretReader(config), quiet_hours(config)
    staff = []
    for i, person in enumerate(config.staff):
        urls = [reader.require(f"staff.{i}.notify.{k}.url") for k in range(len(person.notify))]
        targets = tuple(url for url in urls if url is not None)
        staff.append(
            StaffMember(
                person.id, person.name, person.role, targets, quiet[person.id], person.language
            )
        )
    reader.check()
    inhibit = [
        InhibitRule(_matchers(rule.source), _matchers(rule.target), tuple(rule.equal))
        for rule in config.inhibit
    ]
    try:
        return AlertPolicy(
            staff=tuple(staff),
            roster=config.roster(),
            cooldown_s=config.alerts.cooldown_s,
            late_s=config.alerts.late_after_s,
            zone=config.timezone,
            language=config.language,
            page_url=config.web.url,
            timings=escalation_timings(config),
            inhibit=(*BUILT_IN_INHIBITIONS, *inhibit),
            silences=tuple(recurring_silences(config)),
        )
    except (PolicyError, CalendarError) as error:
        lines = str(error).split("\n")
        allowed = "see `plumewatch timeline`"
        raise ConfigError([ConfigFault("alerts", line, allowed) for line in lines]) from error


def recurring_silences(config: PlumewatchConfig) -> Iterator[RecurringSilence]:
    """Yield the silences that recur."""
    sites = {room.id: room.site for room in config.room}
    for entry in config.silence:
        at = entry.site or sites.get(entry.room, "")
        zone, site = config.zone(at), config.site_of(entry.site).name if entry.site else ""
        places = (("room", entry.room), ("floor", entry.floor), ("building", entry.building))
        wanted = (*places, ("site", site), ("kind", entry.kind or ""))
        matchers = tuple(str(Matcher(k, MatchOp.EQUAL, v)) for k, v in wanted if v)
        end = minutes(entry.end, latest=DAY_MIN)
        hours = ClockHours(zone, minutes(entry.start), end, weekdays(entry.days))
        yield RecurringSilence(matchers, entry.reason, hours, entry.first, entry.last)


def _matchers(texts: Iterable[str]) -> tuple[Matcher, ...]:
    return tuple(matcher for text in texts for matcher in parse_matchers(text))


def escalation_timings(config: PlumewatchConfig) -> EscalationTimings:
    """Return how fast people are paged; what is not configured follows `escalate_after_s`."""
    usual, wait = EscalationTimings(), config.alerts.escalate_after_s
    return EscalationTimings(
        escalate_after_s=wait,
        repeat_after_s=max(usual.repeat_after_s, wait),
        gather_s=min(usual.gather_s, wait / 2),
        acknowledged_for_s=config.alerts.acknowledged_for_s,
        notices_per_hour=config.alerts.notices_per_hour,
        storm_rooms=config.alerts.storm_rooms,
    )


def quiet_hours(config: PlumewatchConfig) -> dict[str, tuple[QuietHours, ...]]:
    """Return the quiet hours of all staff, by person, in the time zone of their first site."""
    return {
        p.id: tuple(_quiet(entry, home_zone(p, config)) for entry in p.quiet_hours)
        for p in config.staff
    }


def home_zone(person: StaffConfig, config: PlumewatchConfig) -> ZoneInfo:
    """Return the time zone in which a person lives: of their first site, or of the district."""
    return config.zone(next((site for site in person.sites if site != ALL), ""))


def _quiet(entry: QuietHoursConfig, zone: ZoneInfo) -> QuietHours:
    end = minutes(entry.end, latest=DAY_MIN)
    hours = ClockHours(zone, minutes(entry.start), end, weekdays(entry.days))
    return QuietHours(hours, divert=entry.then == "divert")


def webhooks(config: PlumewatchConfig) -> tuple[Webhook, ...]:
    """Return the systems that receive incidents.

    Raises `ConfigError` with every address or secret that is missing or cannot be used.
    """
    reader = SecretReader(config)
    found = []
    for i, hook in enumerate(config.outbound.webhook):
        path = f"outbound.webhook.{i}"
        url, secret = reader.require(f"{path}.url"), reader.require(f"{path}.secret")
        if url is None or secret is None:
            continue
        reader.faults += _url_faults(config, f"{path}.url", url)
        fault = fault_of_secret(secret.reveal())
        if fault:
            reader.faults.append(ConfigFault(f"{path}.secret", "the secret", fault))
        found.append(Webhook(hook.name, url, secret, frozenset(k.value for k in hook.kinds)))
    reader.check()
    return tuple(found)


class GrafanaTarget(NamedTuple):
    """The Grafana to write annotations into, and its token."""

    url: str
    token: Secret


def grafana_target(config: PlumewatchConfig) -> GrafanaTarget | None:
    """Return the Grafana that incidents are written into; None for none.

    Raises `ConfigError` if its token cannot be read, its address cannot be used, or the extra
    is not installed.
    """
    token = read_secret(config, "outbound.grafana.token")
    if token is None:
        return None
    url = config.outbound.grafana.url or config.web.grafana_url
    fault = _grafana_fault(url, token)
    if fault:
        raise ConfigError([ConfigFault("outbound.grafana", repr(url), fault)])
    return GrafanaTarget(url, token)


def _grafana_fault(url: str, token: Secret) -> str:
    if not url:
        return "needs url, or web.grafana_url"
    try:
        from dashboards.grafana import Grafana  # noqa: PLC0415 - an extra
    except ImportError:
        return "needs the extra: pip install 'plumewatch[dashboards]'"
    try:
        Grafana(url, token.reveal())
    except ValueError as error:
        return str(error)
    return ""


def check_settings(config: PlumewatchConfig) -> None:
    """Read every secret and certificate, and try the examples of every mapping.

    Raises `ConfigError` with every fault found.
    """
    faults: list[ConfigFault] = []
    for read in (
        *(broker_settings, alert_policy, ping_url, webhooks, grafana_target),
        *(mapping_decoders, http_sources, influx_settings),
        partial(read_secret, path="metrics.token"),
        partial(read_secret, path="outbound.cap.token"),
    ):
        try:
            read(config)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults, config.tree())
