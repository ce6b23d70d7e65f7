"""Find out a broker's version and counts, and whether it keeps messages for offline sessions."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ingest.errors import BrokerError
from ingest.mqtt.connection import BrokerSettings, is_refused, make_client, open_connection
from ingest.mqtt.intake_loop import CANARY_TOPICS, DROPPED, STORED

if TYPE_CHECKING:
    import aiomqtt

_VERSION: Final = "$SYS/broker/version"


_SYS_WAIT_S: Final = 1.0


_TRIAL_WAIT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """Facts about a broker; None if unknown.

    `version`: empty if it does not report one.
    `dropped`: messages that it has dropped since it started.
    `stored`: messages that it stores now.
    `keeps_for_absent`: whether a QoS 1 message reached a session that was disconnected when the
    message was published; None if we have no permission to publish or read the test topic.
    """

    version: str = ""
    dropped: int | None = None
    stored: int | None = None
    keeps_for_absent: bool | None = None


async def examine(settings: BrokerSettings, *, trial: bool) -> BrokerFacts:
    """Find out what a broker reports and, with `trial`, whether it keeps messages.

    Raises `BrokerError` if it cannot be reached.
    """
    name = f"{settings.client_id}-check"
    client = make_client(settings, name, clean=True)
    async with open_connection(client, settings):
        answers = await _collect_answers(client, (_VERSION, DROPPED, STORED))
    kept = await _try_absence(settings, f"{name}-trial") if trial else None
    return BrokerFacts(
        answers.get(_VERSION, ""),
        _parse_number(answers.get(DROPPED)),
        _parse_number(answers.get(STORED)),
        kept,
    )


async def accepts_anonymous(settings: BrokerSettings) -> bool:
    """Return whether a broker allows connections without an account."""
    anybody = replace(settings, username="", password="")
    client = make_client(anybody, f"check-{secrets.token_hex(8)}", clean=True)
    try:
        async with open_connection(client, anybody):
            return True
    except BrokerError:
        return False


async def _collect_answers(client: aiomqtt.Client, topics: tuple[str, ...]) -> dict[str, str]:
    answers: dict[str, str] = {}
    try:
        async with asyncio.timeout(_SYS_WAIT_S):
            for topic in topics:
                await client.subscribe(topic)
            async for message in client.messages:
                answers[str(message.topic)] = _decode(message.payload)
                if len(answers) == len(topics):
                    break
    except TimeoutError:
        pass  # not Mosquitto, or no permission to read them
    return answers


async def _try_absence(settings: BrokerSettings, name: str) -> bool | None:
    """Publish to a session while it is disconnected; return whether it gets the message later."""
    topic = CANARY_TOPICS + name
    here, gone = (f"{word} {secrets.token_hex(8)}" for word in ("here", "away"))
    try:
        away = make_client(settings, name, clean=False)
        async with open_connection(away, settings):
            granted = await away.subscribe(topic, qos=1)
            if any(is_refused(code) for code in granted or ()):
                return None
            await away.publish(topic, here, qos=1)
            if not await _wait_for(away, here):
                return None
        other = make_client(settings, f"{name}-sender", clean=True)
        async with open_connection(other, settings):
            await other.publish(topic, gone, qos=1)
        back = make_client(settings, name, clean=False)
        async with open_connection(back, settings):
            return await _wait_for(back, gone)
    finally:
        ended = make_client(settings, name, clean=True)
        async with open_connection(ended, settings):
            pass  # connecting with a clean session deletes the persistent one


async def _wait_for(client: aiomqtt.Client, wanted: str) -> bool:
    try:
        async with asyncio.timeout(_TRIAL_WAIT_S):
            async for message in client.messages:
                if _decode(message.payload) == wanted:
                    return True
    except TimeoutError:
        pass
    return False


def _decode(payload: object) -> str:
    return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else str(payload)


def _parse_number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
