"""Test that each outage gives one notice, despite restarts and refused commits."""

import pytest

from alerts.engine import AlertEngine
from alerts.incidents.incident import Verdict
from alerts.notify.notice import render
from detection.liveness import LivenessSettings, SensorState
from storage.journal import load_snapshot, save_snapshot
from storage.reading import Reading
from storage.sqlite import transaction
from tests.support import alert_records as stored
from tests.support.consumer_site import ConsumerSite

START = 1_790_000_000.0


class Fleet(ConsumerSite):
    """Sensors that report every 5 s to journal and consumer until they are switched off."""

    now, off = START, frozenset()

    def put(self, *readings):
        self.journal.commit(readings)
        taken, position = self.batch(1000)
        self.commit(self.consumer.step(taken), position, self.now)

    def run(self, seconds):
        for _ in range(int(seconds)):
            self.now += 1
            if self.now % 5 == 0:
                alive = [s for s in self.registry.sensors if s not in self.off]
                self.put(*(Reading(s, self.now, self.now, {"pm25": 4.0}) for s in alive))
            events = self.consumer.check_silence(self.now)
            if events:
                self.commit(events, self.consumer.position, self.now)
            else:
                self.consumer.on_time(self.now)

    def incidents(self):
        return stored.incidents(self.state, "kind", "room", "status")

    def notices(self):
        return stored.notices(self.state, "person", "reason")


@pytest.fixture
def site(tmp_path, registry, policy):
    site = Fleet(tmp_path, registry, policy, liveness=LivenessSettings())
    site.run(60)
    yield site
    site.close()


def test_facilities_are_notified_once_and_the_return_resolves_it(site):
    site.off = {"s3"}
    site.run(1200)
    assert site.incidents() == [("offline", "n1-girls", "open")]
    assert site.notices() == [("fm", "opened")]
    site.off = set()
    site.run(300)
    assert site.incidents() == [("offline", "n1-girls", "resolved")]
    assert site.notices() == [("fm", "opened")]


def last_notice(site, reason="recovered"):
    """Deliver all notices; return the title and body of the newest one for a reason."""
    with transaction(site.state) as tx:
        rows = stored.deliver(tx, AlertEngine(site.registry, site.policy), site.now)
    return render([row.notice for row in rows if row.notice.reason == reason][-1])


def test_a_group_of_which_some_stay_silent_is_not_called_resolved(site):
    site.off = {"s1", "s2", "s3"}
    site.run(600)
    assert "since" in last_notice(site, "opened")[0]
    site.off = {"s1", "s2"}
    site.run(600)
    assert site.incidents()[0][2] == "resolved"
    title, body = last_notice(site)
    assert "closed" in title
    assert "resolved" not in title
    assert "No action needed" not in body
    assert "1 of 3 back" in body
    assert "2 still silent" in body


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("back", [{"s3"}, {"s1", "s3"}, {"s1", "s2", "s3"}])
def test_an_answered_outage_ends_when_sensors_of_it_report_again(site, back, restarts):
    site.off = off = {"s1", "s2", "s3"}
    site.run(600)
    with transaction(site.state) as tx:
        (incident,) = stored.incidents(tx, "id")
        engine = AlertEngine(site.registry, site.policy)
        engine.record_feedback(tx, incident, "fm", Verdict.FIXED, site.now, cause="unplugged")
    if restarts:
        site.start()
    site.off = off - back
    site.run(600)
    assert site.incidents()[0][2] == "resolved"


@pytest.mark.parametrize("orderly", [True, False], ids=["stopped", "killed"])
def test_restart_forgets_no_outage_and_announces_none(site, orderly):
    site.off = {"s3"}
    site.run(300)
    if orderly:
        site.consumer.save_snapshot()
    site.now += 8 * 3600.0
    site.start()
    site.run(300)
    assert site.consumer.get_liveness()["s3"].state is SensorState.OFFLINE
    assert site.incidents() == [("offline", "n1-girls", "open")]
    assert site.notices() == [("fm", "opened")]
    site.off = set()
    site.run(300)
    assert site.incidents() == [("offline", "n1-girls", "resolved")]


def test_an_end_before_the_commit_is_reported_after_the_restart(site):
    site.off = {"s3"}
    site.run(80)
    while not site.consumer.check_silence(site.now):
        site.now += 1
    site.start()
    site.run(200)
    assert site.notices() == [("fm", "opened")]


AIR, BOARD = {"pm25": 4.0}, {"rssi": -60.0}
SILENT = [("fm", "opened")]


@pytest.mark.parametrize(
    ("values", "events", "flags", "notices"),
    [
        *((AIR, (), (flag,), SILENT) for flag in ("retained", "cached", "simulated")),
        (BOARD, ("online",), (), SILENT),
        *((AIR, (), (flag,), []) for flag in ("late", "history", "time_replaced")),
    ],
)
def test_only_new_measurements_prove_that_a_sensor_is_alive(site, values, events, flags, notices):
    site.off = {"s3"}
    for _ in range(60):
        site.run(5)
        site.put(Reading("s3", site.now, site.now, values, events, (), flags))
    assert site.notices() == notices


def test_an_outage_whose_state_is_lost_is_ended_and_judged_anew(site):
    site.off = {"s3"}
    site.run(300)
    snapshot = load_snapshot(site.state, "liveness")
    save_snapshot(site.state, "liveness", snapshot._replace(body=b"\0"))
    site.start()
    site.run(5)
    assert site.consumer.get_liveness()["s3"].state is SensorState.ALIVE
    assert stored.events(site.state, "phase") == ["ended"]
    site.run(300)
    assert site.consumer.get_liveness()["s3"].state is SensorState.OFFLINE
    site.off = set()
    site.run(300)
    assert site.incidents() == [("offline", "n1-girls", "resolved")]
    assert site.notices() == [("fm", "opened")]


def test_without_settings_nobody_is_silent(make_site):
    site = make_site()
    site.arrive([Reading("s1", START, START, {"pm25": 4.0})])
    assert site.consumer.check_silence(START + 86_400.0) == []
    assert site.consumer.get_liveness() == {}
