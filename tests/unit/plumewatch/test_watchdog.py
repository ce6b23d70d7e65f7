"""Test that systemd is notified while there is progress, and an external URL while ready."""

import asyncio
import contextlib
import logging
import os
import socket
from types import SimpleNamespace

import pytest

from alerts.secrets import Secret
from plumewatch.service.health import Part, Systemd, Watchdog
from storage.http_client import find_url_fault
from tests.support.fake_server import FakeServer


class Service:
    def __init__(self):
        self.well, self.moving, self.full = True, True, False

    def check_parts(self):
        return [Part("store", ok=self.well, detail="written" if self.well else "away")]

    def is_ready(self):
        return self.well

    def is_moving(self):
        return self.moving

    def is_queue_near_limit(self):
        return self.full


class Listener:
    """systemd's end of the socket."""

    def __init__(self, address):
        self.link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.link.bind(address)
        self.link.setblocking(False)

    def received(self):
        lines = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lines += self.link.recv(4096).decode().split("\n")
        return lines


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    name = (
        str(tmp_path / "notify") if request.param == "path" else f"@pw-{os.getpid()}-{id(request)}"
    )
    listener = Listener(name.replace("@", "\0") if name.startswith("@") else name)
    listener.environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "300000"}
    yield listener
    listener.link.close()


async def test_ready_watchdog_stopping(systemd):
    service = Service()
    watchdog = Watchdog(service, systemd=Systemd(systemd.environ))
    task = asyncio.create_task(watchdog.run())
    async with asyncio.timeout(60):
        lines = []
        while lines.count("WATCHDOG=1") < 3:
            lines += systemd.received()
            await asyncio.sleep(0.01)
        assert lines[0] == "READY=1"
        service.moving = False
        await asyncio.sleep(0.2)
        systemd.received()
        await asyncio.sleep(0.5)
        assert "WATCHDOG=1" not in systemd.received()
    task.cancel()
    await asyncio.wait((task,), timeout=60)
    assert systemd.received()[-1] == "STOPPING=1"


async def test_a_service_that_begins_anew_is_not_stopping(systemd):
    watchdog = Watchdog(Service(), systemd=Systemd(systemd.environ))
    task = asyncio.create_task(watchdog.run())
    async with asyncio.timeout(60):
        while "READY=1" not in systemd.received():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
    watchdog.reloading = True
    task.cancel()
    await asyncio.wait((task,), timeout=60)
    lines = systemd.received()
    assert "RELOADING=1" in lines
    assert "STOPPING=1" not in lines
    assert lines[-1].removeprefix("MONOTONIC_USEC=").isdecimal()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_of_this_process(environ, seconds):
    assert Systemd(environ).watchdog_s == seconds


def test_a_socket_that_is_gone(tmp_path, caplog):
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "none")}).notify("READY=1")
    assert "cannot notify systemd" in caplog.text


def test_every_change_is_logged_once(caplog):
    clock = SimpleNamespace(now=0.0)
    service = Service()
    watchdog = Watchdog(service, systemd=Systemd({}), monotonic=lambda: clock.now)
    service.well = False
    watchdog.check()  # still starting
    clock.now = 40.0
    with caplog.at_level(logging.INFO):
        for well in (False, False, True, True, False):
            service.well = well
            watchdog.check()
    lines = [record.message for record in caplog.records]
    assert lines == ["not ready: store: away", "ready again", "not ready: store: away"]


def test_a_queue_near_its_limit_is_logged_once(caplog):
    service = Service()
    watchdog = Watchdog(service, systemd=Systemd({}))
    for full in (False, True, True, False, True):
        service.full = full
        watchdog.check()
    assert caplog.text.count("queue of the broker is nearly full") == 2


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hc-ping.com/x",
        "file:///etc/passwd",
        "https://me:pw@hc-ping.com/x",
        "https://hc-ping.com/a b",
        "https://hc-ping.com/x\r\nHost: other",
        "https://hc-ping..com/x",
        f"https://{'h' * 64}.example/x",
        "https://hc-ping.com/é",
    ],
)
def test_addresses_that_are_refused(url):
    fault = find_url_fault(url, allow_private=True)
    assert fault
    assert url == "" or url not in fault


async def test_pings_only_while_ready(monkeypatch, caplog):
    monkeypatch.setattr(asyncio, "sleep", quick := Quick())
    status = 200
    with FakeServer(lambda *_: (status, {}, b"")) as switch:
        service = Service()
        service.well = False
        url = Secret(f"{switch.url}/secret-uuid?rid=1")
        watchdog = Watchdog(service, url, 10.0, allow_private=True, systemd=Systemd({}))
        task = asyncio.create_task(watchdog.run())
        await quick.until(lambda: quick.slept > 20)
        assert switch.requests == []
        service.well = True
        await quick.until(lambda: len(switch.requests) >= 3)
        status = 500
        await quick.until(lambda: "answers 500" in caplog.text)
        failed = len(switch.requests)
        await quick.until(lambda: len(switch.requests) >= failed + 2)
        status = 200
        await quick.until(lambda: "answers again" in caplog.text)
        task.cancel()
        await asyncio.wait((task,), timeout=60)
    assert caplog.text.count("cannot ping the watchdog: answers 500") == 1
    assert "secret-uuid" not in caplog.text


class Quick:
    """A sleep that takes no time."""

    def __init__(self):
        self.slept = 0
        self._sleep = asyncio.sleep

    async def __call__(self, _seconds):
        self.slept += 1
        await self._sleep(0.001)

    async def until(self, met):
        async with asyncio.timeout(60):
            while not met():
                await self._sleep(0.005)
