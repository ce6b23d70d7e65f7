"""The connection to the broker: settings, client id, errors.

Client id
---------
Many brokers let any account connect with any client id, and whoever uses the service's id takes
over its session. So the id is random unless it is configured. It is kept secret: no topic contains
it.
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
"""How long to wait for each answer from the broker."""


_CLIENT_ID: Final = re.compile("[A-Za-z0-9_.:-]{1,64}")


def make_client_id() -> str:
    """Make a client id that nobody can guess."""
    return f"plumewatch-{secrets.token_hex(16)}"


def load_client_id(path: Path) -> str:
    """Return the client id in a file; if there is none, make one and write it to the file.

    Raises `OSError` if the file can't be read or written, because an id that is not saved would
    start a new session at every start.
    """
    with contextlib.suppress(FileNotFoundError):
        found = path.read_text(encoding="ascii", errors="replace").strip()
        if _CLIENT_ID.fullmatch(found):
            return found
        log.error("%s contains no client id: using a new one, whose session is empty", path)
    made = make_client_id()
    write_private(path, made.encode())
    return made


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How to reach the broker.

    `client_id`: name of the persistent session. Keep it, and never run two services with the same
    id. By default, each instance gets a new id.
    `username`, `password`: empty if the broker needs none. `repr` does not show the password.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    client_id: str = field(default_factory=make_client_id)
    username: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    keepalive_s: int = 30


def make_client(settings: BrokerSettings, client_id: str, *, clean: bool) -> aiomqtt.Client:
    """Make a client that is not connected yet; `clean` means without a persistent session."""
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
async def open_connection(client: aiomqtt.Client, settings: BrokerSettings) -> AsyncIterator[None]:
    """Connect on entry, and always close the connection on exit.

    If the broker does not answer in time, aiomqtt leaves the socket open. A broker that was only
    frozen would accept that connection later, in addition to the next one.

    Raises `BrokerError` if the connection fails or ends.
    """
    try:
        async with client:
            yield
    except aiomqtt.MqttError as error:
        raise _translate(error, settings) from error
    finally:
        below = client._client  # noqa: SLF001 - it keeps running otherwise
        below.on_disconnect = None  # nothing waits for it anymore
        below.disconnect()  # does nothing without a connection
        gone = client._disconnected  # noqa: SLF001 - asyncio logs an exception that nobody reads
        if gone.done() and not gone.cancelled():
            gone.exception()


def _translate(error: aiomqtt.MqttError, settings: BrokerSettings) -> BrokerError:
    where = f"broker {settings.host}:{settings.port}"
    text = str(error)
    if "authori" in text.lower() or "bad user name" in text.lower():
        why = f"rejected user {settings.username!r}: wrong name or password"
        why = why if settings.username else "requires an account"
        return BrokerError(BrokerReason.REFUSED, f"{where} {why}")
    cause = error.__cause__ or error.__context__
    detail = (cause.strerror or str(cause)) if isinstance(cause, OSError) else text
    if not detail:  # a time-out
        detail = f"no answer within {_TIMEOUT_S:.0f} seconds"
    elif "code:128" in detail:  # the library's number for any broken connection
        detail = "connection lost"
    return BrokerError(BrokerReason.UNREACHABLE, f"{where} is not reachable: {detail}")


def is_refused(code: object) -> bool:
    """Return whether the broker's answer to a subscription is a refusal."""
    number = getattr(code, "value", code)
    return isinstance(number, int) and number >= 0x80


def ignore_cut_connection(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle errors that asyncio reports, ignoring one that a cut connection causes in aiomqtt.

    aiomqtt checks a socket, and registers a writer for it one turn of the event loop later. If the
    connection is cut in between, the socket's descriptor is invalid. The service reconnects anyway,
    and a traceback in the log would not help. All other errors are reported as usual.
    """
    cut = isinstance(context.get("exception"), (OSError, ValueError))
    if cut and "add_writer" in context.get("message", ""):
        log.debug("the connection was cut before it could be written to")
        return
    loop.default_exception_handler(context)


async def read_live_messages(
    settings: BrokerSettings,
    topics: Sequence[str],
    on_message: Callable[[Message], None],
    clock: Callable[[], float],
) -> None:
    """Pass messages to `on_message` as they arrive, until cancelled.

    This is a second connection, in addition to the session that stores messages. It uses QoS 0
    without a persistent session, so messages may be missed.

    Raises `BrokerError` if the connection fails or ends.
    """

    def on_publish(name: bytes, payload: bytes, flags: int, _packet_id: int) -> None:
        topic = name.decode("utf-8", "surrogateescape")
        try:
            on_message(Message(topic, payload, clock(), retained=bool(flags & RETAIN)))
        except Exception:  # paho would end the connection
            log.exception("a message that cannot be stored could not be evaluated either")

    client = make_client(settings, f"{settings.client_id}-tap", clean=True)
    Link(client._client, on_publish)  # noqa: SLF001 - the client keeps a reference to it
    async with open_connection(client, settings):
        await client.subscribe([(topic, 0) for topic in topics])
        async for _ in client.messages:  # yields nothing; ends with the connection
            pass
