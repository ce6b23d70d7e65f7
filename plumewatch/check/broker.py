"""The broker: whether it answers and queues for the service; certificates of servers and files."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from ingest.errors import BrokerError, BrokerReason
from ingest.mqtt.examine import accepts_anonymous, examine
from plumewatch.check.result import CheckResult, State, fault, ok, warn
from plumewatch.config.settings import broker_settings
from plumewatch.service.web_server import is_loopback
from storage.bounded_call import BoundedCallError, BoundedThreads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingest.mqtt.examine import BrokerFacts
    from plumewatch.config.model import PlumewatchConfig

_NEARLY_FULL: Final = 0.8


def check_broker(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Connect to the broker, and read its certificates."""
    broker = config.broker
    try:
        facts = asyncio.run(examine(broker_settings(config), trial=broker.canary))
    except BrokerError as error:
        yield fault("broker", str(error), _remedy(config, error))
    else:
        version = facts.version.removeprefix("mosquitto version ")
        version = f", Mosquitto {version}" if "mosq" in facts.version else ""
        yield ok("broker", f"{broker.host}:{broker.port} accepts the connection{version}")
        yield from check_queue(config, facts)
        if asyncio.run(accepts_anonymous(broker_settings(config))):
            yield CheckResult(
                "broker accounts",
                State.WARNING if is_loopback(broker.host) else State.FAULT,
                "it accepts connections without an account: whoever reaches it can publish",
                "allow_anonymous false there, and an account per sensor; see deploy/mosquitto.conf",
            )
    if broker.tls:
        yield check_server("broker certificate", broker.host, broker.port, now)
        if broker.ca_file is not None:
            yield check_file("broker ca_file", broker.ca_file, now)


def _remedy(config: PlumewatchConfig, error: BrokerError) -> str:
    text, is_local = str(error).lower(), is_loopback(config.broker.host)
    if error.reason is BrokerReason.REFUSED:
        user = config.broker.username or "plumewatch"
        return (
            f"set the password again: mosquitto_passwd PASSWORD_FILE {user}, the same into"
            " broker.password_file, then systemctl reload mosquitto"
        )
    if "expired" in text:
        return "renew the broker's certificate, and systemctl restart mosquitto"
    if "certificate" in text:
        return "put the certificate of the broker's issuer into broker.ca_file"
    if "ssl" in text:
        return "broker.tls and broker.port must belong to the same listener"
    if "refused" in text and is_local:
        return "systemctl status mosquitto; broker.port must be one of its listeners"
    return "broker.host and broker.port; from this machine: mosquitto_sub -h HOST -p PORT -t test"


def check_queue(config: PlumewatchConfig, facts: BrokerFacts) -> Iterator[CheckResult]:
    """Check what the broker does with messages for a disconnected session."""
    if facts.keeps_for_absent:
        yield ok("broker queue", "a message was kept for a disconnected session")
    elif facts.keeps_for_absent is False:
        yield fault(
            "broker queue",
            "a message for a disconnected session was lost: readings are lost while the"
            " service restarts",
            "delete per_listener_settings true from the broker's configuration; see"
            " deploy/mosquitto.conf",
        )
    elif config.broker.canary:
        yield warn(
            "broker queue",
            "not tried: the account may not read and write plumewatch/canary/#",
            f"give user {config.broker.username or '(none)'} `topic readwrite"
            " plumewatch/canary/#` in the broker's acl_file",
        )
    if facts.dropped:
        yield warn(
            "broker dropped",
            f"{facts.dropped:,} messages since its start",
            "raise max_queued_messages and max_queued_bytes there; look for disconnected"
            " clients: mosquitto_sub -t '$SYS/broker/clients/#' -v",
        )
    limit = config.broker.max_queued_messages
    if facts.stored is not None and facts.stored >= _NEARLY_FULL * limit:
        yield warn(
            "broker queue",
            f"it holds {facts.stored:,} messages and keeps {limit:,}",
            "start the service, which reads them; then raise max_queued_messages there"
            " and in the configuration",
        )


_DAY_S: Final = 86_400.0
_SOON_DAYS: Final = 30.0
_TIMEOUT_S: Final = 5.0
_UTC_TIME: Final = 0x17
_END: Final = "-----END CERTIFICATE-----"


class CertificateError(Exception):
    """There is no certificate, or it cannot be read."""


def check_file(part: str, path: Path, now: float) -> CheckResult:
    """Check when a certificate in a file expires."""
    try:
        return _validity(part, str(path), expiry_of_file(path), now)
    except CertificateError as error:
        return warn(
            part, str(error), "give a file in PEM, as in: openssl x509 -in FILE -noout -dates"
        )


def check_server(part: str, host: str, port: int, now: float) -> CheckResult:
    """Check when the certificate of a server expires."""
    try:
        return _validity(part, f"{host}:{port}", _expiry_of_server(host, port), now)
    except CertificateError as error:
        return warn(part, str(error), "check that the port is the one of the TLS listener")


def _validity(part: str, owner: str, expires: float, now: float) -> CheckResult:
    days = (expires - now) / _DAY_S
    if days <= 0:
        return fault(
            part,
            f"{owner} expired {-days:.0f} days ago",
            f"renew the certificate of {owner} and restart the server that uses it",
        )
    if days < _SOON_DAYS:
        return warn(
            part,
            f"{owner} expires in {days:.0f} days",
            f"renew the certificate of {owner} and restart the server that uses it",
        )
    return ok(part, f"{owner} is valid for {days:.0f} days")


def expiry(der: bytes) -> float:
    """Return when a DER certificate expires (``notAfter``), Unix seconds."""
    try:
        certificate = _elements(_elements(der)[0][1])
        fields = _elements(certificate[0][1])
        at = 4 if fields[0][0] == 0xA0 else 3  # without a version, serial comes first
        kind, text = _elements(fields[at][1])[1]
        form = "%y%m%d%H%M%SZ" if kind == _UTC_TIME else "%Y%m%d%H%M%SZ"
        return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC).timestamp()
    except (IndexError, ValueError) as error:
        raise CertificateError("not a certificate") from error


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + length > len(data):
            raise ValueError("cut off")
        found.append((tag, data[at : at + length]))
        at += length
    return found


def expiry_of_file(path: Path) -> float:
    """Return when the first certificate of a PEM file expires, Unix seconds."""
    try:
        text = path.read_text(encoding="ascii")
        pems = [part[part.index("-----BEGIN CERTIFICATE-----") :] for part in text.split(_END)[:-1]]
        return min(expiry(ssl.PEM_cert_to_DER_cert(pem + _END)) for pem in pems)
    except (OSError, ValueError) as error:
        raise CertificateError(f"{path}: no certificate in PEM can be read") from error


def _expiry_of_server(host: str, port: int) -> float:
    fetch = partial(ssl.get_server_certificate, (host, port), timeout=_TIMEOUT_S)
    try:
        pem = BoundedThreads("certificate", threads=1).call(fetch, 2 * _TIMEOUT_S)
    except (OSError, ValueError, BoundedCallError) as error:
        raise CertificateError(f"{host}:{port} does not answer in TLS: {error}") from error
    return expiry(ssl.PEM_cert_to_DER_cert(pem))
