"""Test that idle and slow connections are closed, and that no address can use up all of them."""

import asyncio
import contextlib
import logging
import socket
import time

import psutil
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from plumewatch.service.run import LOG_LINE
from plumewatch.service.web_server import (
    ConnectionBounds,
    ConnectionShares,
    WebServer,
)

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"


async def take(request):
    try:
        body = await request.body()
    except ClientDisconnect:
        body = b""
    return PlainTextResponse(body)


LARGE = b"x" * 10_000_000


async def large(_request):
    return PlainTextResponse(LARGE)


@contextlib.asynccontextmanager
async def serving(bounds, **more):
    app = Starlette(routes=[Route("/", take, methods=["POST"]), Route("/large", large)])
    server = WebServer("page", app, "127.0.0.1", 0, bounds=bounds, **more)
    task = asyncio.create_task(server.serve())
    try:
        yield server.port
    finally:
        server.stop()
        async with asyncio.timeout(60):
            await task


QUICK = ConnectionBounds(per_address=3, head_s=0.2)


async def connected(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    return reader, writer


async def ended(reader):
    """Read until the connection ends; fail if it stays open."""
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionResetError):
            return await reader.read()


async def close(*writers):
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_connection_that_sends_nothing():
    async with serving(QUICK) as port:
        reader, writer = await connected(port)
        assert await ended(reader) == b""
        await close(writer)


async def test_a_head_that_comes_a_byte_at_a_time():
    async with serving(QUICK) as port:
        reader, writer = await connected(port)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in POST * 50:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.01)
                if reader.at_eof() or time.monotonic() - began > 10:
                    break
        assert await ended(reader) in (b"", None)
        await close(writer)


async def test_the_next_request_on_a_connection_has_the_same_deadline():
    async with serving(QUICK) as port:
        reader, writer = await connected(port)
        writer.write(POST + b"ok" + b"POST / HT")
        answer = await ended(reader)
        assert answer.count(b"HTTP/1.1 200 OK") == 1
        assert answer.count(b"nosniff") == 1
        assert answer.endswith(b"ok")
        await close(writer)


async def test_a_request_under_way_may_take_longer():
    async with serving(QUICK) as port:
        reader, writer = await connected(port)
        writer.write(POST + b"o")
        await asyncio.sleep(0.5)
        writer.write(b"k" + POST + b"no")
        async with asyncio.timeout(60):
            answer = await reader.readuntil(b"\r\n\r\nno")
        assert answer.count(b"HTTP/1.1 200 OK") == 2
        assert answer.count(b"nosniff") == 2
        await close(writer)


async def test_a_body_that_comes_a_byte_at_a_time():
    async with serving(ConnectionBounds(body_s=0.3)) as port:
        reader, writer = await connected(port)
        writer.write(POST.replace(b"2", b"9999"))
        async with asyncio.timeout(60):
            while not (reader.at_eof() or reader.exception()):
                writer.write(b"a")
                await asyncio.sleep(0.01)
        await close(writer)


async def test_an_address_has_its_share():
    # only the limit per address can end a connection
    bounds = ConnectionBounds(per_address=3, head_s=60.0, exempt_loopback=False)
    async with serving(bounds) as port:
        opened = [await connected(port) for _ in range(3)]
        more, writer = await connected(port)
        assert await ended(more) in (b"", None)
        await close(writer)
        await close(opened[0][1])
        async with asyncio.timeout(60):
            while True:
                again, writer = await connected(port)
                with contextlib.suppress(ConnectionError):
                    writer.write(POST + b"ok")
                    if (await again.read(12)) == b"HTTP/1.1 200":
                        break
                await close(writer)
        await close(writer, *(w for _, w in opened))


async def is_ended_by_the_server(port, client):
    """Return whether the server closed a connection from which the client does not read."""
    mine = client.getsockname()[1]
    async with asyncio.timeout(60):
        while any(  # noqa: ASYNC110 - the kernel is asked
            c.laddr.port == port and c.raddr and c.raddr.port == mine
            for c in psutil.Process().net_connections("tcp")
        ):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("requests", [b"", b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 3])
