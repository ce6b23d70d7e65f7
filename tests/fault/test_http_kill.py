"""Test `kill -9` during bursts of posts and messages: every 200 and PUBACK is stored once."""

import contextlib
import json
import random
import signal
import threading
import time
from collections import Counter

import httpx
import pytest

from ingest.integrity import FINDINGS
from storage.reading import Reading
from tests.support.broker import free_port
from tests.support.service import Publisher, ServiceProcess
from tests.support.waiting import eventually

KILLS = 6
SENDERS = 6
TOKEN = "token-of-the-senders"
SOURCE = """
[ingest.http]
port = {port}

[[ingest.source]]
name = "diy"
decoder = "native"
token_file = "token"
sensors = ["n2-boys-1"]
rate_per_s = 10000
"""


class Sender(threading.Thread):
    """Posts numbered readings one after another, repeating each until it gets 200."""

    def __init__(self, url, first, stop):
        super().__init__(daemon=True)
        self.done = []
        self.repeated = 0
        self._url = url
        self._first = first
        self._stop_now = stop

    def run(self):
        seq = self._first
        with httpx.Client(headers={"authorization": f"Bearer {TOKEN}"}, timeout=30) as client:
            while not self._stop_now.is_set():
                content = json.dumps({"time": time.time(), "seq": seq, "pm25": 4.0}).encode()
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        status = client.post(self._url, content=content).status_code
                        assert status in (200, 503), status
                        if status == 200:
                            break
                    self.repeated += 1
                    time.sleep(0.02)
                self.done.append(seq)
                seq += SENDERS


@pytest.mark.timeout(400)
def test_every_200_and_every_puback_is_stored_once(broker, tmp_path):
    rng = random.Random(random.randrange(10**6))  # reproducible with the seed that pytest prints
    port = free_port()
    (tmp_path / "token").write_text(TOKEN)
    service = ServiceProcess(tmp_path, broker.port)
    with service.config.open("a") as config:
        config.write(SOURCE.format(port=port))
    stop = threading.Event()
    url = f"http://127.0.0.1:{port}/ingest/native/n2-boys-1"
    senders = [Sender(url, k, stop) for k in range(SENDERS)]
    with service, Publisher(broker.port) as publisher:
        for sender in senders:
            sender.start()
        published = 0
        for _ in range(KILLS):
            goal = 50 + sum(len(s.done) for s in senders)
            eventually(
                lambda g=goal: sum(len(s.done) for s in senders) > g, lambda: service.log, 60
            )
            count = rng.randrange(50, 200)
            publisher.send_readings(
                Reading("n2-boys-2", time.time(), 0, {"pm25": 4.0}, seq=published + k)
                for k in range(count)
            )
            published += count
            time.sleep(rng.uniform(0.0, 0.1))
            service.end(signal.SIGKILL)
            service.start()
        publisher.settle()
        stop.set()
        for sender in senders:
            sender.join(60)
            assert not sender.is_alive()
        answered = Counter(("n2-boys-1", seq) for s in senders for seq in s.done)
        promised = answered + Counter(publisher.acknowledged)

        def stored():  # without the service's report that several senders use one name
            readings = (r for r in service.journal() if FINDINGS.isdisjoint(r.events))
            return Counter((r.sensor, r.seq) for r in readings)

        eventually(lambda: stored().total() >= promised.total(), lambda: service.log, within_s=60)
        assert stored() == promised
        assert sum(s.repeated for s in senders) > 0  # the kills had an effect

        def counts():
            return Counter(reading.sensor for reading in service.journal())

        eventually(lambda: service.series() == counts(), lambda: f"{service.series()} {counts()}")
        assert service.dead_letters() == {}
        assert service.end(signal.SIGTERM) == 0
        assert "Traceback" not in service.log
        assert TOKEN not in service.log
