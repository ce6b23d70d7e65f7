"""Whose address counts behind a reverse proxy on this machine."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from plumewatch.service.web_server import WebServer


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
        ("127.0.0.1, 203.0.113.5", "203.0.113.5"),  # what a client made up stands first
        ("10.9.9.9, 203.0.113.5, 127.0.0.1", "203.0.113.5"),
    ],
)
async def test_the_address_that_the_proxy_saw_counts(server, forwarded, seen):
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://127.0.0.1:{server.port}/", headers=headers)
    assert answer.text == seen
