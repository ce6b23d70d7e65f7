"""The path from journal to incidents: a crash anywhere changes nothing but the time it takes."""

import sqlite3

import pytest

from alerts.consumer.detection_consumer import CONSUMER, DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents import schema
from detection.events import ChannelEvidence, Event, EventKind, EventPhase
from ingest.validation import SILENT_FLAGS, may_alert
from language.facts import fact, to_json
from storage import state
from storage.journal import Journal
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.sqlite import connect, migrate
from tests.support import alert_records as stored
from tests.support.plumes import START, readings_of_puff


class Site:
    """Journal and state database of one service, opened again and again."""

    def __init__(self, folder, registry, policy):
        folder.mkdir()
        self.folder = folder
        self.registry = registry
        self.policy = policy
        self.events = []
        self.alerts = []
        self.journal = Journal(folder / "journal.db")
        self.journal.open()
        self.left = []
        self.gather_s = 0.0
        self.start()

    def start(self):
        self.state = connect(self.folder / "state.db")
        self.left.append(self.state)
        migrate(self.state, "state", state.SCRIPTS)
        migrate(self.state, schema.COMPONENT, schema.SCRIPTS)
        engine = AlertEngine(self.registry, self.policy)
        self.consumer = DetectionConsumer(self.state, engine, may_alert, gather_s=self.gather_s)
        self.consumer.open(self.journal.read)

    def crash(self):
        """Nothing is saved and nothing tidied up."""
        self.start()

    def stop(self):
        self.consumer.save_snapshot()
        self.state.close()

    def batch(self, size):
        entries, position = self.journal.read(self.consumer.position, size)
        return [entry.reading for entry in entries], position

    def process(self, size):
        readings, position = self.batch(size)
        if position == self.consumer.position:
            return False
        events = self.consumer.step(readings)
        self.keep(events, self.consumer.commit(events, position, readings[-1].received))
        return True

    def keep(self, events, alerts):
        self.events += [(e.id, e.phase, e.time, e.onset, e.end, e.confidence) for e in events]
        self.alerts += [(a.sensor, a.alerted, a.kind, a.onset, a.confidence) for a in alerts]

    def rows(self):
        incidents, notices = stored.incidents(self.state, "id"), stored.notices(self.state, "id")
        return len(incidents), len(notices), state.cursor(self.state, CONSUMER)

    def result(self):
        return self.events, self.alerts, self.rows()

    def close(self):
        for connection in self.left:
            connection.close()
        self.journal.close()


@pytest.fixture
def make_site(tmp_path, registry, policy):
    sites = []

    def make():
        sites.append(Site(tmp_path / f"site{len(sites)}", registry, policy))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def readings():
    """Two puffs at two sensors of two rooms, a device that is tampered with, clean air."""
    merged = [
        *readings_of_puff("s1"),
        *readings_of_puff("s3", onset_s=200.0, top=90.0),
        Reading("s2", START + 120, START + 120.25, {}, ("tamper",)),
    ]
    return sorted(merged, key=lambda r: r.time)


@pytest.fixture
def whole(make_site, readings):
    site = make_site()
    site.journal.commit(readings)
    while site.process(50):
        pass
    assert {a[2].value for a in site.alerts} == {"vape", "tamper"}
    assert len(site.alerts) == 3
    assert site.rows()[0] == 3
    return site.result()


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_any_batch_size_gives_the_same(make_site, readings, whole, size):
    site = make_site()
    site.journal.commit(readings)
    while site.process(size):
        pass
    assert sorted(site.events) == sorted(whole[0])
    assert site.result()[1:] == whole[1:]


@pytest.mark.parametrize(("after", "orderly"), [(k, k % 2 == 1) for k in range(1, 7)])
def test_restart_in_the_middle(make_site, readings, whole, after, orderly):
    site = make_site()
    site.journal.commit(readings)
    for _ in range(after):
        site.process(50)
    if orderly:
        site.stop()
    site.crash()
    while site.process(50):
        pass
    assert site.result() == whole


def test_restart_from_a_snapshot_older_than_the_position(make_site, readings, whole):
    site = make_site()
    site.journal.commit(readings)
    site.process(50)
    site.process(50)
    assert site.consumer.save_snapshot() == 100
    for _ in range(2):
        site.process(50)
    site.crash()
    assert site.consumer.position == 200
    while site.process(50):
        pass
    assert site.result() == whole


