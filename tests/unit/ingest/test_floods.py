"""Test what is still read during a flood, and what does not count as a flood."""

import json

import pytest

from ingest.decoding import Context
from ingest.intake import Intake, IntakeConfig, OutcomeKind
from ingest.integrity import BURST, CALM_S, MAX_PER_S, PER_S, Budgets, Floods
from ingest.validation import Message
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor

pytestmark = pytest.mark.attack

T0 = 1_800_000_000.0


def sent(floods, per_s, seconds, *, kind="stamped", begins=T0, stamp=None):
    """Send readings at a rate; return the accepted ones, and how many were dropped."""
    read, left_out = [], 0
    for k in range(int(per_s * seconds)):
        now = begins + k / per_s
        reading = Reading("s", stamp(now) if stamp else now, now, {"pm25": float(k)})
        found = floods.on_live("s", kind, reading, now)
        if found is None:
            left_out += 1
        else:
            read.append(found)
    return read, left_out


@pytest.mark.parametrize(
    ("per_s", "seconds"), [(60, 60), (200, 60), (700, 150), (1_000, 1.5), (13_000, 10)]
)
def test_of_a_flood_the_first_reading_of_each_second_is_read_at_once(per_s, seconds):
    read, left_out = sent(Floods(), per_s, seconds)
    assert left_out == per_s * seconds - len(read)
    first = [r for r in read if r.received < T0 + BURST / (per_s - 2 * PER_S) + 1]
    assert len(first) <= BURST + 2 * PER_S * (BURST / (per_s - 2 * PER_S) + 1) + 2
    for earlier, later in zip(read[len(first) :], read[len(first) + 1 :], strict=False):
        assert int(later.received) == int(earlier.received) + 1
        assert later.received % 1 <= 1.5 / per_s
    assert read[-1].received >= T0 + seconds - 1.0


def test_readings_from_join_windows_that_time_closes_are_limited_as_well():
    registry = Registry.build([Room("r", "R", "", "N", "S")], [Sensor("s1", "r")])
    intake, found = Intake(IntakeConfig(Context(registry=registry))), []
    for k in range(45 * 60):
        at = T0 + k / 45
        topic = f"s1/x{k % 45}/sensor/pm_2_5/state"
        found += intake.on_time(at)
        found += intake.on_message(Message(topic, b"7.5", at, live=True)).readings
    assert sum("pm25" in reading.values for reading in found) <= BURST + 60 * PER_S
    assert any(reading.events == ("integrity:flooded",) for reading in found)


@pytest.mark.parametrize("topics", [1, 180])
def test_unregistered_names_are_limited_together_if_their_topics_name_one_sensor(topics):
    sensors = [Sensor("gym", "r")] if topics > 1 else []
    registry = Registry.build([Room("r", "R", "", "N", "S")], sensors)
    intake, stored = Intake(IntakeConfig(Context(registry=registry))), 0
    for k in range(100 * topics):
        names = [f"S{k % 10}{i % 10}-{i:02d}" for i in range(1_900 if k % 2 else 50)]
        payload = json.dumps({name: {"PM2.5": k} for name in names[:: 2 * topics]}).encode()
        topic = "tele/gym/SENSOR" if topics == 1 else f"tele/gym/x{k % topics}/SENSOR"
        message = Message(topic, payload, T0 + k / 20 / topics, live=True)
        stored += len(intake.on_message(message).readings)
    assert 0 < stored <= BURST + 2 * PER_S * 5
    found = [event for reading in intake.on_time(T0 + 9) for event in reading.events]
    assert found == (["integrity:flooded"] if sensors else [])


@pytest.mark.parametrize(
    ("per_s", "seconds", "stamp"),
    [
        (PER_S, 600, None),
        (2, 600, lambda _: T0 - 7.0),
        (2, 3_600, lambda now: now - now % 60),
        (BURST, 1.0, lambda now: now),
        (1_900, 9, lambda now: T0 - 86_400 + 5.0 * int(1_900 * (now - T0))),
        (1_900, 9, lambda now: T0 - 86_400 + 0.1 * int(1_900 * (now - T0))),
    ],
    ids=[
        "a fast sensor",
        "a clock that stands still",
        "whole minutes",
        "a network that was held up",
        "a stored day",
        "stored readings at 10 Hz",
    ],
)
def test_what_honest_sensors_send_is_read_at_once(per_s, seconds, stamp):
    read, left_out = sent(Floods(), per_s, seconds, stamp=stamp)
    assert (len(read), left_out) == (per_s * seconds, 0)


