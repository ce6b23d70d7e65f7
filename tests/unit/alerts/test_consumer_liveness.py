"""Silence on its way to a notice: one an outage, over restarts and refused commits."""

import sqlite3

import pytest

from alerts.consumer.detection_consumer import DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents import schema
from detection.liveness import LivenessSettings, SensorState
from ingest.validation import may_alert
from storage import state
from storage.journal import Journal
from storage.reading import Reading
from storage.sqlite import connect, migrate

START = 1_790_000_000.0


class House:
    """Sensors that report every 5 s through journal and watch, until they are switched off."""

    def __init__(self, folder, registry, policy):
        self.folder, self.registry, self.policy = folder, registry, policy
        self.journal = Journal(folder / "journal.db")
        self.journal.open()
        self.left = []
        self.now = START
        self.off = set()
        self.start()

    def start(self):
        self.state = connect(self.folder / "state.db")
        self.left.append(self.state)
        migrate(self.state, "state", state.SCRIPTS)
        migrate(self.state, schema.COMPONENT, schema.SCRIPTS)
        engine = AlertEngine(self.registry, self.policy)
        self.watch = DetectionConsumer(self.state, engine, may_alert, LivenessSettings())
        self.watch.open(self.journal.read)

    def put(self, *readings):
        self.journal.commit(readings)
        entries, position = self.journal.read(self.watch.position, 1000)
        events = self.watch.step([e.reading for e in entries])
        self.watch.commit(events, position, self.now)

    def run(self, seconds):
        for _ in range(int(seconds)):
            self.now += 1
            if self.now % 5 == 0:
                self.put(
                    *(
                        Reading(s, self.now, self.now, {"pm25": 4.0})
                        for s in self.registry.sensors
                        if s not in self.off
                    )
                )
            events = self.watch.check_silence(self.now)
            if events:
                self.watch.commit(events, self.watch.position, self.now)
            else:
                self.watch.on_time(self.now)

    def rows(self, what):
        return [tuple(row) for row in self.state.execute(what)]

    def incidents(self):
        return self.rows("SELECT kind, room, status FROM incident ORDER BY id")

    def notices(self):
        return self.rows("SELECT person, reason FROM outbox ORDER BY id")

    def close(self):
        for connection in self.left:
            connection.close()
        self.journal.close()


@pytest.fixture
def house(tmp_path, registry, policy):
    house = House(tmp_path, registry, policy)
    house.run(60)
    yield house
    house.close()


def test_facilities_are_told_once_and_the_return_resolves_it(house):
    house.off = {"s3"}
    house.run(3000)
    assert house.incidents() == [("offline", "n1-girls", "open")]
    assert house.notices() == [("fm", "opened")]
    house.off = set()
    house.run(300)
    assert house.incidents() == [("offline", "n1-girls", "resolved")]
    assert house.notices() == [("fm", "opened")]


def test_all_at_once_are_one_incident(house):
    house.off = {"s1", "s2", "s3"}
    house.run(600)
    assert house.incidents() == [("offline", "3 sensors (s1 and others)", "open")]
    assert house.notices() == [("fm", "opened")]


@pytest.mark.parametrize("orderly", [True, False], ids=["stopped", "killed"])
def test_restart_forgets_no_outage_and_announces_none(house, orderly):
    house.off = {"s3"}
    house.run(300)
    if orderly:
        house.watch.save_snapshot()
    house.now += 8 * 3600.0
    house.start()
    house.run(300)
    assert house.watch.lives()["s3"].state is SensorState.OFFLINE
    assert house.incidents() == [("offline", "n1-girls", "open")]
    assert house.notices() == [("fm", "opened")]
    house.off = set()
    house.run(300)
    assert house.incidents() == [("offline", "n1-girls", "resolved")]


def test_end_before_the_commit_tells_it_after_the_restart(house):
    house.off = {"s3"}
    house.run(80)
    while not house.watch.check_silence(house.now):
        house.now += 1
    house.start()
    house.run(200)
    assert house.notices() == [("fm", "opened")]


def test_refused_commit_is_repeated(house):
    house.off = {"s3"}
    house.run(80)
    while not (events := house.watch.check_silence(house.now)):
        house.now += 1
    before = house.watch.save_snapshot()
    assert before <= house.watch.position
    with sqlite3.connect(house.folder / "state.db") as other:
        house.state.execute("PRAGMA busy_timeout=1")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError):
            house.watch.commit(events, house.watch.position, house.now)
        other.rollback()
    other.close()
    house.watch.commit(events, house.watch.position, house.now)
    assert house.notices() == [("fm", "opened")]


@pytest.mark.parametrize("flag", ["retained", "cached", "simulated"])
def test_repeated_values_prove_nothing(house, flag):
    house.off = {"s3"}
    for _ in range(60):
        house.run(5)
        house.put(Reading("s3", house.now, house.now, {"pm25": 4.0}, (), (), (flag,)))
    assert house.notices() == [("fm", "opened")]


def test_a_board_without_its_sensor_is_silent(house):
    house.off = {"s3"}
    for _ in range(60):
        house.run(5)
        house.put(Reading("s3", house.now, house.now, {"rssi": -60.0}, ("online",)))
    assert house.notices() == [("fm", "opened")]


@pytest.mark.parametrize("flag", ["late", "history", "time_replaced"])
def test_wrong_clocks_are_alive(house, flag):
    house.off = {"s3"}
    for _ in range(60):
        house.run(5)
        house.put(Reading("s3", house.now, house.now, {"pm25": 4.0}, (), (), (flag,)))
    assert house.notices() == []


def test_an_outage_whose_state_is_lost_is_ended_and_judged_anew(house):
    house.off = {"s3"}
    house.run(300)
    house.state.execute("UPDATE detector_snapshot SET body = x'00' WHERE name = 'liveness'")
    house.start()
    house.run(5)
    assert house.watch.lives()["s3"].state is SensorState.ALIVE
    phases = house.rows("SELECT phase FROM alert_event ORDER BY onset")
    assert phases == [("ended",)]
    house.run(300)
    assert house.watch.lives()["s3"].state is SensorState.OFFLINE
    house.off = set()
    house.run(300)
    assert house.incidents() == [("offline", "n1-girls", "resolved")]
    assert house.notices() == [("fm", "opened")]


def test_a_will_is_told(house):
    house.off = {"s3"}
    house.put(Reading("s3", house.now, house.now, {}, ("offline",)))
    house.run(61)
    assert house.notices() == [("fm", "opened")]


def test_readings_behind_what_was_received_are_counted(house):
    for k in range(10):
        house.put(Reading("s1", house.now - 30 - k, house.now, {"pm25": 4.0}))
    house.run(50)
    assert house.watch.skipped == {"s1": 10}


def test_a_stamp_ahead_costs_no_more_than_the_reading_of_its_own_moment(house):
    house.put(Reading("s1", house.now + 200, house.now, {"pm25": 4.0}))
    house.run(50)
    assert house.watch.skipped == {"s1": 1}


def test_without_settings_nobody_is_silent(tmp_path, registry, policy):
    connection = connect(tmp_path / "state.db")
    migrate(connection, "state", state.SCRIPTS)
    migrate(connection, schema.COMPONENT, schema.SCRIPTS)
    watch = DetectionConsumer(connection, AlertEngine(registry, policy), may_alert)
    watch.process([Reading("s1", START, START, {"pm25": 4.0})], 1, START)
    assert watch.check_silence(START + 86_400.0) == []
    assert watch.lives() == {}
    connection.close()
