"""The few threads of one provider."""

from __future__ import annotations

import asyncio
import threading

import pytest

from alerts.errors import NotifyReason, PermanentNotifyError, TransientNotifyError
from alerts.notify.lane import Lane


async def settled(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - threads, not tasks
            await asyncio.sleep(0.01)


async def test_a_hung_call_is_cut_off_and_keeps_its_place_until_it_ends():
    lane, release = Lane(1), threading.Event()
    with pytest.raises(TransientNotifyError) as late:
        await lane.run(release.wait, 0.01)
    assert late.value.reason is NotifyReason.TIMEOUT
    assert lane.full
    with pytest.raises(TransientNotifyError) as busy:
        await lane.run(lambda: None, 10.0)
    assert busy.value.reason is NotifyReason.BUSY
    release.set()
    await settled(lambda: not lane.full)
    await lane.run(lambda: None, 10.0)


async def test_a_refusal_is_handed_on_and_anything_else_is_told_without_its_words():
    def refuse():
        raise PermanentNotifyError(NotifyReason.REFUSED, "HTTP 410")

    def stumble():
        message = "https://secret.example/token"
        raise ValueError(message)

    lane = Lane(1)
    with pytest.raises(PermanentNotifyError, match="410"):
        await lane.run(refuse, 10.0)
    with pytest.raises(TransientNotifyError, match="ValueError") as told:
        await lane.run(stumble, 10.0)
    assert told.value.reason is NotifyReason.LIBRARY
    assert "secret" not in str(told.value)
    assert not lane.full


async def test_what_follows_takes_no_place_and_is_left_out_behind_too_many():
    lane, begun, release, followed = Lane(1), threading.Event(), threading.Event(), []
    threads = []

    def follow():
        begun.set()
        release.wait()
        followed.append(1)

    await lane.run(lambda: None, 10.0, after=follow)
    assert not lane.full
    assert begun.wait(10)
    await lane.run(lambda: threads.append(threading.current_thread()), 10.0, after=follow)
    await settled(lambda: not threads[0].is_alive())
    release.set()
    await settled(lambda: followed)
    assert followed == [1]
