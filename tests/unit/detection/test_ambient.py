"""Test particles that rise in many rooms at once, and cases that must not count as ambient."""

import numpy as np
import pytest

from detection.combined import MinuteDetectors
from detection.events import ChannelEvidence, Event, EventKind, EventPhase, join_details
from detection.per_minute.ambient import MIN_ROOMS
from tests.support.minutes import START, Air, slow_of, step_all

HOUR = 3600.0
FROM = 2 * HOUR
ROOMS = [f"n-{room}-1" for room in "abcdef"]


def plateau(air, begin, ramp, length):
    """Return a curve between 0 and 1 that rises during `ramp`, stays, and falls during `ramp`."""
    since = air.time - begin
    return np.clip(np.minimum(since / ramp, (length - since) / ramp), 0.0, 1.0)


def smoke(air, sensors, *, top=20.0, begin=FROM, ramp=300.0, length=HOUR):
    for k, sensor in enumerate(sensors):
        more = (top - k) * plateau(air, begin + 30 * k, ramp, length)
        for key in ("pm1", "pm25", "pm10"):
            air.values[sensor][key] = np.round(air.values[sensor][key] + more, 1)
    return air


def puff(air, sensors, *, top=200.0, begin=FROM, times=6, apart=60.0):
    for sensor in sensors:
        for k in range(times):
            since = air.time - begin - k * apart
            more = np.where(since >= 0, top * np.exp(-np.maximum(since, 0) / 20), 0)
            air.values[sensor]["pm25"] = np.round(air.values[sensor]["pm25"] + more, 1)
    return air


def air_of(sensors=ROOMS, hours=5.0, every_s=20.0):
    return Air(sensors, hours * HOUR, every_s=every_s)


def ambient_of(air, **kwargs):
    slow = MinuteDetectors(slow_of)
    events = step_all(slow, air.batch(slow), **kwargs)
    return [e for e in events if e.kind is EventKind.AMBIENT]


def test_smoke_from_outdoors_is_one_event():
    events = ambient_of(smoke(air_of(), ROOMS))
    phases = [e.phase for e in events]
    assert phases[0] is EventPhase.ALERTED
    assert phases[-1] is EventPhase.ENDED
    assert set(phases[1:-1]) == {EventPhase.UPDATED}
    assert len({e.id for e in events}) == 1
    first, last = events[0], events[-1]
    assert first.sensor == "n-a-1"  # the first to rise
    assert START + FROM <= first.onset <= START + FROM + 400
    assert first.alerted <= START + FROM + 900
    assert join_details(first.details) == "particles rose together in 6 of 6 rooms"
    assert first.evidence["pm25"].baseline == pytest.approx(5, abs=1.5)
    assert last.evidence["pm25"].peak_excess == pytest.approx(18, abs=4)
    assert START + FROM + HOUR < last.time < START + FROM + 1.5 * HOUR


@pytest.mark.parametrize("rooms", [1, 2, 4])
def test_puffs_in_some_rooms_are_not_ambient(rooms):
    assert ambient_of(puff(air_of(), ROOMS[:rooms])) == []


def test_puffs_at_once_in_all_rooms_are_not_ambient():
    """Taking the minimum of three minutes removes rises that last less than a minute."""
    assert ambient_of(puff(air_of(), ROOMS, times=1)) == []


def test_of_seven_rooms_one_may_stay_behind_of_six_none():
    seven = [*ROOMS, "n-g-1"]
    assert len({e.id for e in ambient_of(smoke(air_of(seven), ROOMS))}) == 1
    assert ambient_of(smoke(air_of(seven), ROOMS[:5])) == []
    assert ambient_of(smoke(air_of(), ROOMS[:5])) == []


def test_fewer_rooms_raise_nothing():
    sensors = ROOMS[: MIN_ROOMS - 1]
    assert ambient_of(smoke(air_of(sensors), sensors)) == []


def test_sensors_of_one_room_count_once():
    sensors = [f"n-a-{k}" for k in range(6)]
    assert ambient_of(smoke(air_of(sensors), sensors)) == []


