"""The broker: how it is reached, and in one sentence why not."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiomqtt

from ingest.errors import BrokerError, BrokerReason

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

_TIMEOUT_S: Final = 10.0
"""For each answer of the broker."""


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How to reach the broker.

    `client_id`: names the persistent session: keep it, and never run two services with the same
    one.
    `username`, `password`: empty for none. The password never appears in `repr`.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    client_id: str = "plumewatch"
    username: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    keepalive_s: int = 30


def new_client(
    settings: BrokerSettings, client_id: str, *, clean: bool, will: aiomqtt.Will | None = None
) -> aiomqtt.Client:
    """Make a client that is not connected yet, with or without (`clean`) a persistent session."""
    return aiomqtt.Client(
        settings.host,
        settings.port,
        username=settings.username or None,
        password=settings.password or None,
        identifier=client_id,
        clean_session=clean,
        keepalive=settings.keepalive_s,
        will=will,
        timeout=_TIMEOUT_S,
        tls_context=settings.tls,
    )


@contextlib.asynccontextmanager
async def connected(client: aiomqtt.Client, settings: BrokerSettings) -> AsyncIterator[None]:
    """Connect, and leave no connection behind.

    aiomqtt leaves the socket of an attempt open that was not answered in time. A broker that only
    stood still would take that connection later, beside the one that followed.

    Raises `BrokerError`: when the connection cannot be made or ends.
    """
    try:
        async with client:
            yield
    except aiomqtt.MqttError as error:
        raise _translated(error, settings) from error
    finally:
        below = client._client  # noqa: SLF001 - it goes on by itself otherwise
        below.on_disconnect = None  # there is nobody any more to be told
        below.disconnect()  # nothing where there is no connection
        gone = client._disconnected  # noqa: SLF001 - read, or asyncio reports it unread
        if gone.done() and not gone.cancelled():
            gone.exception()


async def probe(settings: BrokerSettings) -> None:
    """Connect and disconnect, to see whether it can be done.

    Raises `BrokerError`: with one sentence that says why not.
    """
    client = new_client(settings, f"{settings.client_id}-check", clean=True)
    async with connected(client, settings):
        pass


def _translated(error: aiomqtt.MqttError, settings: BrokerSettings) -> BrokerError:
    where = f"broker {settings.host}:{settings.port}"
    text = str(error)
    if "authori" in text.lower() or "bad user name" in text.lower():
        user = settings.username or "(none)"
        return BrokerError(
            BrokerReason.REFUSED, f"{where} refuses user {user!r}: wrong name or password"
        )
    cause = error.__cause__ or error.__context__
    detail = str(cause) if isinstance(cause, OSError) else text
    if not detail:  # of a time-out
        detail = f"no answer within {_TIMEOUT_S:.0f} s"
    elif "code:128" in detail:  # the library's number for any broken connection
        detail = "connection lost"
    return BrokerError(BrokerReason.UNREACHABLE, f"{where} is not reachable: {detail}")
