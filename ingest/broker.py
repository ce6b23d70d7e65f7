"""The broker: how it is reached, what a session of it holds, and what can be learned from it.

Reading and acknowledging in large pieces
-----------------------------------------
paho asks the kernel for every message four times or more and sends each acknowledgement by itself.
Every such call releases the interpreter's lock and has to win it back from the threads that store
and detect, which costs more than all the rest of a message. `Link` puts a buffer before paho's
reads, filled once each time the socket is readable, and sends the acknowledgements of a group as
one piece. What paho makes of the bytes is untouched, and so is their order.

Subscriptions
-------------
A persistent session keeps every subscription that was ever made in it, and a client cannot ask
which these are. So they are remembered in a small file, before they are made; those that are not
wanted any more are then given up. A file that is missing or cannot be written costs no more than
messages of topics that are not wanted. The file also names sessions under former client ids until
they are drained.

Client id
---------
Many brokers let any account connect with any client id, and who has that of the service gets its
session. So it is random unless it is configured, and it is shown to nobody: not in a topic either.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import aiomqtt
import msgspec
from paho.mqtt.enums import MessageType, MQTTErrorCode

from ingest.canary import CANARY_TOPICS
from ingest.errors import BrokerError, BrokerReason
from storage.files import close_to_others, write_private

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from paho.mqtt.client import Client as PahoClient

log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 10.0
"""For each answer of the broker."""
_UNGUESSABLE: Final = re.compile("[0-9a-f]{16}")
_CLIENT_ID: Final = re.compile("[A-Za-z0-9_.:-]{1,64}")


def new_client_id() -> str:
    """Return a client id that nobody can guess."""
    return f"plumewatch-{secrets.token_hex(16)}"


def is_guessable(client_id: str) -> bool:
    """Whether a client id has no part that looks random."""
    return _UNGUESSABLE.search(client_id) is None


def kept_client_id(path: Path) -> str:
    """Return the client id in a file of the data folder, which is made if need be.

    Raises `OSError` if it can be neither read nor written: another id would be another session.
    """
    close_to_others(path)
    with contextlib.suppress(FileNotFoundError):
        found = path.read_text(encoding="ascii", errors="replace").strip()
        if _CLIENT_ID.fullmatch(found):
            return found
        log.error("%s contains no client id: a new one is made, and its session is empty", path)
    made = new_client_id()
    write_private(path, made.encode())
    return made


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How to reach the broker.

    `client_id`: names the persistent session: keep it, and never run two services with the same
    one; by default another one each time.
    `username`, `password`: empty for none. The password never appears in `repr`.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    client_id: str = field(default_factory=new_client_id)
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
        below.on_disconnect = None  # nothing waits for it any more
        below.disconnect()  # nothing where there is no connection
        gone = client._disconnected  # noqa: SLF001 - read, or asyncio reports it unread
        if gone.done() and not gone.cancelled():
            gone.exception()


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


class _Remembered(msgspec.Struct, frozen=True):
    """`session` and the keys of `former` are ``client_id@host:port``."""

    session: str
    filters: tuple[str, ...]
    former: dict[str, tuple[str, ...]] = {}


class Subscriptions:
    """The filters of one session, and those of sessions before it that are not drained yet.

    `path`: the file; its folder must exist when something is remembered.
    """

    def __init__(self, path: Path, settings: BrokerSettings) -> None:
        self._path = path
        self._settings = settings
        close_to_others(path)
        self._session = f"{settings.client_id}@{settings.host}:{settings.port}"

    def of(self, settings: BrokerSettings) -> Subscriptions:
        """Return those of another session in the same file."""
        return Subscriptions(self._path, settings)

    def current(self) -> tuple[str, ...]:
        """Return the filters that the session may hold."""
        found = self._read()
        return found.filters if found.session == self._session else ()

    def former(self) -> dict[str, tuple[str, ...]]:
        """Return the filters that sessions under other client ids at this host may hold, by id."""
        sessions = {}
        for session, filters in self._former().items():
            client_id, _, address = session.rpartition("@")
            same_host = address.rpartition(":")[0] == self._settings.host
            if same_host and client_id != self._settings.client_id:
                sessions[client_id] = filters
        return sessions

    def remember(self, filters: Iterable[str]) -> None:
        """Replace the filters; the session of another client id becomes a former one."""
        self._write(_Remembered(self._session, tuple(sorted(set(filters))), self._former()))

    def add_former(self, client_id: str, filters: Iterable[str]) -> None:
        """Remember a session under another client id, which is not drained."""
        session = self._session.replace(self._settings.client_id, client_id, 1)
        former = {**self._former(), session: tuple(filters)}
        self._write(_Remembered(self._session, self.current(), former))

    def forget_former(self, client_id: str) -> None:
        """Forget a session that is drained."""
        former = self._former()
        left = {s: kept for s, kept in former.items() if s.rpartition("@")[0] != client_id}
        self._write(_Remembered(self._session, self.current(), left))

    def _former(self) -> dict[str, tuple[str, ...]]:
        found = self._read()
        if found.session in ("", self._session):
            return found.former
        return {**found.former, found.session: found.filters}

    def _read(self) -> _Remembered:
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(self._path.read_bytes(), type=_Remembered)
        return _Remembered("", ())

    def _write(self, wanted: _Remembered) -> None:
        if wanted == self._read():
            return
        try:
            write_private(self._path, msgspec.json.encode(wanted))
        except OSError as error:
            log.warning("cannot remember the subscriptions: %s: %s", self._path, error.strerror)


_PIECE: Final = 32_768
"""Bytes taken from the socket at once: some 150 readings, a few milliseconds of work."""


class Link:
    """The reading and acknowledging side of a paho client that is not connected yet.

    `client`: driven by an event loop that calls its `loop_read` when the socket is readable.
    `session_present`: whether the broker has continued a session from before.
    """

    def __init__(self, client: PahoClient) -> None:
        self._client = client
        self._receive = client._sock_recv  # noqa: SLF001 - all reads of paho go through it
        self._loop_read = client.loop_read
        self._piece = b""
        self._at = 0
        self._asked = False
        client._sock_recv = self._take  # type: ignore[method-assign]  # noqa: SLF001
        client.loop_read = self._read  # type: ignore[method-assign]
        self.session_present = False
        self._on_connect = client.on_connect
        client.on_connect = self._connected

    def _connected(self, client: PahoClient, data: Any, flags: Any, *rest: Any) -> None:
        self.session_present = bool(flags.session_present)
        if self._on_connect is not None:
            self._on_connect(client, data, flags, *rest)

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Send PUBACKs in this order, as one piece."""
        acks = b"".join(b"\x40\x02" + packet_id.to_bytes(2) for packet_id in packet_ids)
        if acks:
            self._client._packet_queue(MessageType.PUBACK, acks, 0, 1)  # noqa: SLF001

    def _read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Handle all packets of one piece."""
        self._asked = False
        while True:
            code = self._loop_read(max_packets)
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS or self._at == len(self._piece):
                return code

    def _take(self, bufsize: int) -> bytes:
        """Return some bytes, of at most one piece of the socket until `_read` is called anew."""
        if self._at == len(self._piece):
            if self._asked:
                raise BlockingIOError
            self._asked = True
            self._piece, self._at = b"", 0
            self._piece = self._receive(_PIECE)
        taken = self._piece[self._at : self._at + bufsize]
        self._at += len(taken)
        return taken


def ignore_cut_connection(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle what no task awaited: a connection that was cut before it could be written to.

    aiomqtt waits for a socket to be writable a turn of the loop after it looked at
    it. If the connection is cut in between, its descriptor is gone; the connection is mended by
    the way of all lost connections, and a stack of calls in the log would say nothing more. All
    else is reported as ever.
    """
    cut = isinstance(context.get("exception"), (OSError, ValueError))
    if cut and "add_writer" in context.get("message", ""):
        log.debug("the connection was cut before it could be written to")
        return
    loop.default_exception_handler(context)


