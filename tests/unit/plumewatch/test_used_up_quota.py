"""Test what happens once a push service's daily quota is used up."""

import json
import time
from contextlib import closing

import pytest

from plumewatch.config.load import parse
from tests.support.broker import free_port
from tests.support.in_process import running, store
from tests.support.plumes import readings_of_puff
from tests.support.provider import Provider, answer
from tests.support.waiting import until

USED_UP = b'{"code":42908,"http":429,"error":"limit reached: daily message quota reached"}'


@pytest.fixture
def ntfy():
    with closing(Provider()) as provider:
        provider.answers = [answer(429, USED_UP) for _ in range(100)]
        yield provider


@pytest.fixture
def other():
    with closing(Provider()) as provider:
        yield provider


@pytest.fixture
def config(tmp_path, ntfy, other):
    (tmp_path / "ntfy").write_text(f"ntfy://127.0.0.1:{ntfy.port}/topic")
    (tmp_path / "other").write_text(f"json://127.0.0.1:{other.port}/ap")
    (tmp_path / "facilities").write_text(f"json://127.0.0.1:{other.port}/facilities")
    rooms = ("n2-boys", "n3-girls")
    return parse(
        {
            "site": "S",
            "timezone": "UTC",
            "broker": {"port": free_port()},  # no broker answers here; tests add readings directly
            "web": {"port": free_port()},
            "alerts": {"allow_private_targets": True, "pictures": False},
            "room": [{"id": r, "name": r, "building": "North", "floor": "2"} for r in rooms],
            "sensor": [{"id": f"{r}-1", "room": r} for r in rooms],
            "staff": [
                {"id": "ap", "name": "AP", "notify": [{"url_file": "ntfy"}, {"url_file": "other"}]},
                {
                    "id": "fm",
                    "name": "FM",
                    "role": "facilities",
                    "notify": [{"url_file": "facilities"}],
                },
            ],
        },
        base=tmp_path,
    )


def pushed(other, path):
    return [json.loads(body) for to, _, body in other.requests if to == path]


async def test_its_notices_use_another_channel_at_once_and_facilities_are_notified(
    config, ntfy, other
):
    async with running(config, notifier=None) as service:
        await store(service, readings_of_puff("n2-boys-1", start=time.time() - 300))
        await until(lambda: pushed(other, "/ap"))
        assert len(ntfy.requests) == 1
        await until(lambda: pushed(other, "/facilities"))
        (notice,) = pushed(other, "/facilities")
        assert (notice["kind"], notice["room"]) == ("service", "")
        assert notice["title"].startswith("Plumewatch needs attention since ")
        assert "daily quota is used up" in notice["message"]
