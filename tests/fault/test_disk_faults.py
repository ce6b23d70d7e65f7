"""F2 and F3: power outages, a full disk, failing writes and syncs.

F2: no PUBACK is sent before its sync. Whichever unsynced writes a power outage destroys, all
acknowledged readings can be read. F3: while the disk fails, nothing is acknowledged, and the
service reports the fault. When the disk works again, nothing is missing.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections import Counter

import pytest

from storage.journal import Journal, load_cursor
from storage.sqlite import connect
from storage.timeseries.sqlite import SqliteSeries
from tests.support.broker import Mosquitto
from tests.support.disk_shim import DiskShim, PowerCuts
from tests.support.fork_server import Launcher
from tests.support.launcher import ForkedService
from tests.support.oracle import assert_all_stored, assert_notified, quiet_reading
from tests.support.plumes import readings_of_puff
from tests.support.service import Publisher, Receiver
from tests.support.waiting import eventually

CUTS = 60
READINGS = 1_500
FILES = ("journal.db", "state.db", "series.db")


@pytest.fixture
def broker():
    with Mosquitto("max_inflight_messages 40\nmax_queued_messages 100000") as started:
        yield started


def recorded(broker, tmp_path, readings, sabotage=""):
    """Run the service with the I/O shim until it has read everything, and kill it."""
    (tmp_path / "service").mkdir()
    shim = DiskShim(tmp_path, tmp_path / "service/data", broker.port, record=True)
    with (
        Launcher(shim.environment) as launcher,
        Publisher(broker.port) as publisher,
    ):
        # without the canary, thousands of messages from one sensor count as no flood
        service = ForkedService(
            tmp_path / "service", broker.port, broker="canary = false", launcher=launcher
        )
        try:
            service.start(crash=sabotage)
            service.await_connection()
            for first in range(0, readings, 50):
                publisher.send_readings(quiet_reading("n2-boys-1", first + k) for k in range(50))
                time.sleep(0.005)
            eventually(lambda: len(service.journal()) == readings, lambda: service.log, 120)
        finally:
            service.end(signal.SIGKILL)
    return PowerCuts(shim.log)


def leave(folder, cuts, rng):
    folder.mkdir()
    for name, content in cuts.left_over(rng).items():
        if name.removesuffix("-wal").removesuffix("-journal") in FILES:
            (folder / name).write_bytes(content)
    return folder


@pytest.mark.timeout(400)
def test_a_power_cut_loses_nothing_that_was_acknowledged(broker, tmp_path):
    rng = random.Random(random.randrange(10**6))  # reproducible with the seed that pytest prints
    cuts = recorded(broker, tmp_path, READINGS)
    kinds = cuts.kinds()
    puback = [k for k, kind in enumerate(kinds) if kind == "P"]
    making = range(0, kinds.index("C"), 2)  # the files are created before the broker is connected
    at = sorted(
        {
            *rng.sample(making, min(CUTS, len(making))),
            *rng.sample(range(len(kinds)), CUTS),
            *rng.sample(puback, min(CUTS, len(puback))),
        }
    )
    acknowledged = 0
    for count in at:
        cuts.walk_to(count + 1)
        folder = leave(tmp_path / str(count), cuts, rng)
        acknowledged = max(acknowledged, _check(folder, Counter(cuts.acknowledged), count))
    assert acknowledged > READINGS / 2  # many readings were acknowledged before the outages


def test_commits_that_are_not_synced_would_be_noticed(broker, tmp_path):
    cuts = recorded(broker, tmp_path, 200, sabotage="commits are not synced")
    cuts.walk_to(len(cuts))
    assert len(cuts.acknowledged) > 100
    folder = leave(tmp_path / "cut", cuts, random.Random(1))
    with Journal(folder / "journal.db") as journal:
        assert len(journal.read(0, 1000)[0]) < len(cuts.acknowledged)


def _check(folder, acknowledged, count):
    """Check the files that remain after a power outage."""
    with Journal(folder / "journal.db") as journal:
        entries, end = journal.read(0, 10 * READINGS)
        stored = Counter((e.reading.sensor, e.reading.seq) for e in entries)
        assert journal.repairs == 0, f"cut {count}: damaged"
        assert journal.corrupt_records == 0, f"cut {count}"
        assert not acknowledged - stored, f"cut {count}: acknowledged and lost"
        assert set(stored.values()) <= {1}, f"cut {count}: stored twice"
        assert [e.reading.seq for e in entries] == list(range(len(entries))), f"cut {count}"
    with SqliteSeries(folder / "series.db") as series:
        assert series.get_cursor() <= end, f"cut {count}: the series is ahead of the journal"
        assert len(series.read_between(0, 4e9)) == series.get_cursor(), f"cut {count}"
        assert series.repairs == 0, f"cut {count}: damaged"
    if (folder / "state.db").exists():
        with contextlib.closing(connect(folder / "state.db")) as found:
            assert found.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert load_cursor(found, "detector") <= end, f"cut {count}"
    return len(acknowledged)


def test_the_disk_fails_and_recovers(broker, tmp_path):
    (tmp_path / "service").mkdir()
    shim = DiskShim(tmp_path, tmp_path / "service/data", broker.port)
    with (
        Receiver() as receiver,
        Launcher(shim.environment) as launcher,
        Publisher(broker.port) as publisher,
        ForkedService(
            tmp_path / "service", broker.port, push_url=receiver.url, launcher=launcher
        ) as service,
    ):

        def refusals():
            return service.log.count("acknowledged only once stored): disk error")

        seq = 0
        for how in ("is full", "fails to write", "fails to sync"):
            publisher.send_readings([quiet_reading("n2-boys-2", seq)])
            eventually(lambda n=seq: len(service.journal()) == n + 1, lambda: service.log, 60)
            before = refusals()
            shim.disk(how)
            publisher.send_readings(quiet_reading("n2-boys-2", seq + 1 + k) for k in range(100))
            publisher.settle(60)
            eventually(lambda n=before: refusals() == n + 1, lambda: service.log, 60)
            assert len(service.journal()) == seq + 1  # none of it counts as stored
            assert service.running
            shim.disk("works")
            eventually(lambda n=seq: len(service.journal()) == n + 101, lambda: service.log, 60)
            seq += 101
        shim.disk("is full")
        publisher.send_readings(readings_of_puff(start=time.time() - 190.0, seconds=190.0))
        publisher.settle(60)
        eventually(lambda: refusals() >= 4, lambda: service.log, 60)
        shim.disk("works")
        assert_all_stored(service, publisher)
        assert_notified(service, receiver, rooms=["N2-boys"], kills=0)
        assert service.end(signal.SIGTERM) == 0
        assert "Traceback" not in service.log