_VERSION: Final = "$SYS/broker/version"
DROPPED: Final = "$SYS/broker/publish/messages/dropped"
STORED: Final = "$SYS/broker/store/messages/count"
_SYS_WAIT_S: Final = 1.0
_TRIAL_WAIT_S: Final = 3.0
REFUSED_CODE: Final = 0x80
"""From this code on a subscription is refused."""


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """What a broker says and does.

    `version`: empty if it does not say.
    `dropped`, `stored`: messages dropped since its start, and held now.
    `keeps_for_absent`: whether a QoS 1 message reached a session that was away when it was
    published; None where we may not publish or read the trial's topic.
    """

    version: str = ""
    dropped: int | None = None
    stored: int | None = None
    keeps_for_absent: bool | None = None


async def examine(settings: BrokerSettings, *, trial: bool) -> BrokerFacts:
    """Look at a broker.

    Raises `BrokerError`: with one sentence that says why it cannot be reached.
    """
    name = f"{settings.client_id}-check"
    client = new_client(settings, name, clean=True)
    async with connected(client, settings):
        answers = await _collected(client, (_VERSION, DROPPED, STORED))
    kept = await _kept(settings, f"{name}-trial") if trial else None
    return BrokerFacts(
        answers.get(_VERSION, ""), _number(answers.get(DROPPED)), _number(answers.get(STORED)), kept
    )


