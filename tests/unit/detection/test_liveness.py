"""Silence: told once an outage, closed by readings, unimpressed by our own restarts."""

import numpy as np
import pytest

from detection.errors import SnapshotError
from detection.events import EventKind, EventPhase
from detection.liveness import AWAITED_S, UNLEARNT_S, Liveness, LivenessSettings, SensorState

ALERTED, UPDATED, ENDED = EventPhase.ALERTED, EventPhase.UPDATED, EventPhase.ENDED
FIVE = {f"s{n}": 5.0 for n in range(5)}


class World:
    """Sensors that report at their own pace, second by second, until they are switched off."""

    def __init__(self, every, registered=None):
        self.every = dict(every)
        self.live = Liveness(registered or every)
        self.off = set()
        self.now = 0
        self.said = []
        self.hearing = True

    def keep(self, events):
        self.said += [(self.now, e.phase, e.sensor, e.detail) for e in events]
        assert all(e.kind is EventKind.OFFLINE for e in events)

    def run(self, seconds):
        for _ in range(int(seconds)):
            self.now += 1
            for k, (name, every) in enumerate(self.every.items()):
                if name not in self.off and (self.now + k) % every == 0:
                    self.keep(self.live.on_item(name, float(self.now), alive=True))
            self.keep(self.live.on_time(float(self.now), broker_healthy=self.hearing))
        return self

    def word(self, name, word):
        self.keep(self.live.on_item(name, float(self.now), alive=False, status=word))

    def restart(self, away=0):
        self.live = Liveness.restore(
            self.live.snapshot(), {name: s.interval_s for name, s in self.live._sensors.items()}
        )
        self.now += away

    def phases(self):
        return [phase for _, phase, *_ in self.said]

    def state(self, name):
        return self.live.lives()[name].state


class TestSensorsThatWereNeverHeard:
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
        assert "2 registered sensors never sent a reading: new, other" in event.detail
        assert life.lives()["new"].state is SensorState.NEVER
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
        assert "no reading since it was registered" in event.detail


def test_nothing_is_said_of_sensors_that_report_or_never_did():
    world = World({"a": 5, "b": 60}, {"a": 5.0, "b": 60.0, "never": 5.0}).run(4000)
    assert world.said == []
    assert world.state("never") is SensorState.NEVER
    assert world.state("a") is SensorState.ALIVE


def test_one_sensor_is_told_once_and_closed_by_its_reading():
    world = World(FIVE).run(100)
    world.off = {"s1"}
    world.run(3 * 3600)
    world.off = set()
    world.run(100)
    assert world.phases() == [ALERTED, ENDED]
    when, _, sensor, detail = world.said[0]
    assert sensor == "s1"
    assert 100 + 60 < when <= 100 + 60 + 30 + 5
    assert detail == "no reading for 90 s, it reports every 5 s"
    assert world.said[1][3].endswith("back after 3 h")


def test_many_at_once_are_one():
    world = World(FIVE).run(100)
    world.off = set(FIVE)
    world.run(3600)
    world.off = set()
    world.run(10)
    assert world.phases() == [ALERTED, ENDED]
    assert world.said[0][2] == "5 sensors (s0 and others)"
    assert "s0, s1, s2, s3, s4" in world.said[0][3]


def test_slow_sensors_join_the_outage_of_the_fast_without_a_word():
    world = World({"a": 5, "b": 5, "slow": 600}).run(6000)
    world.off = {"a", "b", "slow"}
    world.run(3600)
    assert world.phases() == [ALERTED, UPDATED]
    assert "3 sensors" in world.said[1][3]
    assert world.state("slow") is SensorState.OFFLINE


def test_a_sensor_that_dies_during_the_outage_of_others_is_told():
    world = World(FIVE).run(100)
    world.off = {"s0", "s1"}
    world.run(1000)
    world.off = {"s0", "s1", "s4"}
    world.run(200)
    assert [s[2] for s in world.said] == ["2 sensors (s0 and others)", "s4"]


def test_those_that_stay_away_are_named_again():
    world = World(FIVE).run(100)
    world.off = set(FIVE)
    world.run(1000)
    world.off = {"s3"}
    world.run(1000)
    assert world.phases() == [ALERTED, ENDED, ALERTED]
    assert "4 are back" in world.said[1][3]
    assert world.said[2][2] == "s3"


