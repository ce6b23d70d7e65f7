"""Check that the broker answers and queues messages, and when certificates expire."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from typing import TYPE_CHECKING, Final

from ingest.errors import BrokerError, BrokerReason
from ingest.mqtt.examine import accepts_anonymous, examine
from language.messages import count_noun
from plumewatch.check.result import CheckResult, State, fault, ok, warn
from plumewatch.config.settings import read_broker_settings
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
        facts = asyncio.run(examine(read_broker_settings(config), trial=broker.canary))
    except BrokerError as error:
        yield fault("broker", str(error), _suggest_remedy(config, error))
    else:
        version = facts.version.removeprefix("mosquitto version ")
        version = f", Mosquitto {version}" if "mosq" in facts.version else ""
        yield ok("broker", f"{broker.host}:{broker.port} accepts the connection{version}")
        yield from check_queue(config, facts)
        if asyncio.run(accepts_anonymous(read_broker_settings(config))):
            yield CheckResult(
                "broker accounts",
                State.WARNING if is_loopback(broker.host) else State.FAULT,
                "it accepts connections without an account: anyone who reaches it can publish",
                "set allow_anonymous false, give each sensor an account; see deploy/mosquitto.conf",
            )
    if broker.tls:
        yield from check_server("broker certificate", broker.host, broker.port, now)
        if broker.ca_file is not None:
            yield from check_file("broker ca_file", broker.ca_file, now)


def _suggest_remedy(config: PlumewatchConfig, error: BrokerError) -> str:
    text, is_local = str(error).lower(), is_loopback(config.broker.host)
    if error.reason is BrokerReason.REFUSED:
        user = config.broker.username or "plumewatch"
        return (
            "check broker.username, then set its password again: mosquitto_passwd PASSWORD_FILE"
            f" {user}; put the same into broker.password_file; then systemctl reload mosquitto"
        )
    if "expired" in text:
        return "renew the broker's certificate, then systemctl restart mosquitto"
    if "certificate" in text:
        return "put the certificate of the broker's issuer into broker.ca_file"
    if config.broker.tls or "ssl" in text:
        return (
            "broker.tls = true needs the port of a TLS listener, often 8883; for a listener without"
            " TLS, often 1883, leave it out"
        )
    if "refused" in text and is_local:
        return "systemctl status mosquitto; broker.port must be one of its listeners"
    return "check broker.host and broker.port: mosquitto_sub -h HOST -p PORT -t test"


def check_queue(config: PlumewatchConfig, facts: BrokerFacts) -> Iterator[CheckResult]:
    """Check whether the broker queues messages for a disconnected session."""
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
            "not tried: the account has no permission to read and write plumewatch/canary/#",
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
            f"it holds {facts.stored:,} messages; its limit is {limit:,}",
            "start the service, which reads them; then raise max_queued_messages there"
            " and in the configuration",
        )


_DAY_S: Final = 86_400.0
_SOON_DAYS: Final = 30.0
_TIMEOUT_S: Final = 5.0


def check_file(part: str, path: Path, now: float) -> Iterator[CheckResult]:
    """Check when the first certificate of a file expires."""
    try:
        yield from _check_validity(part, str(path), path.read_bytes(), now)
    except (OSError, ValueError):
        yield warn(
            part,
            f"{path} has no readable PEM certificate",
            "use a PEM file; to inspect it: openssl x509 -in FILE -noout -dates",
        )


def check_server(part: str, host: str, port: int, now: float) -> Iterator[CheckResult]:
    """Check when the certificate of a server expires."""
    fetch = partial(ssl.get_server_certificate, (host, port), timeout=_TIMEOUT_S)
    try:
        pem = BoundedThreads("certificate", threads=1).call(fetch, 2 * _TIMEOUT_S)
        yield from _check_validity(part, f"{host}:{port}", pem.encode(), now)
    except (OSError, ValueError, BoundedCallError) as error:
        why = f"{host}:{port} does not answer over TLS: {error}"
        yield warn(part, why, "check that this is the port of the TLS listener")


def _check_validity(part: str, owner: str, pem: bytes, now: float) -> Iterator[CheckResult]:
    try:
        from cryptography import x509  # noqa: PLC0415 - an extra
    except ImportError:
        return
    expires = min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(pem))
    days = (expires.timestamp() - now) / _DAY_S
    remedy = f"renew the certificate of {owner} and restart the server that uses it"
    if days <= 0:
        yield fault(part, f"{owner} expired {count_noun(round(-days), 'day')} ago", remedy)
    elif days < _SOON_DAYS:
        yield warn(part, f"{owner} expires in {count_noun(round(days), 'day')}", remedy)
    else:
        yield ok(part, f"{owner} is valid for {count_noun(round(days), 'day')}")
