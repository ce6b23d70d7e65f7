"""F1: SIGKILL at random, and at every named point around commit, acknowledge, send and mark.

`tests.support.launcher` defines the points. After each death, the service is started again and
compared with the publisher's ledger (`tests.support.oracle`).
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.broker import Mosquitto
from tests.support.influx import Influxd
from tests.support.launcher import INFLUX_POINTS, POINTS, ForkedService
from tests.support.oracle import assert_all_stored, assert_notified, quiet_reading
from tests.support.plumes import readings_of_puff
from tests.support.service import Publisher, Receiver
from tests.support.waiting import eventually

LONG = bool(os.environ.get("FAULT_LONG"))
RANDOM_KILLS = int(os.environ.get("FAULT_KILLS", "10"))
ONCE = ("incident: notice", "lease", "send", "mark")
"""Points that the service passes only once per episode."""
KNOWN = {"broker": 'client_id = "plumewatch"'}


@pytest.fixture
def broker():
    """Run a broker that knows the service's session from an earlier connection."""
    config = "max_inflight_messages 500\nmax_queued_messages 100000\nlog_type debug"
    with Mosquitto(config) as started:
        known = Client(CallbackAPIVersion.VERSION2, client_id="plumewatch", clean_session=False)
        known.on_connect = lambda *_: known.subscribe("plumewatch/v1/+/reading", qos=1)
        known.on_subscribe = lambda *_: known.disconnect()
        known.connect("127.0.0.1", started.port)
        known.loop_forever()
        yield started


def episode():
    """Return a sensor's last three minutes, with a puff half a minute ago."""
    return readings_of_puff("n2-boys-1", start=time.time() - 190.0, seconds=190.0)


STORES = {
    "SQLite": POINTS,
    "InfluxDB": [*INFLUX_POINTS, *(p for p in POINTS if LONG and not p.startswith("series"))],
}


@contextlib.contextmanager
def series_store(name, folder):
    """Run the server that stores the series, if there is one."""
    if name == "SQLite":
        yield None
        return
    (folder / "influx").mkdir()
    with Influxd(folder / "influx") as server:
        yield server


@pytest.fixture
def influx(request, tmp_path):
    with series_store(request.param, tmp_path) as server:
        yield server


@pytest.mark.parametrize(
    ("influx", "point"),
    [(store, point) for store, points in STORES.items() for point in points],
    indirect=["influx"],
)
def test_death_at(influx, point, broker, tmp_path):
    rng = random.Random(random.randrange(10**6))  # reproducible with the seed that pytest prints
    at_pass = 1 if point.startswith(ONCE) else rng.randint(1, 4)
    with Receiver() as receiver, Publisher(broker.port) as publisher:
        url = influx.url if influx else ""
        service = ForkedService(
            tmp_path, broker.port, push_url=receiver.url, influx_url=url, **KNOWN
        )
        try:
            service.start(crash=point, at_pass=at_pass)
            publisher.send_readings(episode())
            seq = 0
            while service.running and seq < 3_000:
                publisher.send_readings([quiet_reading("n2-boys-2", seq)])
                seq += 1
                time.sleep(0.02)
            service.await_death()
            service.start()
            assert_all_stored(service, publisher)
            assert_notified(service, receiver, rooms=["N2-boys"], kills=1)
            assert service.dead_letters() == {}
            assert service.end(signal.SIGTERM) == 0
            assert "Traceback" not in service.log
        finally:
            service.end(signal.SIGKILL)


@pytest.mark.timeout(100 + 10 * RANDOM_KILLS)
@pytest.mark.parametrize("influx", STORES, indirect=True)
def test_deaths_at_random(influx, broker, tmp_path):
    rng = random.Random(random.randrange(10**6))  # reproducible with the seed that pytest prints
    with (
        Receiver() as receiver,
        Publisher(broker.port) as publisher,
        ForkedService(
            tmp_path,
            broker.port,
            push_url=receiver.url,
            influx_url=influx.url if influx else "",
            **KNOWN,
        ) as service,
    ):
        sent = episode()
        cuts = sorted(rng.choices(range(len(sent)), k=RANDOM_KILLS - 1))
        for k, (first, last) in enumerate(zip([0, *cuts], [*cuts, len(sent)], strict=True)):
            publisher.send_readings(sent[first:last])
            publisher.send_readings(
                quiet_reading("n2-boys-2", 1000 * k + n) for n in range(rng.randrange(100))
            )
            time.sleep(rng.uniform(0.0, 0.15))
            service.end(signal.SIGKILL)
            if influx and rng.random() < 0.3:  # the database is killed too
                influx.end()
                influx.start()
            service.start(connected=rng.random() < 0.5)  # some are killed while they start
        assert service.kills == RANDOM_KILLS
        assert_all_stored(service, publisher)
        assert_notified(service, receiver, rooms=["N2-boys"], kills=service.kills)
        assert service.end(signal.SIGTERM) == 0


ALARM = b'{"events": ["vendor_vape"]}'
AIR = b'{"pm25": 4.0, "rh": 41.0}'


@pytest.mark.parametrize(
    ("payload", "crash"),
    [
        (ALARM, "commit: before"),
        (AIR, "commit: before"),
        (ALARM, "commit: after, nothing acknowledged"),
        (AIR, "commit: after, nothing acknowledged"),
        (AIR, "acknowledge: after"),
    ],
)
def test_equal_messages_without_a_time_stamp(payload, crash, broker, tmp_path):
    """Equal content does not mean a redelivery: the service dies before or after the second commit.

    An alarm can be stored as often as it was delivered, but never less often than it was sent.
    """
    topic = "plumewatch/v1/n2-boys-1/reading"
    with Receiver() as receiver, Publisher(broker.port) as publisher:
        alone = f"{KNOWN['broker']}\ncanary = false"  # nothing else is acknowledged
        service = ForkedService(tmp_path, broker.port, push_url=receiver.url, broker=alone)
        try:
            service.start()
            publisher.send(topic, payload)
            eventually(lambda: service.stored() == 1, lambda: service.log)
            (number,) = re.findall(rf"PUBLISH to plumewatch \(.*, m(\d+), '{topic}'", broker.log)
            acknowledged = f"Received PUBACK from plumewatch (Mid: {number},"
            eventually(lambda: acknowledged in broker.log, lambda: broker.log)
            service.end(signal.SIGKILL)
            service.start(crash=crash)
            service.await_connection()
            publisher.send(topic, payload)
            service.await_death()
            service.start()
            publisher.send("plumewatch/v1/n2-boys-2/reading", AIR)
            eventually(
                lambda: "n2-boys-2" in {r.sensor for r in service.journal()}, lambda: service.log
            )
            stored = service.stored() - 1
            delivered = len(re.findall(f"Sending PUBLISH to plumewatch .*'{topic}'", broker.log))
            assert delivered >= 3
            assert 2 <= stored <= (delivered if payload == ALARM else 2)
            assert service.end(signal.SIGTERM) == 0
        finally:
            service.end(signal.SIGKILL)