@pytest.mark.parametrize("saved", [False, True], ids=["crash", "stopped in order"])
def test_end_after_step_before_commit(make_site, readings, whole, saved):
    """Every batch is stepped once in vain; housekeeping may want a snapshot at just that moment."""
    site = make_site()
    site.journal.commit(readings)
    while True:
        batch, position = site.batch(50)
        if position == site.consumer.position:
            break
        site.consumer.step(batch)
        if saved:
            assert site.consumer.save_snapshot() <= site.consumer.position
        site.crash()
        assert site.process(50)
    assert site.result() == whole


def test_crash_after_commit(make_site, readings, whole):
    site = make_site()
    site.journal.commit(readings)
    while site.process(50):
        site.crash()
    assert site.result() == whole


@pytest.mark.parametrize("crash_every", [0, 15, 20])
@pytest.mark.parametrize("saved", [False, True], ids=["crash", "snapshot and crash"])
def test_batches_from_which_nothing_follows_are_committed_together(
    make_site, readings, whole, crash_every, saved
):
    site = make_site()
    site.gather_s = 30.0
    site.start()
    site.journal.commit(readings)
    batches, commits = 0, set()
    while site.process(10):
        batches += 1
        commits.add(state.cursor(site.state, CONSUMER))
        if crash_every and batches % crash_every == 0:
            if saved:
                assert site.consumer.save_snapshot() == site.consumer.position
            site.crash()
    assert len(commits) < batches * 0.75
    site.consumer.on_time(readings[-1].received)
    assert sorted(site.events) == sorted(whole[0])
    assert site.result()[1:] == whole[1:]


def test_commit_is_tried_again_when_the_disk_refuses(make_site, readings, whole):
    site = make_site()
    site.journal.commit(readings)
    while True:
        batch, position = site.batch(50)
        if position == site.consumer.position:
            break
        events = site.consumer.step(batch)
        before = site.rows()
        other = sqlite3.connect(site.folder / "state.db")
        site.state.execute("PRAGMA busy_timeout=1")
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                site.consumer.commit(events, position, batch[-1].received)
            assert site.rows() == before
        other.rollback()
        other.close()
        site.keep(events, site.consumer.commit(events, position, batch[-1].received))
    assert site.result() == whole


@pytest.mark.parametrize("flag", sorted(SILENT_FLAGS))
def test_readings_with_silent_flags_are_not_shown_to_detectors(make_site, flag):
    import msgspec

    site = make_site()
    silent = [msgspec.structs.replace(r, flags=(flag,)) for r in readings_of_puff("s1")]
    silent.append(Reading("s1", START + 400, START + 400, {}, ("tamper",), (), (flag,)))
    site.journal.commit(silent)
    while site.process(50):
        pass
    assert site.events == []
    assert site.alerts == []
    assert site.consumer.watermark == float("-inf")
    assert site.consumer.position == len(silent)


@pytest.mark.parametrize("flags", [("no_time",), ("time_replaced",)])
def test_readings_on_our_own_clock_alert(make_site, flags):
    import msgspec

    site = make_site()
    site.journal.commit(
        [msgspec.structs.replace(r, flags=flags) for r in readings_of_puff("s1", delay_s=0.0)]
    )
    while site.process(50):
        pass
    assert [a[2].value for a in site.alerts] == ["vape"]


def test_silent_readings_between_others_change_nothing(make_site, readings, whole):
    """A backfill from the past must not disturb what is being watched now."""
    site = make_site()
    mixed = []
    for reading in readings:
        mixed += [
            reading,
            Reading(
                "s1", reading.time + 0.5, reading.received, {"pm25": 900.0}, (), (), ("retained",)
            ),
        ]
    site.journal.commit(mixed)
    while site.process(50):
        pass
    assert site.alerts == whole[1]


def test_a_clock_that_runs_ahead_does_not_age_the_others(make_site, readings, whole):
    site = make_site()
    ahead = Reading("s2", START + 250, START, {"pm25": 4.0})
    site.journal.commit([ahead, *readings])
    while site.process(50):
        pass
    assert site.alerts == whole[1]


@pytest.mark.parametrize("ahead", [5.0, 50.0, 290.0])
def test_readings_stamped_ahead_do_not_keep_a_puff_from_being_judged(make_site, ahead):
    site = make_site()
    puff = readings_of_puff("s1")
    forged = [
        Reading(r.sensor, r.received + 0.01 + ahead, r.received + 0.01, {"pm25": 4.0})
        for r in puff[::10]
    ]
    site.journal.commit(sorted([*puff, *forged], key=lambda r: r.received))
    while site.process(50):
        pass
    assert [kind for _, _, kind, _, _ in site.alerts] == ["vape"]


