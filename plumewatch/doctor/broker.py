"""The broker: whether it answers, queues for the service, and has a valid certificate."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ingest.errors import BrokerError, BrokerReason
from ingest.mqtt.examine import accepts_anonymous, examine
from plumewatch.config.settings import broker_settings
from plumewatch.doctor.certificates import check_file, check_server
from plumewatch.doctor.mosquitto import PART, SHIPPED, check_mosquitto, read_mosquitto
from plumewatch.doctor.result import fault, ok, warning
from plumewatch.service.web_server import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.mqtt.examine import BrokerFacts
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.doctor.result import CheckResult

_NEARLY_FULL: Final = 0.8
_QUEUE: Final = "broker queue"


def check_broker(config: PlumewatchConfig, now: float) -> Iterator[CheckResult]:
    """Connect to the broker, and read its configuration and certificates."""
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
            report = warning if is_loopback(broker.host) else fault
            yield report(
                "broker accounts",
                "it accepts connections without an account: whoever reaches it can publish",
                f"allow_anonymous false there, and an account per sensor; {SHIPPED}",
            )
    if broker.tls:
        yield check_server("broker certificate", broker.host, broker.port, now)
        if broker.ca_file is not None:
            yield check_file("broker ca_file", broker.ca_file, now)
    if broker.config_file is not None:
        try:
            yield from check_mosquitto(config, read_mosquitto(broker.config_file))
        except OSError as error:
            yield warning(
                PART,
                f"{error.filename}: {error.strerror}",
                "let the account that runs `plumewatch check` read it, or leave out"
                " broker.config_file",
            )
    elif is_loopback(broker.host):
        yield ok(PART, "not checked; set broker.config_file to find limits that lose readings")


def _remedy(config: PlumewatchConfig, error: BrokerError) -> str:
    broker, text = config.broker, str(error).lower()
    if error.reason is BrokerReason.REFUSED:
        return (
            "set the password again: mosquitto_passwd PASSWORD_FILE"
            f" {broker.username or 'plumewatch'}, the same into broker.password_file, then"
            " systemctl reload mosquitto"
        )
    for words, local, remedy in (
        ("expired", False, "renew the broker's certificate, and systemctl restart mosquitto"),
        ("certificate", False, "put the certificate of the broker's issuer into broker.ca_file"),
        ("ssl", False, "broker.tls and broker.port must belong to the same listener"),
        ("refused", True, "systemctl status mosquitto; broker.port must be one of its listeners"),
    ):
        if words in text and (not local or is_loopback(broker.host)):
            return remedy
    return "broker.host and broker.port; from this machine: mosquitto_sub -h HOST -p PORT -t test"


def check_queue(config: PlumewatchConfig, facts: BrokerFacts) -> Iterator[CheckResult]:
    """Check what the broker does with messages for a disconnected session."""
    if facts.keeps_for_absent:
        yield ok(_QUEUE, "a message was kept for a disconnected session")
    elif facts.keeps_for_absent is False:
        yield fault(
            _QUEUE,
            "a message for a disconnected session was lost: readings are lost while the service"
            " restarts",
            f"delete per_listener_settings true from the broker's configuration; {SHIPPED}",
        )
    elif config.broker.canary:
        yield warning(
            _QUEUE,
            "not tried: the account may not read and write plumewatch/canary/#",
            f"give user {config.broker.username or '(none)'} `topic readwrite plumewatch/canary/#`"
            " in the broker's acl_file",
        )
    if facts.dropped:
        yield warning(
            "broker dropped",
            f"{facts.dropped:,} messages since its start",
            "raise max_queued_messages and max_queued_bytes there; look for disconnected clients:"
            " mosquitto_sub -t '$SYS/broker/clients/#' -v",
        )
    limit = config.broker.max_queued_messages
    if facts.stored is not None and facts.stored >= _NEARLY_FULL * limit:
        yield warning(
            _QUEUE,
            f"it holds {facts.stored:,} messages and keeps {limit:,}",
            "start the service, which reads them; then raise max_queued_messages there and in"
            " the configuration",
        )
