"""Test which addresses outgoing requests can reach, for every HTTP client."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket

import pytest
import requests

from alerts.access.own_channels import OwnChannels, Subscription, encode_base64url
from alerts.errors import TransientNotifyError
from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
from alerts.notify.channels.reachability import find_unreachable
from alerts.notify.channels.web_push import ServerKey, WebPush
from alerts.page.identity_provider import IdentityProvider, ProviderSettings
from alerts.secrets import Secret
from ingest.http.poll import PolledSensor, get
from plumewatch.service.health import ping
from storage.http_client import NoAnswerInTimeError, Reach, RefusedRequestError, request
from tests.support.provider import RISING, Provider, answer

pytestmark = pytest.mark.attack


def through_apprise(scheme):
    async def send(address, private, _folder):
        notifier = AppriseNotifier(NotifySettings(allow_private=private))
        target = Secret(f"{scheme}{'' if private else 's'}://{address}/topic")
        await notifier.send(target, RISING, timeout_s=20.0)

    return send


async def web_push(address, private, folder):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ServerKey.load(folder / "key.pem")
    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    public = point.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    endpoint = f"http{'' if private else 's'}://{address}/push"
    target = Subscription(
        endpoint, encode_base64url(public), encode_base64url(b"0123456789abcdef")
    ).to_target()
    browsers = OwnChannels(folder / "state.db")
    push = WebPush(lambda: key, "mailto:it@school.example", browsers, allow_private=private)
    await push.send(target, RISING)


async def poll(address, _private, _folder):
    await get(PolledSensor("b2", "halo", f"http://{address}/api"))


async def watchdog(address, private, _folder):
    await ping(f"http{'' if private else 's'}://{address}/ping", allow_private=private)


async def identity_provider(address, private, _folder):
    settings = ProviderSettings(
        f"http{'' if private else 's'}://{address}",
        "plumewatch",
        Secret("s"),
        "https://plumewatch.example/callback",
        allow_private=private,
    )
    await IdentityProvider(settings, lambda: 0.0).fetch_document()


async def reachability(address, private, _folder):
    settings = NotifySettings(allow_private=private)
    (why,) = await find_unreachable([Secret(f"jsons://{address}/x")], settings)
    if why:
        raise RefusedRequestError(why)


CLIENTS = {
    "apprise": through_apprise("json"),
    "ntfy": through_apprise("ntfy"),
    "web push": web_push,
    "poll": poll,
    "watchdog": watchdog,
    "identity provider": identity_provider,
    "reachability": reachability,
}
NOT_IN_OWN_NETWORK = {name: client for name, client in CLIENTS.items() if name != "poll"}
THAT_REQUEST = {name: client for name, client in CLIENTS.items() if name != "reachability"}
over = pytest.mark.parametrize


@pytest.fixture
def connections(monkeypatch):
    """Record connections to `host`, whose name resolves to a different address each time."""

    def resolve(host, *addresses):
        real, left = socket.getaddrinfo, list(addresses)

        def getaddrinfo(name, port, *given, **more):
            if name != host:
                return real(name, port, *given, **more)
            address = left.pop(0) if len(left) > 1 else left[0]
            return real(address, port, *given, **more)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return resolve


@over("client", THAT_REQUEST.values(), ids=THAT_REQUEST)
async def test_a_request_arrives_under_the_name_of_the_server(
    client, provider, connections, tmp_path
):
    connections("school.example", "127.0.0.1")
    provider.answers = [answer(500)]
    with pytest.raises(Exception, match=r"500|cannot be reached"):
        await client(f"school.example:{provider.port}", True, tmp_path)
    ((_, headers, _),) = provider.requests
    assert headers["Host"] == f"school.example:{provider.port}"


@over("client", NOT_IN_OWN_NETWORK.values(), ids=NOT_IN_OWN_NETWORK)
@over("host", ["127.0.0.1", "2130706433", "localhost", "school.example"])
async def test_the_own_network_is_refused_unless_allowed(
    client, host, provider, connections, tmp_path
):
    connections("school.example", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        with pytest.raises(Exception, match=r"not allowed|inside|cannot be reached"):
            await client(f"{host}:{server.getsockname()[1]}", False, tmp_path)
        with pytest.raises(BlockingIOError):
            server.accept()


@over("client", CLIENTS.values(), ids=CLIENTS)
async def test_a_name_that_changes_after_the_check_reaches_nothing_else(
    client, provider, connections, tmp_path
):
    """0.0.0.0 is never allowed, because a connection to it would reach the server on 127.0.0.1."""
    connections("school.example", "127.0.0.2", "0.0.0.0")
    with pytest.raises(Exception):  # noqa: B017 - each reports it in its own way
        await client(f"school.example:{provider.port}", True, tmp_path)
    connections("school.example", "0.0.0.0")
    with pytest.raises(Exception):  # noqa: B017
        await client(f"school.example:{provider.port}", True, tmp_path)
    assert provider.requests == []


@over("client", THAT_REQUEST.values(), ids=THAT_REQUEST)
async def test_redirects_are_not_followed(client, provider, tmp_path):
    inside = Provider()
    try:
        location = f"http://127.0.0.1:{inside.port}/admin"
        provider.answers = [answer(307, headers=(("Location", location),))]
        with pytest.raises(Exception, match=r"307|cannot be reached"):
            await client(f"127.0.0.1:{provider.port}", True, tmp_path)
        assert len(provider.requests) == 1
        assert inside.requests == []
    finally:
        inside.close()


@pytest.mark.parametrize(
    ("address", "closed", "opened"),
    [
        ("127.0.0.1", False, True),
        ("10.1.2.3", False, True),
        ("192.168.1.9", False, True),
        ("fd00::1", False, True),
        ("::1", False, True),
        ("fec0::1", False, True),
        ("fd00:ec2::254", False, False),
        ("169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("0.0.0.0", False, False),
        ("224.0.0.1", False, False),
        ("not-resolved", False, False),
        ("93.184.215.14", True, True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True, True),
    ],
)
def test_which_addresses_may_be_reached(address, closed, opened):
    assert Reach().permits(address) is closed
    assert Reach(allow_private=True).permits(address) is opened
    assert Reach(allow_private=True, private_only=True).permits(address) is (opened and not closed)


async def test_what_is_sent_without_tls_does_not_leave_the_own_network(connections):
    connections("school.example", "93.184.215.14")
    with pytest.raises(RefusedRequestError, match="not allowed"):
        await ping("http://school.example/uuid", allow_private=True)


async def test_the_next_address_of_a_name_is_tried(provider, monkeypatch):
    def getaddrinfo(_host, port, **_more):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("169.254.1.1", "127.0.0.2", "127.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    await ping(f"http://school.example:{provider.port}/", allow_private=True)
    assert len(provider.requests) == 1


async def test_the_deadline_covers_an_answer_that_comes_byte_by_byte():
    async def drip(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n")
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            while True:
                writer.write(b"X-A: b\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(NoAnswerInTimeError):
            await request("GET", url, Reach(allow_private=True), timeout_s=0.5)


async def test_no_more_of_an_answer_is_read_than_asked_for():
    ended = asyncio.Event()

    async def pour(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
        ended.set()

    async with await asyncio.start_server(pour, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        found = await request("GET", url, Reach(allow_private=True), max_bytes=100)
        assert found.body == b"x" * 100
        async with asyncio.timeout(60):
            await ended.wait()


HEADERS = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(gzip.compress(bytes(10_000_000)))


@over(
    ("scheme", "head", "piece"),
    [
        ("json", HEADERS + b"\r\n", b"x" * 65_536),
        ("json", HEADERS + b"\r\n", b"x"),
        ("json", HEADERS, b"X-A: b\r\n"),
        ("json", HEADERS + b"Content-Encoding: gzip, gzip\r\n\r\n" + BOMB, b""),
        ("mailto", b"", b"220-x\r\n" * 8_192),
        ("mailto", b"", b"220-x\r\n"),
    ],
    ids=["body", "slow body", "headers", "compressed", "greeting", "slow greeting"],
)
async def test_apprise_reads_no_endless_answer(scheme, head, piece, monkeypatch):
    """An abandoned thread ends too, because it would fill the memory and delay other notices."""
    ended, poured, read, real = asyncio.Event(), [0], [0], requests.Session.send

    async def pour(_reader, writer):
        writer.write(head)
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            while piece:
                writer.write(piece)
                poured[0] += len(piece)
                await writer.drain()
                await asyncio.sleep(0.02 if len(piece) < 100 else 0)
        ended.set()

    def send(*given, **more):
        response = real(*given, **more)
        read.append(len(response.content))
        return response

    monkeypatch.setattr(requests.Session, "send", send)
    notifier = AppriseNotifier(NotifySettings(allow_private=True))
    async with await asyncio.start_server(pour, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        target = f"{scheme}://{address}/?from=p@h.example&to=a@h.example"
        with contextlib.suppress(TransientNotifyError):
            await notifier.send(Secret(target), RISING, timeout_s=1.0)
        async with asyncio.timeout(30):
            await ended.wait()
    assert (poured[0] < 20_000_000, max(read) <= 65_536) == (True, True)
