"""F4 to F6: faults of the network to the broker, the broker, its session, and its queue.

The publisher connects to the broker directly; the service connects through a faulty proxy. After
each fault, the journal is compared with the publisher's ledger.
"""

from __future__ import annotations

import signal
import time

import psutil
import pytest

from tests.support.broker import Mosquitto
from tests.support.launcher import ForkedService
from tests.support.oracle import assert_all_stored, assert_notified, incidents, quiet_reading
from tests.support.plumes import readings_of_puff
from tests.support.proxy import Fault, Proxy
from tests.support.service import Publisher, Receiver
from tests.support.waiting import eventually

BURST = 300
WINDOW = "max_inflight_messages 100\nmax_queued_messages 100000"

KNOWN_ID = 'client_id = "plumewatch"'


class Course:
    """Broker, proxy, service and publisher; readings are numbered consecutively."""

    def __init__(self, broker, proxy, service, publisher):
        self.broker, self.proxy, self.service = broker, proxy, service
        self.publisher = publisher
        self.sent = 0

    def send(self, count=BURST):
        self.publisher.send_readings(
            quiet_reading("n2-boys-1", self.sent + k) for k in range(count)
        )
        self.sent += count

    def connections(self):
        return self.service.log.count("connected to 127.0.0.1")


@pytest.fixture
def course(tmp_path):
    with (
        Mosquitto(WINDOW) as broker,
        Proxy(broker.port) as proxy,
        ForkedService(tmp_path, proxy.port, broker=KNOWN_ID) as service,
        Publisher(broker.port) as publisher,
    ):
        course = Course(broker, proxy, service, publisher)
        course.send()
        yield course
        proxy.fault = Fault()
        assert_all_stored(service, publisher)
        assert service.end(signal.SIGTERM) == 0
        assert "Traceback" not in service.log


@pytest.mark.parametrize(
    "fault",
    [
        Fault(latency_s=0.05, jitter_s=0.1),
        Fault(bytes_per_s=20_000),
        Fault(slice_bytes=7),
        Fault(bytes_per_s=40_000, slice_bytes=23, latency_s=0.002, jitter_s=0.002),
    ],
    ids=["latency and jitter", "narrow", "sliced", "all of them"],
)
def test_a_bad_line(course, fault):
    course.proxy.fault = fault
    course.send()
    assert_all_stored(course.service, course.publisher)


def test_resets_in_the_middle_of_a_burst(course):
    for _ in range(5):
        before = course.connections()
        course.send()
        course.proxy.reset()
        eventually(lambda n=before: course.connections() > n, lambda: course.service.log, 40)


def test_connections_lost_over_and_over_are_reported_beside_each_alert(tmp_path):
    with (
        Mosquitto(WINDOW) as broker,
        Proxy(broker.port) as proxy,
        Receiver() as receiver,
        ForkedService(tmp_path, proxy.port, push_url=receiver.url) as service,
        Publisher(broker.port) as publisher,
    ):
        puff = readings_of_puff(start=time.time() - 190.0, seconds=190.0)
        for lost in range(4):
            publisher.send_readings(puff[lost * 20 : lost * 20 + 20])
            proxy.reset()
            eventually(
                lambda n=lost: service.log.count("connected to 127.0.0.1") > n + 1,
                lambda: service.log,
                40,
            )
        publisher.send_readings(puff[80:])
        assert_all_stored(service, publisher)
        ((_, room, _),) = eventually(lambda: incidents(service, "service"), lambda: service.log)
        assert room == ""
        assert_notified(service, receiver, rooms=["N2-boys"], kills=0, besides=["service"])


@pytest.mark.parametrize(
    "fault",
    [*(Fault(cut_after=size) for size in (1, 30, 700, 5_000)), Fault(refuse=True)],
    ids=str,
)
def test_connections_cut_after_so_many_bytes_or_refused(course, fault):
    course.proxy.fault = fault
    course.proxy.reset()
    course.send()
    before = course.proxy.connections
    eventually(lambda: course.proxy.connections > before + 2, lambda: course.service.log, 60)


def test_a_network_that_swallows_everything(course):
    """Connections succeed but get no answers: each attempt times out, and nothing accumulates."""
    assert_all_stored(course.service, course.publisher)
    process = psutil.Process(course.service.pid)
    before = process.num_fds(), process.num_threads()
    course.proxy.fault = Fault(blackhole=True)
    course.proxy.reset()
    course.send()
    eventually(
        lambda: course.service.log.count("is not reachable") >= 3, lambda: course.service.log, 120
    )
    after = process.num_fds(), process.num_threads()
    assert after[0] <= before[0] + 3
    assert after[1] <= before[1] + 3


def test_a_queue_beyond_its_limit_is_counted_as_missing(tmp_path):
    """F5: the broker drops messages silently, and sequence numbers reveal the loss."""
    limit, sent = 200, 500
    with (
        Mosquitto(f"max_inflight_messages 20\nmax_queued_messages {limit}") as broker,
        ForkedService(tmp_path, broker.port) as service,
        Publisher(broker.port) as publisher,
    ):
        publisher.send_readings([quiet_reading("n2-boys-1", 0)])
        eventually(lambda: len(service.journal()) == 1, lambda: service.log)
        service.end(signal.SIGTERM)
        publisher.send_readings(quiet_reading("n2-boys-1", 1 + k) for k in range(sent))
        publisher.settle()
        assert len(publisher.acknowledged) == sent + 1
        service.start()
        eventually(lambda: service.stored() > limit, lambda: service.log)  # there is space again
        publisher.send_readings([quiet_reading("n2-boys-1", sent + 1)])
        eventually(
            lambda: service.journal()[-1].seq == sent + 1, lambda: f"the newest\n{service.log}"
        )
        kept = [r.seq for r in service.journal()]
        assert kept == sorted(set(kept))
        assert limit <= len(kept) <= limit + 25
