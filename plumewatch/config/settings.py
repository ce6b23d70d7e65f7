"""Build the settings of the service's parts from the configuration."""

from __future__ import annotations

import ssl
import time
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from alerts.access.directory import Directory
from alerts.access.own_channels import TO, Gateways, OwnChannels
from alerts.access.sign_in_rules import GroupRole, SignInRules
from alerts.duty.shifts import ClockHours
from alerts.duty.timetable import DAY_MIN, parse_minutes
from alerts.policy import AlertPolicy, EscalationTimings, StaffMember
from detection.alert_rules import AlertBudgets
from ingest.mqtt.connection import BrokerSettings, make_client_id
from plumewatch.config.checks import ENTRA, GOOGLE
from plumewatch.config.faults import ConfigError, ConfigFault, suggest_access
from plumewatch.config.ingest_settings import compile_mappings, read_http_sources
from plumewatch.config.paths import DataPaths
from plumewatch.config.roster import build_timetable, number_weekdays, select_entries
from plumewatch.config.secrets import SecretReader, read_secret
from plumewatch.config.sections.staff import SITE
from plumewatch.config.sites import ALL
from reports.school import Lesson, School, SchoolTimes, Term
from storage.http_client import find_url_fault
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxSettings
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from alerts.duty.shifts import Shift
    from alerts.page.identity_provider import IdentityProvider
    from alerts.secrets import Secret
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.sections.staff import QuietHoursConfig, StaffConfig
    from reports.school import Place
    from storage.timeseries import Series

_GOOGLE_GROUPS: Final = (
    "https://cloudidentity.googleapis.com/v1/groups/-/memberships:searchDirectGroups"
)
_GOOGLE_SCOPE: Final = "https://www.googleapis.com/auth/cloud-identity.groups.readonly"


def read_broker_settings(config: PlumewatchConfig) -> BrokerSettings:
    """Read the broker's settings; raises `ConfigError` for unreadable secrets or certificates."""
    broker = config.broker
    password = read_secret(config, "broker.password")
    return BrokerSettings(
        host=broker.host,
        port=broker.port,
        client_id=broker.client_id or make_client_id(),
        username=broker.username,
        password="" if password is None else password.reveal(),
        tls=load_certificates("broker.ca_file", broker.ca_file) if broker.tls else None,
    )


def load_certificates(path: str, file: Path | None) -> ssl.SSLContext:
    """Return a TLS context that trusts a file, or the system; raises `ConfigError`."""
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        allowed = f"must be a readable certificate file ({error})"
        remedy = suggest_access(file, error)
        raise ConfigError([ConfigFault(path, str(file), allowed, remedy)]) from error


def read_ping_url(config: PlumewatchConfig) -> Secret | None:
    """Read the watchdog's address, if any; raises `ConfigError` if it is not allowed."""
    url = read_secret(config, "watchdog.ping_url")
    private = config.alerts.allow_private_targets
    if url is not None and (fault := find_url_fault(url.reveal(), allow_private=private)):
        raise ConfigError([ConfigFault("watchdog.ping_url_file", "the address", fault)])
    return url


def build_alert_budgets(config: PlumewatchConfig) -> AlertBudgets:
    """Build the sensors' false alarm budgets."""
    own = {s.id: s.false_alarms_per_week for s in config.sensor if s.false_alarms_per_week}
    return AlertBudgets(config.detection.false_alarms_per_sensor_week, own)


def build_alert_policy(config: PlumewatchConfig) -> AlertPolicy:
    """Build the alert rules and staff addresses; `ConfigError` lists every bad address."""
    reader, quiet = SecretReader(config), build_quiet_hours(config)
    staff = []
    for i, person in enumerate(config.staff):
        urls = [reader.require(f"staff.{i}.notify.{k}.url") for k in range(len(person.notify))]
        targets = tuple(url for url in urls if url is not None)
        own = (person.id, person.name, person.role, targets, quiet[person.id])
        staff.append(StaffMember(*own, person.language, person.email))
    reader.check()
    timings = build_timings(config)
    if faults := timings.find_faults():
        raise ConfigError([ConfigFault("alerts", f, "see `plumewatch timeline`") for f in faults])
    return AlertPolicy(
        staff=tuple(staff),
        roster=config.build_roster(),
        cooldown_s=config.alerts.cooldown_s,
        late_s=config.alerts.late_after_s,
        zone=config.timezone,
        language=config.language,
        page_url=config.web.url,
        timings=timings,
    )


