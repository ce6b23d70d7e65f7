"""Test that each outage gives one offline event, which readings end and restarts don't affect."""

import numpy as np
import pytest

from detection.events import EventKind, EventPhase, join_details
from detection.liveness import AWAITED_S, UNLEARNED_S, Liveness, LivenessSettings, SensorState

ALERTED, UPDATED, ENDED = EventPhase.ALERTED, EventPhase.UPDATED, EventPhase.ENDED
FIVE = {f"s{n}": 5.0 for n in range(5)}


class Fleet:
    """Sensors that report at individual intervals until they are switched off."""

    def __init__(self, every, registered=None):
        self.every = dict(every)
        self.registered = registered or self.every
        self.live = Liveness(self.registered)
        self.off = set()
        self.now = 0
        self.events = []
        self.broker_healthy = True

    def record(self, events):
        self.events += [(self.now, e.phase, e.sensor, join_details(e.details)) for e in events]
        assert all(e.kind is EventKind.OFFLINE for e in events)

    def run(self, seconds):
        for _ in range(int(seconds)):
            self.now += 1
            for k, (name, every) in enumerate(self.every.items()):
                if name not in self.off and (self.now + k) % every == 0:
                    self.record(self.live.on_item(name, float(self.now), alive=True))
            self.record(self.live.on_time(float(self.now), broker_healthy=self.broker_healthy))
        return self

    def send_status(self, name, status):
        self.record(self.live.on_item(name, float(self.now), alive=False, status=status))

    def restart(self, away=0):
        self.live = Liveness.restore(self.live.snapshot(), self.registered)
        self.now += away

    def phases(self):
        return [phase for _, phase, *_ in self.events]

    def state(self, name):
        return self.live.get_liveness()[name].state


class TestSensorsThatNeverReported:
    def test_an_outage_of_their_own_a_day_after_they_were_registered(self):
        life = Liveness({"seen": 600.0, "new": 5.0, "other": 5.0})
        events = []
        for at in range(0, int(AWAITED_S) + 3600, 50):
            events += life.on_item("seen", float(at), alive=True)
            before = events[:]
            events += life.on_time(float(at), broker_healthy=True)
            if len(events) > len(before):
                assert at >= AWAITED_S
        (event,) = events
        assert (event.kind, event.phase) == (EventKind.OFFLINE, EventPhase.ALERTED)
        assert "2 registered sensors have never sent a reading: new, other" in join_details(
            event.details
        )
        assert life.get_liveness()["new"].state is SensorState.NEVER
        again = Liveness.restore(life.snapshot(), {"seen": 600.0, "new": 5.0, "other": 5.0})
        at = AWAITED_S + 4000.0
        assert again.on_item("new", at, alive=True) == []
        (ended,) = again.on_item("other", at, alive=True)
        assert ended.phase is EventPhase.ENDED

    def test_the_wait_lasts_over_a_restart(self):
        life = Liveness({"new": 5.0})
        life.on_time(0.0, broker_healthy=True)
        again = Liveness.restore(life.snapshot(), {"new": 5.0})
        found = []
        for at in range(int(AWAITED_S) - 600, int(AWAITED_S) + 3600, 30):
            found += again.on_time(float(at), broker_healthy=True)
        (event,) = found
        assert event.onset == 0.0
        assert "no reading since it was registered" in join_details(event.details)


def test_no_event_for_sensors_that_report_or_never_did():
    fleet = Fleet({"a": 5, "b": 60}, {"a": 5.0, "b": 60.0, "never": 5.0}).run(4000)
    assert fleet.events == []
    assert fleet.state("never") is SensorState.NEVER
    assert fleet.state("a") is SensorState.ALIVE


def test_one_sensor_has_one_event_which_its_reading_ends():
    fleet = Fleet(FIVE).run(100)
    fleet.off = {"s1"}
    fleet.run(3 * 3600)
    fleet.off = set()
    fleet.run(100)
    assert fleet.phases() == [ALERTED, ENDED]
    when, _, sensor, detail = fleet.events[0]
    assert sensor == "s1"
    assert 100 + 60 < when <= 100 + 60 + 30 + 5
    assert detail == "no reading for 90 s (normally every 5 s)"
    assert fleet.events[1][3].endswith("back after 3 h")


