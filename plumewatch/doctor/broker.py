"""The broker: whether it answers, keeps what it should, and will be trusted tomorrow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ingest.broker_facts import examine
from ingest.errors import BrokerError, BrokerReason
from plumewatch.cli.progress import busy
from plumewatch.config.settings import broker_settings
from plumewatch.doctor.certificates import CertificateError, expiry_of_file, expiry_of_server
from plumewatch.doctor.finding import Finding, fault, fine, warn
from plumewatch.doctor.mosquitto_file import MosquittoFile, read_mosquitto
from plumewatch.service.web_server import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingest.broker_facts import BrokerFacts
    from plumewatch.config.model import PlumewatchConfig

_DAY_S: Final = 86_400.0
_HOUR_S: Final = 3_600.0
_SOON_DAYS: Final = 30.0
_MESSAGE_BYTES: Final = 500.0
_NEAR: Final = 0.8
_DEDUPE_WINDOW: Final = 512
_SHIPPED: Final = "see deploy/mosquitto.conf"


def broker_findings(config: PlumewatchConfig, now: float) -> Iterator[Finding]:
    """Try the broker and read its configuration.

    Parameters
    ----------
    now : float
        Unix seconds.
    """
    broker = config.broker
    where = f"{broker.host}:{broker.port}"
    try:
        with busy("trying the broker"):
            facts = asyncio.run(examine(broker_settings(config), trial=broker.canary))
    except BrokerError as error:
        yield fault("broker", str(error), _remedy(config, error))
    else:
        said = f", Mosquitto {facts.version.removeprefix('mosquitto version ')}"
        yield fine(
            "broker", f"{where} accepts the connection{said if 'mosq' in facts.version else ''}"
        )
        yield from _of_facts(config, facts)
    if broker.tls:
        yield _of_server("broker certificate", broker.host, broker.port, now)
        if broker.ca_file is not None:
            yield certificate_finding("broker ca_file", broker.ca_file, now)
    if broker.config_file is not None:
        try:
            file = read_mosquitto(broker.config_file)
        except OSError as error:
            yield warn(
                "broker configuration",
                f"{error.filename}: {error.strerror}",
                "let the account that runs `plumewatch check` read it, or leave out"
                " broker.config_file",
            )
        else:
            yield from file_findings(config, file)
    elif is_loopback(broker.host):
        yield fine(
            "broker configuration",
            "not looked at; name its file in broker.config_file, and limits that lose readings"
            " are found",
        )


def _remedy(config: PlumewatchConfig, error: BrokerError) -> str:
    broker = config.broker
    text = str(error).lower()
    if error.reason is BrokerReason.REFUSED:
        return (
            "set the account anew: mosquitto_passwd PASSWORD_FILE"
            f" {broker.username or 'plumewatch'}, the same into broker.password_file, then"
            " systemctl reload mosquitto"
        )
    if "expired" in text:
        return "renew the broker's certificate, and systemctl restart mosquitto"
    if "certificate" in text:
        return "put the certificate of whoever signed the broker's into broker.ca_file"
    if "ssl" in text:
        return "broker.tls and broker.port must belong to the same listener of the broker"
    if "refused" in text and is_loopback(broker.host):
        return "systemctl status mosquitto; broker.port must be one of its listeners"
    return "broker.host and broker.port; from this machine: mosquitto_sub -h HOST -p PORT -t test"


def _of_facts(config: PlumewatchConfig, facts: BrokerFacts) -> Iterator[Finding]:
    if facts.keeps_for_absent:
        yield fine("broker queue", "a message waited for a session that was away")
    elif facts.keeps_for_absent is None and config.broker.canary:
        yield warn(
            "broker queue",
            "not tried: the account may not read and write plumewatch/canary/#",
            f"give user {config.broker.username or '(none)'} `topic readwrite plumewatch/canary/#`"
            " in the broker's acl_file",
        )
    elif facts.keeps_for_absent is False:
        yield fault(
            "broker queue",
            "a message for a session that was away was lost: readings are while the service"
            " restarts",
            f"take per_listener_settings true out of the broker's configuration; {_SHIPPED}",
        )
    if facts.dropped:
        yield warn(
            "broker dropped",
            f"{facts.dropped:,} messages since its start",
            "raise max_queued_messages and max_queued_bytes there; look for clients that are"
            " away: mosquitto_sub -t '$SYS/broker/clients/#' -v",
        )
    limit = config.broker.max_queued_messages
    if facts.stored is not None and facts.stored >= _NEAR * limit:
        yield warn(
            "broker queue",
            f"it holds {facts.stored:,} messages and keeps {limit:,}",
            "start the service, which reads them; then raise max_queued_messages there and in"
            " the configuration",
        )


def file_findings(config: PlumewatchConfig, file: MosquittoFile) -> Iterator[Finding]:
    """Judge what a Mosquitto is configured to do with the readings of this school.

    Parameters
    ----------
    config : PlumewatchConfig
        Whose sensors and intervals say how many messages come.
    """
    found = [*_losses(config, file), *_openings(file)]
    yield from found
    if not found:
        yield fine("broker configuration", "keeps what it should and lets nobody else in")


def _losses(config: PlumewatchConfig, file: MosquittoFile) -> Iterator[Finding]:
    part = "broker configuration"
    if file.is_on("per_listener_settings"):
        yield fault(
            part,
            "per_listener_settings true: what waits for a session that is away is dropped without"
            " a word",
            "delete that line; put allow_anonymous, password_file and acl_file before the first"
            " listener",
        )
    if not file.is_on("persistence"):
        yield fault(
            part,
            "persistence is off: a restart of the broker loses every session and what waits in it",
            "persistence true, persistence_location /var/lib/mosquitto/",
        )
    elif file.number("autosave_interval", 1800) > 300 and not file.is_on("autosave_on_changes"):
        yield warn(
            part,
            "a broker that is killed forgets what was queued in the last"
            f" {file.number('autosave_interval', 1800):.0f} s",
            "autosave_interval 30",
        )
    yield from _queue(config, file)
    window = file.number("max_inflight_messages", 20)
    if not 100 <= window <= _DEDUPE_WINDOW:
        yield warn(
            part,
            f"max_inflight_messages {window:.0f}: below 100 slows the service down, above"
            f" {_DEDUPE_WINDOW} it may store readings twice",
            "max_inflight_messages 500",
        )


def _queue(config: PlumewatchConfig, file: MosquittoFile) -> Iterator[Finding]:
    part = "broker configuration"
    rate = sum(1 / sensor.interval_s for sensor in config.sensor)
    wanted = round(rate * _DAY_S)
    limits = {
        "max_queued_messages": file.number("max_queued_messages", 1000),
        "max_queued_bytes": file.number("max_queued_bytes", 0) / _MESSAGE_BYTES,
    }
    name, messages = min(
        ((k, v) for k, v in limits.items() if v > 0), key=lambda kept: kept[1], default=("", 0.0)
    )
    if not name:
        return
    kept_s = messages / rate
    if kept_s < _DAY_S:
        says = fault if kept_s < _HOUR_S else warn
        size = wanted if name == "max_queued_messages" else wanted * int(_MESSAGE_BYTES)
        yield says(
            part,
            f"{name} keeps {messages:,.0f} messages, {_span(kept_s)} of this school's readings;"
            " then the newest are dropped",
            f"{name} {size}, a day of {len(config.sensor)} sensors",
        )
    if name == "max_queued_messages" and messages < config.broker.max_queued_messages:
        yield warn(
            part,
            f"the broker keeps {messages:,.0f} messages, and"
            f" {config.broker.max_queued_messages:,} are reckoned with",
            f"broker.max_queued_messages = {messages:.0f} here, or more there",
        )


def _openings(file: MosquittoFile) -> Iterator[Finding]:
    part = "broker configuration"
    outside = [one for one in file.listeners if not is_loopback(one.host or "0.0.0.0")]  # noqa: S104
    if file.is_on("allow_anonymous") and file.listeners:
        says = fault if outside else warn
        yield says(
            part,
            "allow_anonymous true: whoever reaches the broker can publish and read",
            f"allow_anonymous false, and a password_file with an account a sensor; {_SHIPPED}",
        )
    elif "acl_file" not in file.settings and "plugin" not in file.settings:
        yield warn(
            part,
            "no acl_file: every account may publish as every sensor",
            f"acl_file /etc/mosquitto/plumewatch-acl; {_SHIPPED}",
        )
    for one in outside:
        if "certfile" not in one.settings:
            yield warn(
                part,
                f"listener {one.port} is open to the network without TLS: passwords can be read",
                "certfile and keyfile below that listener, or bind it to 127.0.0.1",
            )
    if not file.number("max_packet_size", 0):
        yield warn(
            part,
            "max_packet_size is not set: a client may send megabytes at once",
            "max_packet_size 65536",
        )


def certificate_finding(part: str, path: Path, now: float) -> Finding:
    """Say when a certificate in a file expires."""
    try:
        return _until(part, str(path), expiry_of_file(path), now)
    except CertificateError as error:
        return warn(part, str(error), "a file in PEM, as in: openssl x509 -in FILE -noout -dates")


def _of_server(part: str, host: str, port: int, now: float) -> Finding:
    try:
        return _until(part, f"{host}:{port}", expiry_of_server(host, port), now)
    except CertificateError as error:
        return warn(part, str(error), "whether the port is the one of the TLS listener")


def _until(part: str, whose: str, at: float, now: float) -> Finding:
    days = (at - now) / _DAY_S
    renew = f"renew the certificate of {whose} and restart what shows it"
    if days <= 0:
        return fault(part, f"{whose} expired {-days:.0f} days ago", renew)
    if days < _SOON_DAYS:
        return warn(part, f"{whose} expires in {days:.0f} days", renew)
    return fine(part, f"{whose} is good for {days:.0f} days")


def _span(seconds: float) -> str:
    if seconds < 2 * _HOUR_S:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / _HOUR_S:.0f} hours"