def test_default_interval_of_five_seconds_does_not_call_a_slow_device_silent():
    world = World({"tasmota": 300}, {"tasmota": 5.0}).run(8 * 3600)
    assert world.said == []
    assert world.live.lives()["tasmota"].interval_s == 300.0
    world.off = {"tasmota"}
    world.run(300 * 3 * 1.1 + 300 + 300)
    assert world.phases() == [ALERTED]


def test_a_sensor_heard_twice_waits_for_the_longest_usual_interval():
    world = World({"a": 5}).run(9)
    world.off = {"a"}
    world.run(UNLEARNT_S)
    assert world.said == []
    world.run(100)
    assert world.phases() == [ALERTED]


@pytest.mark.parametrize(("missed", "quiet"), [(3, 3 * 60 * 1.1), (10, 10 * 60 * 1.1)])
def test_missed_intervals_count(missed, quiet):
    world = World({"a": 60})
    world.live = Liveness({"a": 60.0}, LivenessSettings(missed=missed))
    world.run(600)
    world.off = {"a"}
    world.run(quiet + 50)
    assert world.said == []
    world.run(70)
    assert world.phases() == [ALERTED]


def test_every_third_reading_lost_is_not_silence():
    live = Liveness({"a": 60.0})
    said = []
    for now in range(0, 6 * 3600, 1):
        if now % 60 == 0 and now % 180:
            said += live.on_item("a", float(now), alive=True)
        said += live.on_time(float(now))
    assert said == []


class TestWords:
    def test_short_reconnect_is_nothing(self):
        world = World(FIVE).run(100)
        world.off = {"s1"}
        world.word("s1", "offline")
        world.run(20)
        assert world.state("s1") is SensorState.SILENT
        world.word("s1", "online")
        world.off = set()
        world.run(1000)
        assert world.said == []

    def test_will_is_told_and_taken_back_by_its_birth(self):
        world = World({"a": 600, "b": 600}).run(6000)
        world.off = {"a"}
        world.word("a", "offline")
        world.run(120)
        assert world.phases() == [ALERTED]
        assert "says that it is offline" in world.said[0][3]
        world.word("a", "online")
        assert world.phases() == [ALERTED, ENDED]

    def test_online_does_not_close_an_outage_of_silence(self):
        world = World(FIVE).run(100)
        world.off = {"s1"}
        world.run(200)
        world.word("s1", "online")
        world.run(200)
        assert world.phases() == [ALERTED]

    def test_gateway_takes_all_its_sensors_along_once(self):
        world = World(dict.fromkeys("abcdef", 600)).run(6000)
        world.off = set("abc")
        for name in "abc":
            world.word(name, "offline")
        world.run(3 * 3600)
        assert world.phases() == [ALERTED]
        assert world.said[0][2] == "3 sensors (a and others)"

    def test_a_reading_is_a_stronger_word(self):
        world = World(FIVE).run(100)
        world.word("s1", "offline")
        world.run(1000)
        assert world.said == []

    def test_offline_of_a_sensor_never_heard_is_kept_quiet(self):
        world = World({"a": 5}, {"a": 5.0, "b": 5.0}).run(10)
        world.word("b", "offline")
        world.run(1000)
        assert world.said == []


class TestOurOwnSilence:
    def test_restart_announces_nothing(self):
        world = World(FIVE).run(100)
        world.restart(away=8 * 3600)
        world.run(1000)
        assert world.said == []

    def test_restart_forgets_no_outage(self):
        world = World(FIVE).run(100)
        world.off = {"s1"}
        world.run(300)
        world.restart(away=8 * 3600)
        world.run(1000)
        assert world.phases() == [ALERTED]
        assert world.state("s1") is SensorState.OFFLINE
        world.off = set()
        world.run(10)
        assert world.phases() == [ALERTED, ENDED]

    def test_sensor_that_died_while_we_were_away_is_told_after_its_allowance(self):
        world = World(FIVE).run(100)
        world.off = {"s1"}
        world.restart(away=3600)
        world.run(60)
        assert world.said == []
        world.run(60)
        assert world.phases() == [ALERTED]

    def test_will_before_a_restart_is_told_after_it(self):
        world = World(FIVE).run(100)
        world.off = {"s1"}
        world.word("s1", "offline")
        world.restart()
        world.run(120)
        assert world.phases() == [ALERTED]

    def test_broker_down_is_one_notice_that_says_so(self):
        world = World(FIVE).run(100)
        world.hearing, world.off = False, set(FIVE)
        world.run(600)
        assert world.phases() == [ALERTED]
        assert world.said[0][3].endswith("; the broker cannot be reached")

    def test_sensors_get_time_to_come_back_after_the_broker(self):
        world = World(FIVE).run(100)
        world.hearing, world.off = False, set(FIVE)
        world.run(50)
        world.hearing = True
        world.run(50)
        world.off = set()
        world.run(1000)
        assert world.said == []

    def test_a_process_that_was_asleep_waits_for_its_messages(self):
        world = World(FIVE).run(100)
        world.now += 8 * 3600
        world.off = set(FIVE)
        world.run(25)
        world.off = set()
        world.run(100)
        assert world.said == []

    def test_unregistered_sensor_ends_its_outage(self):
        world = World(FIVE).run(100)
        world.off = {"s1"}
        world.run(300)
        world.live = Liveness.restore(world.live.snapshot(), {"s0": 5.0})
        world.run(2)
        assert world.phases() == [ALERTED, ENDED]