def read_gateways(config: PlumewatchConfig) -> Gateways:
    """Read the push server and the URLs for e-mail and text messages; raises `ConfigError`."""
    reader = SecretReader(config)
    found = Gateways(
        config.alerts.push_server, reader.read("alerts.email_url"), reader.read("alerts.phone_url")
    )
    for path, url in (("alerts.email_url", found.email), ("alerts.phone_url", found.phone)):
        if url is not None and TO not in url.reveal():
            allowed = f"must have {TO} where the address of the person goes"
            reader.faults.append(ConfigFault(f"{path}_file", "the address in that file", allowed))
    reader.check()
    return found


def build_timings(config: PlumewatchConfig) -> EscalationTimings:
    """Build the escalation timings; those without a setting depend on `escalate_after_s`."""
    usual, wait = EscalationTimings(), config.alerts.escalate_after_s
    return EscalationTimings(
        escalate_after_s=wait,
        repeat_after_s=max(usual.repeat_after_s, wait),
        gather_s=min(usual.gather_s, wait / 2),
        acknowledged_for_s=config.alerts.acknowledged_for_s,
        notices_per_hour=config.alerts.notices_per_hour,
        storm_rooms=config.alerts.storm_rooms,
    )


def build_quiet_hours(config: PlumewatchConfig) -> dict[str, tuple[ClockHours, ...]]:
    """Build each person's quiet hours, in the time zone of their first site."""
    return {
        p.id: tuple(_build_quiet(entry, find_home_zone(p, config)) for entry in p.quiet_hours)
        for p in config.staff
    }


def find_home_zone(person: StaffConfig, config: PlumewatchConfig) -> ZoneInfo:
    """Find a person's time zone: their first site's, or the district's."""
    return config.get_zone(next((site for site in person.sites if site != ALL), ""))


def _build_quiet(entry: QuietHoursConfig, zone: ZoneInfo) -> ClockHours:
    end = parse_minutes(entry.end, latest=DAY_MIN)
    return ClockHours(zone, parse_minutes(entry.start), end, number_weekdays(entry.days))


def build_sign_in_rules(config: PlumewatchConfig) -> SignInRules:
    """Build the rules for who can sign in, and how."""
    own, names = config.sign_in, {site.id: site.name for site in config.list_sites()}
    return SignInRules(
        local=config.find_password_staff(),
        second_factor=frozenset(own.second_factor),
        absent_s=own.absent_days * 86_400.0,
        groups=tuple(
            GroupRole(
                entry.group.replace(SITE, own_site),
                entry.role,
                None if ALL in sites else frozenset(names.get(s, s) for s in sites) or None,
                joins=len(config.sites) < 2 or bool(sites),
            )
            for entry in own.group
            for own_site, sites in (
                {site: [site] for site in names} if SITE in entry.group else {"": entry.sites}
            ).items()
        ),
    )


def read_alert_policy(config: PlumewatchConfig) -> AlertPolicy:
    """Return the policy with people of the directory and with channels from people's pages."""
    policy, state = build_alert_policy(config), DataPaths(config.data_dir).state
    if not state.exists():
        return policy
    policy = Directory(state, build_sign_in_rules(config)).add_to(policy)
    return OwnChannels(state, read_gateways(config)).add_to(policy)


