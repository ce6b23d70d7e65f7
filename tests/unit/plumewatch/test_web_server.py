"""Test which client address counts behind a local or remote reverse proxy."""

import asyncio
import contextlib

import httpx
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from plumewatch.config.sections.web import WebConfig
from plumewatch.service.staff_page import is_on_loopback
from plumewatch.service.web_server import ConnectionBounds, WebServer, wrap_for_proxies


async def client_of(request):
    return PlainTextResponse(request.client.host)


@pytest.fixture
async def server():
    app = Starlette(routes=[Route("/", client_of)])
    server = WebServer("page", app, "127.0.0.1", 0)
    running = asyncio.create_task(server.serve())
    yield server
    server.stop()
    await running


@pytest.mark.parametrize(
    ("forwarded", "seen"),
    [
        ("", "127.0.0.1"),
        ("203.0.113.5", "203.0.113.5"),
        ("127.0.0.1, 203.0.113.5", "203.0.113.5"),  # the address that the client forged comes first
        ("10.9.9.9, 203.0.113.5, 127.0.0.1", "203.0.113.5"),
    ],
)
async def test_the_address_that_the_proxy_saw_counts(server, forwarded, seen):
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        answer = await client.get(f"http://127.0.0.1:{server.port}/", headers=headers)
    assert answer.text == seen


async def test_an_application_that_is_still_starting_is_shut_down_in_order():
    """Otherwise, canceling its task with the loop would log a traceback."""
    steps, starting = [], asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan(_app):
        starting.set()
        await asyncio.sleep(0)
        steps.append("started")
        yield
        steps.append("ended")

    server = WebServer("page", Starlette(lifespan=lifespan), "127.0.0.1", 0)
    running = asyncio.create_task(server.serve())
    await starting.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert steps == ["started", "ended"]


GATEWAY = "172.30.84.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "seen"),
    [
        ("gateway", "203.0.113.5", "203.0.113.5"),
        ("gateway", "127.0.0.1, 203.0.113.5", "203.0.113.5"),
        ("gateway", "", "gateway"),
        ("172.30.84.7", "203.0.113.5", "172.30.84.7"),  # another container
        ("203.0.113.9", "127.0.0.1", "203.0.113.9"),
    ],
)
async def test_a_proxy_elsewhere_is_trusted_by_its_address(monkeypatch, peer, forwarded, seen):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    app = wrap_for_proxies(Starlette(routes=[Route("/", client_of)]), (GATEWAY,))
    transport = httpx.ASGITransport(app, client=(GATEWAY if peer == "gateway" else peer, 50_000))
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
        answer = await client.get("/", headers=headers)
    assert answer.text == (GATEWAY if seen == "gateway" else seen)


async def test_a_proxy_may_have_the_connections_of_all_its_clients():
    app = Starlette(routes=[Route("/", client_of)])
    bounds = ConnectionBounds(per_address=2, exempt_loopback=False)
    for trusted, served in (((), 2), (("127.0.0.0/8",), 5)):
        server = WebServer("page", app, "127.0.0.1", 0, bounds=bounds, trusted_proxies=trusted)
        running = asyncio.create_task(server.serve())
        pairs = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(5)]
        answered = 0
        for reader, writer in pairs:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                answered += (await reader.read(12)).endswith(b"200")
        for _, writer in pairs:
            writer.close()
        server.stop()
        await running
        assert answered == served


@pytest.mark.attack
@pytest.mark.parametrize(
    "begun", [b"", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\na"]
)
async def test_connections_whose_request_does_not_arrive_keep_nobody_out(begun):
    """With too many such connections, the one that has waited longest is closed."""

    async def take(request):
        with contextlib.suppress(ClientDisconnect):
            await request.body()
        return PlainTextResponse("")

    app = Starlette(routes=[Route("/", take, methods=["GET", "POST"])])
    server = WebServer("page", app, "127.0.0.1", 0, bounds=ConnectionBounds(connections=5))
    running = asyncio.create_task(server.serve())
    idle = []
    for _ in range(20):
        idle.append(await asyncio.open_connection("127.0.0.1", server.port))
        idle[-1][1].write(begun)
        await asyncio.sleep(0.01)
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        answer = await client.get(f"http://127.0.0.1:{server.port}/")
    assert answer.status_code == 200
    with contextlib.suppress(ConnectionError):
        assert await idle[0][0].read() == b""
    idle[-1][1].write(b"a" * 499 if begun else b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await idle[-1][0].read(12)).endswith(b"200")
    for _, writer in idle:
        writer.close()
    server.stop()
    await running


@pytest.mark.parametrize(
    ("web", "local"),
    [
        ({}, True),
        ({"public_url": "http://localhost:8420"}, True),
        ({"public_url": "https://plumewatch.example.org"}, False),
        ({"host": "10.0.0.2"}, False),
        ({"host": "0.0.0.0", "public_url": "http://127.0.0.1:8420"}, False),
    ],
)
def test_where_a_proxy_is_in_front_nobody_counts_as_on_this_machine(web, local):
    assert is_on_loopback(WebConfig(**web)) is local


@pytest.mark.parametrize("text", ["*", "0.0.0.0/0", "::/0", "proxy.example", "10.0.0.1/8", ""])
def test_what_is_no_proxy(text):
    with pytest.raises(ValidationError):
        WebConfig(trusted_proxies=[text])