def test_buildings_are_apart():
    sensors = [*ROOMS, *(s.replace("n-", "s-") for s in ROOMS)]
    events = ambient_of(smoke(air_of(sensors), sensors[6:]))
    assert {e.sensor[0] for e in events} == {"s"}


def test_a_rise_that_differs_from_room_to_room_is_not_common():
    air = air_of()
    for k, sensor in enumerate(ROOMS):
        smoke(air, [sensor], top=5.0 if k < 3 else 300.0)
    assert ambient_of(air) == []


def test_absent_values_and_gaps():
    air = smoke(air_of(), ROOMS)
    air.values[ROOMS[0]]["pm25"][:] = np.nan  # PM1 is the substitute
    for x in air.values[ROOMS[1]].values():
        x[air.at(0.5 * HOUR, FROM + 0.5 * HOUR)] = np.nan
    events = ambient_of(air)
    assert join_details(events[0].details) == "particles rose together in 5 of 5 rooms"


def vape(sensor, at, excess, *, onset=None, phase=EventPhase.ALERTED, evidence=None):
    onset = START + FROM if onset is None else onset
    channel = ChannelEvidence(5.0, excess, 60.0, None)
    return Event(
        sensor=sensor,
        kind=EventKind.VAPE,
        phase=phase,
        onset=onset,
        alerted=START + at,
        peak_time=onset,
        end=None if phase is EventPhase.ALERTED else START + at,
        confidence=0.8,
        probabilities={"vape": 0.8},
        evidence={"pm25": channel} if evidence is None else evidence,
        model_version="m",
        time=START + at,
    )


@pytest.fixture
def during():
    """Return detectors half an hour after the start of smoke that rose over ten minutes."""
    slow = MinuteDetectors(slow_of)
    air = smoke(air_of(hours=3.0), ROOMS, ramp=600.0)
    batch = air.batch(slow)
    cut = int(np.searchsorted(batch.time, START + FROM + 1500))
    part = type(batch)(batch.sensor[:cut], batch.time[:cut], batch.values[:cut])
    found = slow.step(part)
    assert [e.phase.value for e in found] == ["alerted"]
    return slow


AT = FROM + 1400.0


def explained(slow, *events):
    return [bool(e.explained_by) for e in slow.mark(events)]


def test_a_rise_no_larger_than_the_common_one_is_explained(during):
    (event,) = during.mark([vape("n-b-1", AT, 8.0)])
    assert event.explained_by == "ambient"
    assert join_details(event.details) == "particles rose together in 6 of 6 rooms"
    assert event.id == vape("n-b-1", AT, 8.0).id


@pytest.mark.parametrize(
    "event",
    [
        vape("n-b-1", AT, 29.0),
        vape("n-b-1", AT, 30.0),
        vape("elsewhere", AT, 8.0),
        vape("n-b-1", FROM - 300, 8.0, onset=START + FROM - 400),
        vape("n-b-1", AT, 8.0, onset=START + AT - 60),
        vape("n-b-1", AT, 8.0, evidence={"vape_index": ChannelEvidence(0.0, 60.0, 0.0, None)}),
        vape("n-b-1", AT, 8.0, evidence={}),
    ],
    ids=["larger", "strong", "no place", "before", "after the rise", "vendor", "no evidence"],
)
def test_what_is_not_explained(during, event):
    assert during.mark([event]) == [event]


def test_a_strong_event_always_alerts():
    slow = MinuteDetectors(slow_of)
    air = smoke(air_of(hours=3.0), ROOMS, top=900.0, ramp=600.0)
    slow.step(air.batch(slow))
    assert explained(slow, vape("n-b-1", AT, 29.9), vape("n-c-1", AT, 30.0)) == [True, False]


def test_an_explained_event_stays_so_until_it_rises_above(during):
    ends = vape("n-b-1", AT + 30, 8.0, phase=EventPhase.ENDED)
    assert explained(during, vape("n-b-1", AT, 8.0), ends, ends) == [True, True, False]
    first = vape("n-c-1", AT, 8.0)
    more = vape("n-c-1", AT + 30, 29.0, phase=EventPhase.UPDATED)
    last = vape("n-c-1", AT + 60, 29.0, phase=EventPhase.ENDED)
    assert explained(during, first, more, last) == [True, False, False]