def test_a_snapshot_of_another_model_or_garbage_is_not_used(make_site, readings, whole):
    site = make_site()
    site.journal.commit(readings)
    for body, version in ((b"\xc1", None), (b"", None), (b"x", "older-model")):
        for _ in range(2):
            site.process(50)
        found = state.Snapshot(site.consumer.position, version or site.consumer.model_version, body)
        state.set_snapshot(site.state, CONSUMER, found)
        site.crash()
    while site.process(50):
        pass
    assert site.result() == whole


def test_position_passes_corrupt_and_pruned_entries(make_site, readings, whole):
    site = make_site()
    site.journal.commit(readings)
    for _ in range(4):
        site.process(50)
    site.stop()
    site.journal.prune(min_cursor=200, received_before=float("inf"))
    site.start()
    assert site.consumer.position == 200
    while site.process(50):
        pass
    assert site.result() == whole


def smoky_rooms():
    """Four rooms of one building into which smoke comes within ten minutes, for half an hour."""
    rooms = [Room(f"r{k}", f"Room {k}", "1", "North", "Lincoln High") for k in range(4)]
    registry = Registry.of(rooms, [Sensor(f"q{k}", f"r{k}") for k in range(4)])
    readings = []
    for n in range(360):
        at = 15.0 * n
        smoke = 20.0 * min(max((at - 2400.0) / 600.0, 0.0), 1.0)
        for k in range(4):
            noise = 0.1 * ((7 * n + 3 * k) % 5)
            time = START + at + 0.1 * k
            values = {"pm25": round(5.0 + noise + smoke, 1), "rh": 41.0 + noise}
            readings.append(Reading(f"q{k}", time, time + 0.25, values))
    return registry, readings


def vape_at(sensor, at, excess):
    return Event(
        sensor=sensor,
        kind=EventKind.VAPE,
        phase=EventPhase.ALERTED,
        onset=START + 2450.0,
        alerted=START + at,
        peak_time=START + at,
        end=None,
        confidence=0.9,
        probabilities={"vape": 0.9},
        evidence={"pm25": ChannelEvidence(5.0, excess, 60.0, None)},
        model_version="made",
        time=START + at,
    )


class SaysSo:
    """A detector of plumes that returns prepared events when their readings arrive."""

    model_version = "made"

    def __init__(self, events):
        self.left = list(events)

    def sensor_row(self, sensor):
        return int(sensor[1:])

    def step(self, batch):
        now = max(batch.time, default=0.0)
        due = [e for e in self.left if e.time <= now]
        self.left = [e for e in self.left if e.time > now]
        return due

    def on_time(self, _now, _received=None):
        return []

    def snapshot(self):
        return b""


@pytest.mark.parametrize("size", [50, 120])
def test_vaping_that_the_air_of_the_building_explains_alerts_nobody(make_site, size):
    site = make_site()
    site.registry, readings = smoky_rooms()
    site.start()
    events = [vape_at("q1", 3500.0, 8.0), vape_at("q2", 3500.0, 60.0)]
    site.consumer._judge.detectors.plumes = SaysSo(events)
    site.journal.commit(readings)
    while site.process(size):
        pass
    kinds = sorted((a[0], a[2].value) for a in site.alerts)
    assert [k for k in kinds if k[1] == "vape"] == [("q2", "vape")]
    assert [k[1] for k in kinds if k[1] != "vape"] == ["ambient"]
    found = stored.events(site.state, "sensor", "incident", "details", kind="vape")
    (alert,) = stored.incidents(site.state, "id", kind=EventKind.VAPE)
    assert sorted(found) == [
        ("q1", None, to_json((fact("rose_together", risen=4, n=4),))),
        ("q2", alert, "[]"),
    ]


def test_common_air_is_followed_over_restarts(make_site):
    results = []
    for orderly in (None, True, False):
        site = make_site()
        site.registry, readings = smoky_rooms()
        site.start()
        site.journal.commit(readings)
        while site.process(200):
            if orderly is not None:
                if orderly:
                    site.stop()
                site.crash()
        results.append(site.alerts)
    assert [a[2].value for a in results[0] if a[2] is EventKind.AMBIENT] == ["ambient"]
    assert results[1] == results[0]
    assert results[2] == results[0]