def test_deadline_is_never_later_than_what_happens():
    world = World({"a": 60, "b": 5}).run(600)
    world.off = {"a", "b"}
    while not world.said:
        due = world.live.next_deadline()
        before = world.now
        world.run(1)
        if world.said:
            assert due <= before + 1


def test_snapshot_in_the_middle_changes_nothing():
    whole, parted = World(FIVE), World(FIVE)
    for off, seconds in (((), 100), (("s1",), 30), (("s1", "s2"), 90), ((), 300), (FIVE, 500)):
        for world in (whole, parted):
            world.off = set(off)
            world.run(seconds)
        parted.restart()
    assert parted.said == whole.said


def test_what_is_no_snapshot_is_refused():
    for body in (b"", b"{}", b"[1]", b"[[1, 1, 1], [[1]], [], []]"):
        with pytest.raises(SnapshotError):
            Liveness.restore(body, {"a": 5.0})


@pytest.mark.parametrize("settings", [{"missed": 0}, {"least_s": 0.0}])
def test_settings_are_checked(settings):
    with pytest.raises(ValueError, match="at least 1"):
        LivenessSettings(**settings)


def share_received(every, registered=5.0, lost=(), readings=600, jitter=0.0):
    """Share of the readings of one sensor that came, in a stream that loses some of them."""
    live, rng = Liveness({"s": registered}), np.random.default_rng(1)
    now = 1e9
    live.on_time(now, broker_healthy=True)
    received = 0
    for k in range(readings):
        at = now + every * (k + jitter * rng.uniform(-1, 1))
        for _ in range(int((at - live._now) / 50)):
            live.on_time(live._now + 50.0)
        if not lost or rng.random() >= lost[0]:
            live.on_item("s", at, alive=True)
            received += 1
        live.on_time(at)
    return received / live.lives()["s"].expected


@pytest.mark.parametrize("every", [0.1, 1.0, 2.0, 5.0, 7.0, 60.0, 600.0])
@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_a_sensor_that_loses_nothing_is_whole_at_any_pace(every, jitter):
    assert share_received(every, jitter=jitter) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("every", [5.0, 7.0, 60.0, 600.0])
@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_a_third_lost_is_two_thirds_received(every, jitter):
    assert share_received(every, lost=(1 / 3,), jitter=jitter) == pytest.approx(2 / 3, abs=0.05)


def test_a_sensor_that_sends_in_two_messages_or_in_bursts_is_whole():
    live = Liveness({"s": 10.0})
    for k in range(100):
        for part in (0.0, 0.3, 4.0):
            live.on_item("s", 1e9 + 10.0 * k + part, alive=True)
    assert live.lives()["s"].expected == 300


def test_readings_of_a_silence_are_expected_while_it_lasts_and_once():
    world = World({"s": 5}).run(100)
    whole = world.live.lives()["s"].expected
    world.off.add("s")
    seen = [world.run(50).live.lives()["s"].expected for _ in range(4)]
    assert seen == pytest.approx([whole + 10 * (k + 1) for k in range(4)], abs=1)
    world.off.clear()
    assert world.run(5).live.lives()["s"].expected == pytest.approx(whole + 41, abs=1)


def test_a_time_in_which_we_could_not_hear_expects_nothing():
    world = World({"s": 5}).run(100)
    whole = world.live.lives()["s"].expected
    world.off.add("s")
    world.hearing = False
    world.run(500)
    world.hearing = True
    world.run(1)
    world.off.clear()
    assert world.run(5).live.lives()["s"].expected <= whole + 2
