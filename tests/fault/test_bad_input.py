"""Test that the real service refuses and counts bad input, and keeps running."""

import json
import signal
import time

from storage.reading import Reading
from tests.support.service import Publisher, ServiceProcess
from tests.support.waiting import eventually

NATIVE = "plumewatch/v1/n2-boys-1/reading"


def good(seq):
    return Reading("n2-boys-1", time.time(), 0, {"pm25": 4.0}, seq=seq)


def body(**content):
    return json.dumps(content).encode()


def test_bad_input_is_counted_and_stops_nothing(broker, tmp_path):
    now = time.time()
    refused = [
        ("malformed", NATIVE, b"\x00\xff\xfe garbage"),
        ("too_large", NATIVE, b"7" * 10_000_000),
        ("id_mismatch", NATIVE, body(sensor="other", time=now, pm25=1)),
        ("malformed", "plumewatch/v1/n2-boys-1/status", b"perhaps"),
    ]
    taken = [
        (("n2-boys-1", "time_replaced"), NATIVE, body(time=0, seq=1, pm25=4.0)),
        (("n2-boys-1", "late"), NATIVE, body(time=now - 86_400, seq=4, pm25=900.0)),
        (("n2-boys-1", ""), NATIVE, b'{"time": %f, "seq": 5, "pm25": NaN, "rh": 40}' % now),
        (
            ("unregistered", "unknown_sensor"),
            "plumewatch/v1/unregistered/reading",
            body(time=now, pm25=1),
        ),
    ]
    with (
        ServiceProcess(tmp_path, broker.port) as service,
        Publisher(broker.port) as publisher,
    ):
        for _, topic, payload in [*refused, *taken]:
            publisher.send(topic, payload)
        publisher.settle()
        publisher.send_readings([good(100)])
        eventually(
            lambda: any(r.seq == 100 for r in service.journal()),
            lambda: f"a good message after the bad ones:\n{service.log}",
        )
        expected = {}
        for reason, _, _ in refused:
            expected[reason] = expected.get(reason, 0) + 1
        assert service.dead_letters() == expected
        journal = service.journal()
        assert [(r.sensor, " ".join(r.flags)) for r in journal[:-1]] == [who for who, _, _ in taken]
        faulty = {r.seq: (r.values, r.faults) for r in journal if r.faults}
        assert faulty == {5: ({"rh": 40.0}, ("pm25",))}
        assert all(abs(r.time - now) < 3600 for r in journal if "time_replaced" in r.flags)
        assert service.running
        assert "Traceback" not in service.log
        assert service.end(signal.SIGTERM) == 0


def test_thousands_of_bad_messages_do_not_close_the_window(broker, tmp_path):
    # without the canary, thousands of messages from one sensor count as no flood
    with (
        ServiceProcess(tmp_path, broker.port, broker="canary = false") as service,
        Publisher(broker.port) as publisher,
    ):
        for k in range(10_000):
            publisher.send(NATIVE, b"no json %d" % k)
        publisher.send_readings([good(1)])
        reported = ("integrity:refused",)  # so many refusals are reported as an event
        eventually(lambda: {r.events for r in service.journal()} == {(), reported}, service.journal)
        assert service.dead_letters() == {"malformed": 10_000}
        assert [r.seq for r in service.journal() if not r.events] == [1]
