"""Test that incident pictures show correct facts, and arrive in time or not at all."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from alerts.engine import AlertEngine
from alerts.notify.pictures import IncidentPictures, NoticePictures
from storage import sqlite
from tests.support.waiting import until

ONSET = 1_788_789_900.0


class Series:
    """A series with late readings: the first `late` queries return nothing of the event."""

    def __init__(self, late=0):
        self.late = late
        self.asked = []

    def read_window(self, sensor, start, end):
        self.asked.append(sensor)
        stop = ONSET - 1 if len(self.asked) <= self.late else min(ONSET + 60, end)
        time = np.arange(max(start, ONSET - 60), stop + 0.1, 2.0)
        return time, {"pm25": np.where(time > ONSET, 180.0, 4.0)}


@pytest.fixture
def incident(database, registry, policy, make_event):
    engine = AlertEngine(registry, policy)
    db = sqlite.connect(database)

    def tell(*events):
        with sqlite.transaction(db) as tx:
            return [r.incident for e in events for r in engine.on_events(tx, [e], e.time)]

    yield tell
    db.close()


@pytest.fixture
def source(database, registry):
    return IncidentPictures(database, registry, Series(), "America/New_York")


def test_facts_come_from_the_incident(source, incident, make_event):
    (found,) = incident(make_event(ONSET + 6, onset=ONSET))
    text = source.draw_svg(found)
    for part in ("Boys N2, floor 2, North", "sensor s1", "onset 10:05 AM", "alert +6 s"):
        assert part in text, part
    assert "ongoing" in text
    assert "fine particles rose from 4 to 180 in 6 s" in text
    assert source.draw_png(found).startswith(b"\x89PNG")
    incident(make_event(ONSET + 40, "s2", onset=ONSET + 34, id="second"))
    assert "sensor s1" in source.draw_svg(found)
    assert "sensor s2" in source.draw_svg(found, "second")
    source.draw_png(found)  # with a notice, whose text is about the latest detection
    assert source.series.asked[-1] == "s2"


def test_the_series_may_catch_up(database, registry, incident, make_event):
    (found,) = incident(make_event(ONSET + 6, onset=ONSET))
    behind, even = Series(late=2), Series()
    caught_up = IncidentPictures(database, registry, behind, "UTC").draw_png(found, settle_s=5.0)
    assert caught_up == IncidentPictures(database, registry, even, "UTC").draw_png(found)
    assert len(behind.asked) == 3 + 1  # retried until the data is there, then once for all notices
    never = Series(late=10**6)
    assert IncidentPictures(database, registry, never, "UTC").draw_png(found, settle_s=0.05)


class Source:
    """Returns a picture when allowed, or fails."""

    def __init__(self, error=None):
        self.go = threading.Event()
        self.error = error
        self.made = []

    def draw_png(self, incident_id, *, settle_s):
        assert settle_s < 1.0
        assert self.go.wait(60)
        self.made.append(incident_id)
        if self.error is not None:
            raise self.error
        return b"PNG"


@pytest.fixture
def pictures():
    opened = []

    def start(source, **options):
        found = NoticePictures(source, **options)
        found.open()
        opened.append((source, found))
        return found

    yield start
    for source, found in opened:
        source.go.set()
        found.close()


async def test_several_notices_share_one_picture(pictures):
    source = Source()
    found = pictures(source, within_s=10.0)
    waiting = [asyncio.create_task(found.draw_in_time("a")) for _ in range(5)]
    await asyncio.sleep(0)
    source.go.set()
    assert await asyncio.gather(*waiting) == [b"PNG"] * 5
    assert source.made == ["a"]
    assert await found.draw_in_time("a") == b"PNG"
    assert source.made == ["a", "a"]


async def test_a_late_picture_is_not_waited_for(pictures):
    found = pictures(Source(), within_s=0.05)
    assert await found.draw_in_time("a") is None


@pytest.mark.parametrize(
    "error", [ImportError("no typst"), ValueError("x"), OSError("disk"), MemoryError()]
)
async def test_a_picture_that_fails_is_none(pictures, error, caplog):
    source = Source(error)
    source.go.set()
    found = pictures(source, within_s=10.0)
    assert await found.draw_in_time("a") is None
    assert type(error).__name__ in caplog.text


async def test_too_many_at_once_are_left_out(pictures):
    source = Source()
    found = pictures(source, within_s=10.0)
    waiting = [asyncio.create_task(found.draw_in_time(f"{k}")) for k in range(10)]
    await until(lambda: sum(one.done() for one in waiting) >= 6)
    source.go.set()
    assert (await asyncio.gather(*waiting)).count(b"PNG") == 4
    assert await found.draw_in_time("later") == b"PNG"