def build_identity_provider(
    config: PlumewatchConfig, clock: Callable[[], float] = time.time
) -> IdentityProvider | None:
    """Build the sign-in provider, or return None for passwords alone; raises `ConfigError`."""
    own = config.sign_in
    if not own.issuer:
        return None
    reader = SecretReader(config)
    secret = reader.require("sign_in.client_secret")
    allow_private = config.alerts.allow_private_targets
    fault = find_url_fault(own.issuer, allow_private=allow_private)
    if fault:
        reader.faults.append(ConfigFault("sign_in.issuer", repr(own.issuer), fault))
    try:
        from alerts.page.identity_provider import IdentityProvider, ProviderSettings  # noqa: PLC0415 - an extra
    except ImportError:
        needs = "needs the extra: pip install 'plumewatch[oidc]'"
        reader.faults.append(ConfigFault("sign_in.issuer", repr(own.issuer), needs))
    reader.check()
    if secret is None:
        return None
    host = urlsplit(own.issuer).hostname
    asks_google = bool(own.group) and host == GOOGLE
    return IdentityProvider(
        ProviderSettings(
            issuer=own.issuer,
            client_id=own.client_id,
            client_secret=secret,
            callback=f"{config.web.url}/sign-in/callback",
            name=own.name,
            scope=f"{own.scope} {_GOOGLE_SCOPE}" if asks_google else own.scope,
            # Entra ID verifies only the user principal name; elsewhere, people can change that name
            email_claim="preferred_username" if host in ENTRA else "email",
            hosted_domain=own.hosted_domain,
            groups_claim=own.groups_claim,
            groups_url=_GOOGLE_GROUPS if asks_google else "",
            allow_private=allow_private,
        ),
        clock,
    )


def check_settings(config: PlumewatchConfig) -> None:
    """Read all secrets and certificates, and try the examples; `ConfigError` lists all faults."""
    faults: list[ConfigFault] = []
    for read in (
        read_broker_settings,
        build_alert_policy,
        read_ping_url,
        build_identity_provider,
        read_gateways,
        compile_mappings,
        read_http_sources,
        read_influx_settings,
        partial(read_secret, path="metrics.token"),
    ):
        try:
            read(config)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults, config.tree)


def read_influx_settings(
    config: PlumewatchConfig, username: str = "", secret: str | None = None
) -> InfluxSettings | None:
    """Read how to reach the InfluxDB, or use a given `secret`; None for the embedded store."""
    influx = config.timeseries
    if not influx.url:
        return None
    if secret is None:
        token = read_secret(config, "timeseries.token")
        username, secret = influx.username, "" if token is None else token.reveal()
    return InfluxSettings(
        influx.url.rstrip("/"),
        influx.database,
        org=influx.org,
        username=username,
        secret=secret,
        ca_file=influx.ca_file,
    )


def build_retention(config: PlumewatchConfig) -> Retention:
    """Build the retention time of each resolution."""
    kept = config.timeseries
    return Retention(kept.raw_days, kept.minute_days, kept.quarter_hour_days)


def build_series(config: PlumewatchConfig, paths: DataPaths) -> Series:
    """Build the time-series store without opening it; raises like `read_influx_settings`."""
    settings = read_influx_settings(config)
    if settings is None:
        return SqliteSeries(paths.series, build_retention(config))
    return InfluxSeries(settings, config.build_registry(), paths.influx, build_retention(config))


def build_school(config: PlumewatchConfig, site: str = "") -> School:
    """Build the places, school days, terms and roles of one site, or of all sites."""
    zone = config.get_zone(site)
    timetable = build_timetable(config, zone, site)

    def list_lessons(day: date) -> list[Lesson]:
        periods = timetable.list_periods(day)
        return [Lesson(s.start.timestamp(), s.end.timestamp(), name) for name, s in periods]

    own_terms = select_entries(config.term, site)
    terms = tuple(Term(term.name, term.first, term.last) for term in own_terms)
    several = [] if site or len(config.sites) < 2 else config.sites
    return School(
        config.site,
        zone,
        config.build_registry(),
        SchoolTimes(terms, config.reports.school_year_month),
        timetable.holidays,
        list_lessons if timetable.bells else None,
        {person.id: person.role for person in config.staff},
        {kind.value: code for kind, code in config.reports.state_codes.items()},
        {one.name: build_school(config, one.id) for one in several},
        partial(_find_shifts, config),
    )


def _find_shifts(config: PlumewatchConfig, place: Place) -> list[Shift]:
    near = {
        zone.id
        for zone in config.zone
        if place.building in ("", zone.building)
        and (not zone.site or place.site in ("", zone.site))
    }
    name = config.find_site(place.site).name if place.site else ""
    return [
        s
        for s in config.build_roster().shifts
        if (not s.zones or not near.isdisjoint(s.zones))
        and ("" in (s.site, name) or s.site == name)
    ]
