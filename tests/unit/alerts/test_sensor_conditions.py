"""Test which sensor needs a visit, why, and since when."""

import pytest

from alerts.engine import AlertEngine
from alerts.outbound.sensor_conditions import (
    ActiveFaults,
    Condition,
    find_condition,
    load_active_faults,
)
from alerts.outbound.state_summary import StateRecorder
from detection.events import Detail, EventKind, EventPhase
from detection.liveness import SensorLife, SensorState
from language.messages import build_fact
from plumewatch.service.data_folder import prepare_state
from storage.journal import Snapshot
from storage.registry import Sensor
from storage.sqlite import connect, transaction
from storage.timeseries.records import check_record

NOW = 1_790_000_000.0
BATTERY = build_fact(Detail.BATTERY_AT, percent=9.0)
DUSTY = build_fact(Detail.DRIFT, quantity="pm25", days=3, amount=9.0, before=2.0)
FROZEN = build_fact(Detail.FROZEN, quantity="pm25", amount=4.0, time=7200.0)
ALIVE = SensorLife(SensorState.ALIVE, NOW - 5, 5.0, 100)
OFFLINE = SensorLife(SensorState.OFFLINE, NOW - 900, 5.0, 100)
NEVER = SensorLife(SensorState.NEVER, None, 5.0, 0)


@pytest.fixture
def db(tmp_path):
    connection = connect(tmp_path / "state.db")
    prepare_state(connection)
    yield connection
    connection.close()


@pytest.fixture
def handle(db, registry, policy):
    engine = AlertEngine(registry, policy)

    def handled(*events):
        with transaction(db) as tx:
            engine.on_events(tx, events, NOW)

    return handled


def test_faults_and_tampering_of_a_sensor_until_they_end(db, handle, make_event):
    handle(
        make_event(NOW, kind=EventKind.SENSOR_FAULT, details=(FROZEN,)),
        make_event(NOW + 9, kind=EventKind.SENSOR_FAULT, details=(BATTERY,), onset=NOW + 5),
        make_event(NOW, sensor="s2", kind=EventKind.TAMPER),
        make_event(NOW, sensor="s3", kind=EventKind.VAPE),
    )
    since = {Condition.FAULTY: NOW - 6, Condition.LOW_BATTERY: NOW + 5}
    assert load_active_faults(db) == {
        "s1": (2, False, (FROZEN, BATTERY), since),
        "s2": (0, True, (), {Condition.TAMPERED: NOW - 6}),
    }
    handle(make_event(NOW, sensor="s2", kind=EventKind.TAMPER, phase=EventPhase.ENDED, end=NOW + 1))
    assert load_active_faults(db).keys() == {"s1"}


@pytest.mark.parametrize(
    ("details", "life", "condition", "since"),
    [
        ([], ALIVE, "ok", None),
        ([], OFFLINE, "silent", NOW - 900),
        ([], NEVER, "never_heard", None),
        ([DUSTY], ALIVE, "drifting", NOW - 6),
        ([DUSTY, BATTERY], ALIVE, "low_battery", NOW - 6),
        ([DUSTY, BATTERY, FROZEN], ALIVE, "faulty", NOW - 6),
        ([DUSTY, BATTERY, FROZEN], OFFLINE, "silent", NOW - 900),
    ],
)
def test_a_sensor_has_its_most_urgent_condition(
    db, handle, make_event, details, life, condition, since
):
    for number, detail in enumerate(details):
        onset = NOW - 6 - number / 1000  # each is a separate event
        handle(make_event(NOW, kind=EventKind.SENSOR_FAULT, details=(detail,), onset=onset))
    found, begun = find_condition(life, load_active_faults(db).get("s1", ActiveFaults()))
    assert (found.value, begun) == (condition, pytest.approx(since, abs=0.1) if since else None)
    assert (found.urgency > 0) == (condition != "ok")


def recorder(recorded=None):
    made = StateRecorder(
        {"s1": Sensor("s1", "n2")},
        lambda: {"s1": {"received": 0}},
        {"n2": "Boys, floor 2, North"},
    )
    made.begin(NOW)
    if recorded:
        made.restore(Snapshot(0, "", recorded))
    return made


def test_a_record_contains_since_when_and_what_changed():
    first = recorder()

    def fields(made, at, life):
        record, *_ = made.collect(at, {"s1": life}, {})
        assert check_record(record) == record
        assert record.fields["room_choice"] == "Boys, floor 2, North | n2"
        names = ("condition", "condition_since", "changed", "condition_before")
        return [record.fields.get(name) for name in names]

    assert fields(first, NOW, NEVER) == ["never_heard", NOW, 0.0, None]
    assert fields(first, NOW + 300, NEVER) == ["never_heard", NOW, 0.0, None]
    assert fields(first, NOW + 600, ALIVE) == ["ok", NOW + 600, 1.0, "never_heard"]
    later = recorder(first.export())  # after a restart
    assert fields(later, NOW + 900, ALIVE) == ["ok", NOW + 600, 0.0, None]
    assert fields(later, NOW + 1200, OFFLINE) == ["silent", NOW - 900, 1.0, "ok"]


def test_the_health_of_an_hour_adds_up_over_a_restart():
    begins = NOW // 3600 * 3600  # the hour began 640 s before `NOW`

    def hour(made, at, lives):
        of_hour = made.collect(at, lives, {})[1]
        assert check_record(of_hour) == of_hour
        return of_hour.measurement, of_hour.time, of_hour.fields["period_s"]

    first = recorder()
    assert hour(first, NOW + 300, {}) == ("sensor_hour", begins, 300)
    assert hour(first, NOW + 600, {"s1": ALIVE}) == ("sensor_hour", begins, 600)
    later = recorder(first.export())
    assert hour(later, NOW + 100, {"s1": ALIVE}) == ("sensor_hour", begins, 700)
    assert hour(later, begins + 3600, {"s1": ALIVE})[2] == 700 + begins + 3600 - NOW - 100
    assert hour(later, begins + 3900, {"s1": ALIVE}) == ("sensor_hour", begins + 3600, 300)
    assert len(later.collect(begins + 3000, {}, {})) == 1  # the clock is set back
    assert hour(later, begins + 3300, {"s1": ALIVE})[1:3] == (begins + 3600, 600)
