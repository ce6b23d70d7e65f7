"""The connection to the broker: settings, client id, errors.

Client id
---------
Many brokers let any account connect with any client id, and a client with the service's id gets its
session. So the id is random unless it is configured, and it is never shown, not even in a topic.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiomqtt

from ingest.errors import BrokerError, BrokerReason
from ingest.mqtt.link import RETAIN, Link
from ingest.validation import Message
from storage.files import write_private

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)


_TIMEOUT_S: Final = 10.0
"""Limit for each answer of the broker."""


_CLIENT_ID: Final = re.compile("[A-Za-z0-9_.:-]{1,64}")


def make_client_id() -> str:
    """Return a client id that nobody can guess."""
    return f"plumewatch-{secrets.token_hex(16)}"


def load_client_id(path: Path) -> str:
    """Return the client id in a file of the data folder; create the file if it does not exist.

    Raises `OSError` if it can be neither read nor written, because a new id means a new session.
    """
    with contextlib.suppress(FileNotFoundError):
        found = path.read_text(encoding="ascii", errors="replace").strip()
        if _CLIENT_ID.fullmatch(found):
            return found
        log.error("%s contains no client id: a new one is made, and its session is empty", path)
    made = make_client_id()
    write_private(path, made.encode())
    return made


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How to reach the broker.

    `client_id`: names the persistent session. Keep it, and never run two services with the same
    id. The default is a new id each time.
    `username`, `password`: empty for none. The password never appears in `repr`.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    client_id: str = field(default_factory=make_client_id)
    username: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    keepalive_s: int = 30


def make_client(settings: BrokerSettings, client_id: str, *, clean: bool) -> aiomqtt.Client:
    """Make a client that is not connected yet, with or without (`clean`) a persistent session."""
    return aiomqtt.Client(
        settings.host,
        settings.port,
        username=settings.username or None,
        password=settings.password or None,
        identifier=client_id,
        clean_session=clean,
        keepalive=settings.keepalive_s,
        timeout=_TIMEOUT_S,
        tls_context=settings.tls,
    )


@contextlib.asynccontextmanager
async def connected(client: aiomqtt.Client, settings: BrokerSettings) -> AsyncIterator[None]:
    """Connect, and leave no connection behind.

    aiomqtt leaves the socket of an attempt open if there is no answer in time. A broker that was
    only frozen would accept that connection later, besides the next one.

    Raises `BrokerError` if the connection cannot be made or ends.
    """
    try:
        async with client:
            yield
    except aiomqtt.MqttError as error:
        raise _translate(error, settings) from error
    finally:
        below = client._client  # noqa: SLF001 - it keeps running otherwise
        below.on_disconnect = None  # nothing waits for it any longer
        below.disconnect()  # nothing where there is no connection
        gone = client._disconnected  # noqa: SLF001 - read, or asyncio reports it unread
        if gone.done() and not gone.cancelled():
            gone.exception()


def _translate(error: aiomqtt.MqttError, settings: BrokerSettings) -> BrokerError:
    where = f"broker {settings.host}:{settings.port}"
    text = str(error)
    if "authori" in text.lower() or "bad user name" in text.lower():
        user = settings.username or "(none)"
        return BrokerError(
            BrokerReason.REFUSED, f"{where} refuses user {user!r}: wrong name or password"
        )
    cause = error.__cause__ or error.__context__
    detail = (cause.strerror or str(cause)) if isinstance(cause, OSError) else text
    if not detail:  # a time-out
        detail = f"no answer within {_TIMEOUT_S:.0f} s"
    elif "code:128" in detail:  # the library's number for any broken connection
        detail = "connection lost"
    return BrokerError(BrokerReason.UNREACHABLE, f"{where} is not reachable: {detail}")


def is_refused(code: object) -> bool:
    """Return whether the code of a subscription is a refusal."""
    number = getattr(code, "value", code)
    return isinstance(number, int) and number >= 0x80


def ignore_cut_connection(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle the unawaited error of a connection that was cut before it could be written to.

    aiomqtt checks a socket, and waits for it to be writable one turn of the loop later. If the
    connection is cut in between, its descriptor is gone. The connection is restored like any lost
    connection, and a traceback in the log would not help. Other errors are reported as usual.
    """
    cut = isinstance(context.get("exception"), (OSError, ValueError))
    if cut and "add_writer" in context.get("message", ""):
        log.debug("the connection was cut before it could be written to")
        return
    loop.default_exception_handler(context)


async def show_live_messages(
    settings: BrokerSettings,
    topics: Sequence[str],
    on_message: Callable[[Message], None],
    clock: Callable[[], float],
) -> None:
    """Show messages as they arrive, in parallel to the session that stores them, until cancelled.

    It uses QoS 0 and no persistent session: nothing is acknowledged or guaranteed.

    Raises `BrokerError` if the connection cannot be made or ends.
    """

    def on_publish(name: bytes, payload: bytes, flags: int, _packet_id: int) -> None:
        topic = name.decode("utf-8", "surrogateescape")
        try:
            on_message(Message(topic, payload, clock(), retained=bool(flags & RETAIN)))
        except Exception:  # paho would treat it as the end of the connection
            log.exception("a message that cannot be stored cannot be shown either")

    client = make_client(settings, f"{settings.client_id}-tap", clean=True)
    Link(client._client, on_publish)  # noqa: SLF001 - it keeps itself in place
    async with connected(client, settings):
        await client.subscribe([(topic, 0) for topic in topics])
        async for _ in client.messages:  # none: it waits for the end of the connection
            pass