def test_many_at_once_are_one_event():
    fleet = Fleet(FIVE).run(100)
    fleet.off = set(FIVE)
    fleet.run(3600)
    fleet.off = set()
    fleet.run(10)
    assert fleet.phases() == [ALERTED, ENDED]
    assert fleet.events[0][2] == "5 sensors (s0 and others)"
    assert "s0, s1, s2, s3, s4" in fleet.events[0][3]


def test_slow_sensors_join_the_outage_of_the_fast():
    fleet = Fleet({"a": 5, "b": 5, "slow": 600}).run(6000)
    fleet.off = {"a", "b", "slow"}
    fleet.run(3600)
    assert fleet.phases() == [ALERTED, UPDATED]
    assert "3 sensors" in fleet.events[1][3]
    assert fleet.state("slow") is SensorState.OFFLINE


def test_a_sensor_that_fails_during_the_outage_of_others_has_its_own_event():
    fleet = Fleet(FIVE).run(100)
    fleet.off = {"s0", "s1"}
    fleet.run(1000)
    fleet.off = {"s0", "s1", "s4"}
    fleet.run(200)
    assert [event[2] for event in fleet.events] == ["2 sensors (s0 and others)", "s4"]


def test_sensors_that_stay_offline_are_reported_again():
    fleet = Fleet(FIVE).run(100)
    fleet.off = set(FIVE)
    fleet.run(1000)
    fleet.off = {"s3"}
    fleet.run(1000)
    assert fleet.phases() == [ALERTED, ENDED, ALERTED]
    assert "4 of 5 back after" in fleet.events[1][3]
    assert fleet.events[1][3].endswith(", 1 still silent")
    assert fleet.events[2][2] == "s3"


def test_default_interval_of_five_seconds_does_not_call_a_slow_device_silent():
    fleet = Fleet({"tasmota": 300}, {"tasmota": 5.0}).run(8 * 3600)
    assert fleet.events == []
    assert fleet.live.get_liveness()["tasmota"].interval_s == 300.0
    fleet.off = {"tasmota"}
    fleet.run(300 * 3 * 1.1 + 300 + 300)
    assert fleet.phases() == [ALERTED]


def test_a_sensor_with_two_readings_waits_for_the_longest_usual_interval():
    fleet = Fleet({"a": 5}).run(9)
    fleet.off = {"a"}
    fleet.run(UNLEARNED_S)
    assert fleet.events == []
    fleet.run(100)
    assert fleet.phases() == [ALERTED]


@pytest.mark.parametrize(("missed", "quiet"), [(3, 3 * 60 * 1.1), (10, 10 * 60 * 1.1)])
def test_missed_intervals_count(missed, quiet):
    fleet = Fleet({"a": 60})
    fleet.live = Liveness({"a": 60.0}, LivenessSettings(missed=missed))
    fleet.run(600)
    fleet.off = {"a"}
    fleet.run(quiet + 50)
    assert fleet.events == []
    fleet.run(70)
    assert fleet.phases() == [ALERTED]


class TestStatusMessages:
    def test_a_short_reconnect_is_no_event(self):
        fleet = Fleet(FIVE).run(100)
        fleet.off = {"s1"}
        fleet.send_status("s1", "offline")
        fleet.run(20)
        assert fleet.state("s1") is SensorState.SILENT
        fleet.send_status("s1", "online")
        fleet.off = set()
        fleet.run(1000)
        assert fleet.events == []

    def test_a_last_will_opens_an_event_and_the_birth_message_ends_it(self):
        fleet = Fleet({"a": 600, "b": 600}).run(6000)
        fleet.off = {"a"}
        fleet.send_status("a", "offline")
        fleet.run(120)
        assert fleet.phases() == [ALERTED]
        assert "reports that it is offline" in fleet.events[0][3]
        fleet.send_status("a", "online")
        assert fleet.phases() == [ALERTED, ENDED]

    def test_online_does_not_close_an_outage_of_silence(self):
        fleet = Fleet(FIVE).run(100)
        fleet.off = {"s1"}
        fleet.run(200)
        fleet.send_status("s1", "online")
        fleet.run(200)
        assert fleet.phases() == [ALERTED]

    def test_a_gateway_with_its_sensors_goes_offline_in_one_event(self):
        fleet = Fleet(dict.fromkeys("abcdef", 600)).run(6000)
        fleet.off = set("abc")
        for name in "abc":
            fleet.send_status(name, "offline")
        fleet.run(3 * 3600)
        assert fleet.phases() == [ALERTED]
        assert fleet.events[0][2] == "3 sensors (a and others)"