@pytest.mark.parametrize("kind", ["stamped", "numbered"])
@pytest.mark.parametrize(
    ("outage_s", "per_s"), [(60, 1_900), (3_600, 22), (3_600, 1_900), (86_400, 40)]
)
def test_what_a_sensor_stored_during_an_outage_is_read_beside_live_readings(outage_s, per_s, kind):
    floods = Floods()
    sent(floods, 1, 7_200, begins=T0 - outage_s - 7_200)
    for k in range(-(-outage_s // per_s)):
        assert len(sent(floods, 1, 1, begins=T0 + k)[0]) == 1
        stored = min(per_s, outage_s - k * per_s)
        read, left_out = sent(
            floods,
            per_s,
            stored / per_s,
            begins=T0 + k,
            kind=kind,
            stamp=lambda now: T0 - outage_s + round((now - T0) * per_s),
        )
        assert (len(read), left_out) == (stored, 0)


@pytest.mark.parametrize(
    "stamp",
    [
        lambda now: T0 + 100.0 * (int(now * 700) % 2),
        lambda now: T0 - 0.001 * int(now * 700),
        lambda now: T0 + int(now) % 7,
        lambda now: T0 - 2e7 + int((now - T0) * 700),
        lambda now: T0 - 590 + int((now - T0) * 700),
    ],
    ids=["two by turns", "backwards", "a few", "always new", "new and recent"],
)
@pytest.mark.parametrize("kind", ["stamped", "numbered"])
@pytest.mark.parametrize("every_s", [1, 60])
def test_no_stamps_hide_a_flood(stamp, kind, every_s):
    floods = Floods()
    sent(floods, 1 / every_s, 7_200, begins=T0 - 7_200)
    assert sent(floods, 700, 60, kind=kind, stamp=stamp)[1] > 40_000


def test_beyond_what_can_be_read_stamps_do_not_count():
    read, _ = sent(Floods(), 13_000, 20, stamp=lambda now: T0 - 1e6 + 5 * int((now - T0) * 13_000))
    assert len(read) <= MAX_PER_S + 20


@pytest.mark.parametrize("refused", [True, False])
def test_a_flood_that_waited_in_the_broker_is_reported_and_displaces_no_other_backlog(refused):
    """While the service is stopped for 90 s, an account floods."""
    sensors = (Sensor("flooded", "gym"), Sensor("own", "gym"))
    registry = Registry.build((Room("gym", "Gym", "1", "Main", "School"),), sensors)
    intake = Intake(IntakeConfig(Context(registry=registry)))
    intake.restore([Reading(sensor.id, T0 - 90, T0 - 90, {"pm25": 4.0}) for sensor in sensors])
    outcomes, events = {sensor.id: [] for sensor in sensors}, []
    for k in range(30_000):
        for name in ("flooded", *(() if k % 100 else ("own",))):
            body = b"x" if refused and name == "flooded" else b'{"pm25":%d}' % (k % 9)
            message = Message(
                f"plumewatch/v1/{name}/reading", body, T0 + k / 1_000, packet=1 + k % 500
            )
            outcomes[name].append(intake.on_message(message).kind)
        if k % 1_000 == 0:
            events += [(r.sensor, e) for r in intake.on_time(T0 + k / 1_000) for e in r.events]
    assert set(outcomes["own"]) == {OutcomeKind.ACCEPTED}
    kept = sum(kind is not OutcomeKind.FLOODED for kind in outcomes["flooded"])
    assert 5_000 <= kept <= 5_000 + PER_S * (90 + 30)
    assert ("flooded", "integrity:flooded") in events


@pytest.mark.parametrize("silent_s", [1, 90, 86_400, 216_000])
def test_what_an_honest_sensor_sent_while_the_service_was_stopped_is_read(silent_s):
    floods = Floods()
    floods.restore([Reading("s", T0 - silent_s, T0 - silent_s)])
    count = max(silent_s, 5_000)
    assert all(floods.admits_waiting("s", T0 + k / 10_000) for k in range(count))


def test_a_flood_ends_with_it():
    floods = Floods()
    sent(floods, 700, 30)
    _, left_out = sent(floods, 2, 3 * CALM_S, begins=T0 + 30)
    assert left_out <= CALM_S + 2
    assert sent(floods, 2, 10, begins=T0 + 70)[1] == 0
    sent(floods, 700, 30, begins=T0 + 100)
    assert sent(floods, 2, 10, begins=T0 + 400)[1] == 0


def test_a_flood_of_another_kind_takes_nothing_from_the_usual_readings():
    floods = Floods()
    sent(floods, 0.2, 100, kind="usual", begins=T0 - 100)
    forged = []
    for second in range(60):
        forged += sent(floods, 700, 1, kind="forged", begins=T0 + second)[0]
        assert len(sent(floods, 1, 1, kind="usual", begins=T0 + second)[0]) == 1
    evaluated = [r for r in forged if "flooded" not in r.flags]
    assert len(evaluated) <= BURST + 2 * PER_S
    assert len(forged) - len(evaluated) >= 50, "stored, but not evaluated"


def test_names_are_apart_and_bounded():
    floods = Floods(names=2)
    sent(floods, 700, 10)
    for name in ("other", "third", "s"):
        reading = Reading(name, T0 + 10, T0 + 10, {"pm25": 4.0})
        assert floods.on_live(name, "stamped", reading, T0 + 10) is reading, name


TOPIC = "plumewatch/v1/s/reading"
USUAL = b'{"time": 1800000000.5, "pm25": 4.0}'
COSTLY = {
    "still air": lambda k: b'{"pm25": %d}' % (k % 9),
    "no JSON": lambda k: b'{"pm25":%d,}}' % k,
    "a shape of its own each": lambda k: (
        b'{"pm25":4.0,"%s":1}' % str(k).translate(_LETTERS).encode()
    ),
    "many long names": lambda k: (
        b"{" + b",".join(b'"k%d":"9e999"' % (k + i) for i in range(3_000)) + b"}"
    ),
}
_LETTERS = dict(zip(map(ord, "0123456789"), "abcdefghij", strict=True))


class TestBudgets:
    @pytest.mark.parametrize("size", [40, 5_000])
    @pytest.mark.parametrize("name", COSTLY)
    def test_a_flood_costs_little_and_displaces_nothing_usual(self, name, size):
        budgets, make, usual = Budgets(), COSTLY[name], USUAL.ljust(size)
        assert all(budgets.permits(TOPIC, usual, T0 + k) for k in range(100))
        for second in range(100, 103):
            flood = [make(k) for k in range(3_000 if name != "many long names" else 300)]
            passed = [m for m in flood if budgets.permits(TOPIC, m, T0 + second + 0.1)]
            assert budgets.permits(TOPIC, usual, T0 + second + 0.9)
            assert len(passed) <= MAX_PER_S + PER_S
            assert sum(map(len, passed)) <= 160 * MAX_PER_S

    def test_shapes_in_turn_do_not_displace_the_usual_one(self):
        budgets = Budgets()
        for second in range(60):
            assert budgets.permits(TOPIC, USUAL, T0 + second)
            for k in range(3_000 if second > 55 else 15):
                budgets.permits(TOPIC, COSTLY["a shape of its own each"](k), T0 + second + 0.1)
            assert budgets.permits(TOPIC, USUAL, T0 + second + 0.9)

    def test_other_topics_are_read_and_remembered_ones_bounded(self):
        budgets = Budgets(senders=2)
        for _ in range(MAX_PER_S + 2 * PER_S):
            budgets.permits(TOPIC, USUAL, T0)
        assert not budgets.permits(TOPIC, b"{}", T0)
        assert budgets.permits("a", b"{}", T0)
        assert budgets.permits("b", b"{}", T0)
        assert budgets.permits(TOPIC, b"{}", T0)
