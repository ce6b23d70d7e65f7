"""Check the broker: its answers, queue, accounts and certificates."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from typing import TYPE_CHECKING, Final

from ingest.errors import BrokerError, BrokerReason
from ingest.mqtt.examine import accepts_anonymous, examine
from language.plain_text import pluralize
from plumewatch.check.result import CheckResult, State, fault, ok, warn
from plumewatch.config.settings import read_broker_settings
from plumewatch.service.web_server import is_loopback
from storage.bounded_call import BoundedCallError, BoundedThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingest.mqtt.examine import BrokerFacts
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.sections.broker import BrokerConfig

_NEARLY_FULL: Final = 0.8


def check_broker(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Connect to the broker, try its queue, and read its certificates."""
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
                "it accepts connections without an account: anyone who can reach it can publish",
                "set allow_anonymous false and give each sensor an account:"
                " see deploy/mosquitto.conf",
            )
    if broker.tls:
        yield from check_certificates(broker, now)


def _suggest_remedy(config: PlumewatchConfig, error: BrokerError) -> str:
    text, is_local = str(error).lower(), is_loopback(config.broker.host)
    if error.reason is BrokerReason.REFUSED:
        user = config.broker.username or "plumewatch"
        first = "check" if config.broker.username else "set"
        return (
            f"{first} broker.username, then set its password: mosquitto_passwd PASSWORD_FILE"
            f" {user}; put the same one into broker.password_file; systemctl reload mosquitto"
        )
    if "expired" in text:
        return "renew the broker's certificate, then systemctl restart mosquitto"
    if "certificate" in text:
        return "put the certificate of the broker's issuer into broker.ca_file"
    if config.broker.tls or "ssl" in text:
        return (
            "broker.tls = true needs the port of a TLS listener, often 8883; for a listener without"
            " TLS, often 1883, leave broker.tls out"
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
            f"it has dropped {pluralize(facts.dropped, 'message')} since it started",
            "raise max_queued_messages and max_queued_bytes in the broker's configuration; look for"
            " disconnected clients: mosquitto_sub -t '$SYS/broker/clients/#' -v",
        )
    limit = config.broker.max_queued_messages
    if facts.stored is not None and facts.stored >= _NEARLY_FULL * limit:
        yield warn(
            "broker queue",
            f"it holds {facts.stored:,} messages; its limit is {limit:,}",
            "start the service, which reads them; then raise max_queued_messages in the broker's"
            " configuration and in [broker]",
        )


_DAY_S: Final = 86_400.0
_SOON_DAYS: Final = 30.0
_TIMEOUT_S: Final = 5.0


def check_certificates(broker: BrokerConfig, now: float) -> Iterator[CheckResult]:
    """Check when the certificates of the broker's listener and of its CA file expire."""
    try:
        from cryptography import x509  # noqa: PLC0415 - an extra
    except ImportError:
        return
    fetch = partial(ssl.get_server_certificate, (broker.host, broker.port), timeout=_TIMEOUT_S)
    threads = BoundedThreads("certificate", threads=1)
    sources: dict[str, Callable[[], bytes]] = {
        "broker certificate": lambda: threads.call(fetch, 2 * _TIMEOUT_S).encode()
    }
    if broker.ca_file is not None:
        sources["broker ca_file"] = broker.ca_file.read_bytes
    remedy = "renew it, then systemctl restart mosquitto"
    for part, read in sources.items():
        try:
            expires = min(c.not_valid_after_utc for c in x509.load_pem_x509_certificates(read()))
        except (OSError, ValueError, BoundedCallError) as error:
            yield warn(part, f"cannot be read: {error}", "check it with openssl x509 -noout -text")
            continue
        days = (expires.timestamp() - now) / _DAY_S
        if days <= 0:
            yield fault(part, f"expired {pluralize(round(-days), 'day')} ago", remedy)
        elif days < _SOON_DAYS:
            yield warn(part, f"expires in {pluralize(round(days), 'day')}", remedy)
        else:
            yield ok(part, f"is valid for {pluralize(round(days), 'day')}")
