import asyncio
import csv
import json

import aiomqtt
import pytest

from tests.support.broker import Mosquitto
from tests.support.command import plumewatch
from tests.support.config_entries import one_room

CONFIG = one_room("s", model="of a maker nobody knows", decoder="halo")


async def test_the_school_of_a_configuration_as_fast_as_the_broker_accepts(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(CONFIG)
    words = ["--speed", "0", "--days", "0.01", "--activity", "demo", "--truth", "--config", path]
    with Mosquitto("max_queued_messages 0") as broker:
        address = f"{broker.host}:{broker.port}"
        kept = {"identifier": "kept", "clean_session": False}
        async with aiomqtt.Client(broker.host, broker.port, **kept) as client:
            await client.subscribe("plumewatch/v1/s/reading", qos=1)
        words = ["simulate", "--publish", address, "--start", "2026-09-14", *words]
        ran = await asyncio.to_thread(plumewatch, *words)
        assert ran.code == 0, ran.err
        got = []
        async with aiomqtt.Client(broker.host, broker.port, **kept) as client:
            async for message in client.messages:
                got.append(json.loads(message.payload))
                if len(got) == 150:
                    break
    assert [reading["seq"] for reading in got] == sorted({reading["seq"] for reading in got})
    assert got[0]["time"].startswith("2026-09-14")
    truths = list(csv.DictReader(ran.out.splitlines()))
    assert len(truths) > 3
    assert {"kind", "session", "arrival"} <= set(truths[0])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "--publish"),
        (["--publish", "h"], "--publish h: must be host:port"),
        (["--publish", "h:1", "--config", "none.toml"], "none.toml"),
        (["--publish", "h:1", "--activity", "wild"], "--activity"),
    ],
)
def test_bad_usage_is_exit_2(more, message):
    ran = plumewatch("simulate", *more)
    assert ran.code == 2
    assert message in ran.out + ran.err