async def test_a_response_that_nobody_reads(requests):
    """The response is the last one, or more requests follow."""
    bounds = ConnectionBounds(head_s=0.2, stalled_s=0.2)
    async with serving(bounds) as port:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" + requests)
            await is_ended_by_the_server(port, client)


async def test_a_slow_reader_gets_all_of_an_answer():
    bounds = ConnectionBounds(head_s=0.2, stalled_s=1.5)
    async with serving(bounds) as port:
        reader, writer = await connected(port)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        began, length = time.monotonic(), 0
        while part := await asyncio.wait_for(reader.read(200_000), 60):
            length += len(part)
            if length > len(LARGE):
                break
            await asyncio.sleep(0.03)
        assert length > len(LARGE)
        assert time.monotonic() - began > bounds.stalled_s
        await close(writer)


async def test_addresses_of_one_ipv6_network_have_one_share():
    bounds = ConnectionBounds(per_address=2, exempt_loopback=False)
    shares = ConnectionShares("page", bounds, ())
    taken = [shares.take(f"2001:db8::{k}") for k in range(3)]
    assert taken == [True, True, False]
    shares.release("2001:db8::1")
    assert shares.take("2001:db8::ff")
    assert shares.take("2001:db8:0:1::1")


GARBAGE = {
    "method": b"G" * 60_000 + b" / HTTP/1.1\r\n\r\n",
    "length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 60_000 + b"\r\n\r\n",
    "chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"f" * 60_000
    + b"\r\n",
    "upgrade": b"GET /"
    + b"a" * 60_000
    + b" HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "tls": b"\x16\x03\x01" * 20_000,
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_a_request_that_is_garbage_leaves_at_most_a_short_line(caplog, what):
    async with serving(ConnectionBounds()) as port:
        reader, writer = await connected(port)
        writer.write(GARBAGE[what])
        answer = await asyncio.wait_for(reader.read(2000), 60)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))
        assert b"nosniff" in answer
        await close(writer)
        await asyncio.sleep(0)
    for record in caplog.records:
        assert record.exc_info is None
        assert len(record.getMessage()) < 200
    assert len(caplog.records) <= 2


INSIDE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\ninside"
FRAMES = {
    "length first": b"1.1\r\nHost: x\r\nContent-Length: %d\r\nTransfer-Encoding: chunked",
    "length last": b"1.1\r\nHost: x\r\ntransfer-Encoding: Chunked\r\ncontent-LENGTH: %d",
    "an old version": b"1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked",
    "two lengths": b"1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: %d",
    "a list": b"1.1\r\nHost: x\r\nContent-Length: 5, %d",
    "a sign": b"1.1\r\nHost: x\r\nContent-Length: +%d",
    "two codings": b"1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity",
    "a folded line": b"1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: %d",
    "a space": b"1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\nContent-Length: %d",
    "a bare line end": b"1.1\r\nHost: x\nTransfer-Encoding: chunked\r\nContent-Length: %d",
    "a tab": b"1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\nContent-Length: %d",
}


@pytest.mark.attack
@pytest.mark.parametrize("frame", FRAMES)
async def test_no_request_is_smuggled_in_the_body_of_another(frame):
    body = b"0\r\n\r\n" + INSIDE
    head = FRAMES[frame]
    async with serving(ConnectionBounds()) as port:
        reader, writer = await connected(port)
        writer.write(b"POST / HTTP/" + (head % len(body) if b"%d" in head else head))
        writer.write(b"\r\n\r\n" + body)
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501")), answer
        assert answer.count(b"HTTP/1.1") == 1
        assert b"nosniff" in answer or not answer.endswith(b"two lengths")
        await close(writer)


def test_lines_of_the_log_are_short_whatever_is_in_them():
    record = logging.LogRecord("x", logging.WARNING, "", 0, "page %s", ("y" * 70_000,), None)
    assert len(logging.Formatter(LOG_LINE).format(record)) < 2_100