async def accepts_anonymous(settings: BrokerSettings) -> bool:
    """Whether a broker lets somebody connect without an account."""
    anybody = replace(settings, username="", password="")
    client = new_client(anybody, f"check-{secrets.token_hex(8)}", clean=True)
    try:
        async with connected(client, anybody):
            return True
    except BrokerError:
        return False


async def _collected(client: aiomqtt.Client, topics: tuple[str, ...]) -> dict[str, str]:
    answers: dict[str, str] = {}
    try:
        async with asyncio.timeout(_SYS_WAIT_S):
            for topic in topics:
                await client.subscribe(topic)
            async for message in client.messages:
                answers[str(message.topic)] = _text(message.payload)
                if len(answers) == len(topics):
                    break
    except TimeoutError:
        pass  # no Mosquitto, or no right to read them
    return answers


async def _kept(settings: BrokerSettings, name: str) -> bool | None:
    """Try it: publish to a session while it is away, then see whether it gets the message."""
    topic = CANARY_TOPICS + name
    here, gone = (f"{word} {secrets.token_hex(8)}" for word in ("here", "away"))
    try:
        away = new_client(settings, name, clean=False)
        async with connected(away, settings):
            granted = await away.subscribe(topic, qos=1)
            if any(is_refused(code) for code in granted or ()):
                return None
            await away.publish(topic, here, qos=1)
            if not await _arrives(away, here):
                return None
        other = new_client(settings, f"{name}-sender", clean=True)
        async with connected(other, settings):
            await other.publish(topic, gone, qos=1)
        back = new_client(settings, name, clean=False)
        async with connected(back, settings):
            return await _arrives(back, gone)
    finally:
        ended = new_client(settings, name, clean=True)
        async with connected(ended, settings):
            pass  # a clean session ends the one that was kept


async def _arrives(client: aiomqtt.Client, wanted: str) -> bool:
    try:
        async with asyncio.timeout(_TRIAL_WAIT_S):
            async for message in client.messages:
                if _text(message.payload) == wanted:
                    return True
    except TimeoutError:
        pass
    return False


def canary_topic(client_id: str) -> str:
    """Return the topic of one service's canaries, which does not give its client id away."""
    if not is_guessable(client_id):
        client_id = hashlib.sha256(client_id.encode()).hexdigest()[:16]
    return CANARY_TOPICS + client_id


def is_refused(code: object) -> bool:
    """Whether the code of a subscription is a refusal."""
    number = getattr(code, "value", code)
    return isinstance(number, int) and number >= REFUSED_CODE


def _text(payload: object) -> str:
    return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else str(payload)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
