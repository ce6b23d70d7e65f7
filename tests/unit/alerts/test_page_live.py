"""The stream that makes pages refresh."""

import asyncio
from dataclasses import replace

import pytest

from alerts.access import sessions
from alerts.duty.roster import Roster
from alerts.incidents.change_feed import ChangeSignal
from alerts.page import live
from alerts.policy import BUILT_IN_ROUTES, role_receivers
from storage import sqlite
from tests.unit.alerts.test_page import Page


class Stream:
    """One GET of the stream, read event by event, as a server would run it."""

    def __init__(self, app, cookie="", address="127.0.0.1"):
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": "/live",
            "raw_path": b"/live",
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"cookie", cookie.encode())],
            "client": (address, 1),
            "server": ("127.0.0.1", 80),
        }
        self.out = asyncio.Queue()
        self.gone = asyncio.Event()
        self.task = asyncio.create_task(app(self.scope, self.receive, self.out.put))

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def next(self):
        async with asyncio.timeout(60):
            return await self.out.get()

    async def close(self):
        self.gone.set()
        await self.task


@pytest.fixture
async def page(database, registry, policy, monkeypatch):
    monkeypatch.setattr(live, "_TICK_S", 0.05)
    monkeypatch.setattr(live, "_PACE_S", 0.0)
    changed = ChangeSignal()
    page = Page(database, registry, policy, open_reading=False, changes=changed)
    page.changed = changed
    yield page
    await page.client.aclose()
    page.db.close()


async def cookie_of(page, account="ap"):
    answer = await page.sign_in(account)
    return f"plumewatch_session={answer.cookies['plumewatch_session']}"


async def test_it_ticks_and_announces_changes_and_nothing_else(page):
    stream = Stream(page.app, await cookie_of(page))
    start = await stream.next()
    assert start["status"] == 200
    headers = dict(start["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"cache-control"] == b"no-store"
    assert (await stream.next())["body"] == b"retry: 3000\n\n"
    before = (await stream.next())["body"]
    assert before.startswith(b"event: tick\ndata: ")
    await page.sign_in("fm")  # writes
    output = before
    while output.startswith(b"event: tick"):
        output = (await stream.next())["body"]
    assert output.startswith(b"event: change\ndata: ")
    await stream.close()


async def test_changes_in_other_schools_move_no_event(database, registry, policy, monkeypatch):
    monkeypatch.setattr(live, "_TICK_S", 0.4)
    monkeypatch.setattr(live, "_PACE_S", 0.0)
    sites = {member.id: frozenset({"Other High"}) for member in policy.staff}
    roster = Roster(BUILT_IN_ROUTES, role_receivers([("ap", "staff")]), sites=sites)
    changed = ChangeSignal()
    page = Page(database, registry, replace(policy, roster=roster), changes=changed)
    stream, clock = Stream(page.app, await cookie_of(page)), asyncio.get_running_loop().time
    for _ in range(2):
        await stream.next()
    begun = clock()
    changed.notify()
    assert (await stream.next())["body"].startswith(b"event: tick\n")
    assert clock() - begun > 0.3
    await stream.close()
    await page.client.aclose()
    page.db.close()


async def test_an_event_is_spread_over_a_time_for_each_page_alone(page, monkeypatch):
    monkeypatch.setattr(live, "_SPREAD_S", 0.4)
    monkeypatch.setattr(live.random, "random", lambda: 1.0)
    stream, clock = Stream(page.app, await cookie_of(page)), asyncio.get_running_loop().time
    for _ in range(2):
        await stream.next()
    begun = clock()
    await stream.next()
    assert 0.4 < clock() - begun < 0.8
    await stream.close()


async def test_without_a_session_there_is_none(page):
    stream = Stream(page.app)
    assert (await stream.next())["status"] == 303
    await stream.close()


async def test_it_ends_with_the_session(page):
    stream = Stream(page.app, await cookie_of(page))
    await stream.next()
    with sqlite.transaction(page.db) as tx:
        sessions.end_all(tx, "ap", page.now)
    while (await stream.next()).get("more_body", True):
        pass
    await stream.close()


async def test_streams_are_bounded_by_address_and_counted_back(page):
    cookie = await cookie_of(page)
    streams = [Stream(page.app, cookie, "10.0.0.1") for _ in range(20)]
    for stream in streams:
        assert (await stream.next())["status"] == 200
        await stream.next()
    refused = Stream(page.app, cookie, "10.0.0.1")
    assert (await refused.next())["status"] == 204
    other = Stream(page.app, cookie, "10.0.0.2")
    assert (await other.next())["status"] == 200
    await streams.pop().close()
    again = Stream(page.app, cookie, "10.0.0.1")
    assert (await again.next())["status"] == 200
    for stream in (*streams, refused, other, again):
        await stream.close()


async def test_it_ends_when_the_service_stops(page):
    stream = Stream(page.app, await cookie_of(page))
    await stream.next()
    page.changed.close()
    while (await stream.next()).get("more_body", True):
        pass
    await stream.close()


async def test_who_waits_is_woken_and_who_is_late_does_not_wait():
    changes = ChangeSignal()
    waiting = [asyncio.create_task(changes.wait_beyond(0, 10.0)) for _ in range(3)]
    await asyncio.sleep(0)
    changes.notify()
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    assert await changes.wait_beyond(0, 10.0) == 1
    assert await changes.wait_beyond(1, 0.01) == 1