class TestOwnOutages:
    def test_a_sensor_that_failed_while_we_were_down_has_an_event_after_its_allowance(self):
        fleet = Fleet(FIVE).run(100)
        fleet.off = {"s1"}
        fleet.restart(away=3600)
        fleet.run(60)
        assert fleet.events == []
        fleet.run(60)
        assert fleet.phases() == [ALERTED]

    @pytest.mark.parametrize("away", [30, 3600])
    def test_the_time_we_were_down_is_no_interval_of_a_sensor(self, away):
        fleet = Fleet(FIVE).run(20)
        fleet.restart(away=away)
        lives = fleet.run(20).live.get_liveness()
        assert {life.interval_s for life in lives.values()} == {5.0}

    def test_broker_down_is_one_event_that_names_it(self):
        fleet = Fleet(FIVE).run(100)
        fleet.broker_healthy, fleet.off = False, set(FIVE)
        fleet.run(600)
        assert fleet.phases() == [ALERTED]
        assert fleet.events[0][3].endswith("; the broker cannot be reached")

    def test_a_process_that_was_asleep_waits_for_its_messages(self):
        fleet = Fleet(FIVE).run(100)
        fleet.now += 8 * 3600
        fleet.off = set(FIVE)
        fleet.run(25)
        fleet.off = set()
        fleet.run(100)
        assert fleet.events == []

    def test_unregistered_sensor_ends_its_outage(self):
        fleet = Fleet(FIVE).run(100)
        fleet.off = {"s1"}
        fleet.run(300)
        fleet.live = Liveness.restore(fleet.live.snapshot(), {"s0": 5.0})
        fleet.run(2)
        assert fleet.phases() == [ALERTED, ENDED]


def share_received(every, registered=5.0, lost=(), readings=600, jitter=0.0):
    """Return the share of a sensor's readings that arrived, in a stream that loses some."""
    live, rng = Liveness({"s": registered}), np.random.default_rng(1)
    now = at = 1e9
    live.on_time(now, broker_healthy=True)
    received = 0
    for k in range(readings):
        before, at = at, now + every * (k + jitter * rng.uniform(-1, 1))
        for between in np.arange(before + 50.0, at, 50.0):
            live.on_time(between)
        if not lost or rng.random() >= lost[0]:
            live.on_item("s", at, alive=True)
            received += 1
        live.on_time(at)
    return received / live.get_liveness()["s"].expected


@pytest.mark.parametrize("every", [0.1, 1.0, 2.0, 5.0, 7.0, 60.0, 600.0])
@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_a_sensor_that_loses_nothing_is_complete_at_any_interval(every, jitter):
    assert share_received(every, jitter=jitter) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("every", [0.5, 1.0, 2.0, 10.0])
def test_the_interval_of_a_fast_sensor_is_learned_as_it_is(every):
    live = Liveness({"s": every})
    for k in range(60):
        live.on_item("s", 1e9 + every * k, alive=True)
        live.on_item("s", 1e9 + every * k + 0.1, alive=True)  # the second half of the report
    assert live.get_liveness()["s"].interval_s == pytest.approx(every)


def test_readings_of_a_silence_are_expected_while_it_lasts_and_once():
    fleet = Fleet({"s": 5}).run(100)
    whole = fleet.live.get_liveness()["s"].expected
    fleet.off.add("s")
    seen = [fleet.run(50).live.get_liveness()["s"].expected for _ in range(4)]
    assert seen == pytest.approx([whole + 10 * (k + 1) for k in range(4)], abs=1)
    fleet.off.clear()
    assert fleet.run(5).live.get_liveness()["s"].expected == pytest.approx(whole + 41, abs=1)


def test_no_readings_are_expected_while_the_broker_is_down():
    fleet = Fleet({"s": 5}).run(100)
    whole = fleet.live.get_liveness()["s"].expected
    fleet.off.add("s")
    fleet.broker_healthy = False
    fleet.run(500)
    fleet.broker_healthy = True
    fleet.run(1)
    fleet.off.clear()
    assert fleet.run(5).live.get_liveness()["s"].expected <= whole + 2
