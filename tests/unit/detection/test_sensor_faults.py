"""Test each sensor fault, and air that must never count as a fault, on made-up days."""

import numpy as np
import pytest

from detection.channels import ReadingBatch
from detection.combined import MinuteDetectors
from detection.events import EventKind, EventPhase, describe_evidence, join_details
from tests.support.minutes import DAY_S, START, Air, slow_of, step_all

HOUR = 3600.0
FROM = DAY_S + 10 * HOUR


def watch(air, **kwargs):
    slow = MinuteDetectors(slow_of)
    return step_all(slow, air.batch(slow), **kwargs)


def watch_each(airs):
    """Return each air's events by name; the detectors treat each air as a building."""
    slow = MinuteDetectors(slow_of)
    batches = []
    for k, air in enumerate(airs.values()):
        air.values = {f"{k}/{sensor}": columns for sensor, columns in air.values.items()}
        batches.append(air.batch(slow))
    order = np.argsort(np.concatenate([batch.time for batch in batches]), kind="stable")
    columns = zip(*((batch.sensor, batch.time, batch.values) for batch in batches), strict=True)
    events = step_all(slow, ReadingBatch(*(np.concatenate(column)[order] for column in columns)))
    return {
        case: [event for event in events if event.sensor.startswith(f"{k}/")]
        for k, case in enumerate(airs)
    }


def sensor_of(event):
    """Return the sensor's name without the name of its air."""
    return event.sensor.partition("/")[2]


def phases(events):
    return [event.phase.value for event in events if event.phase is not EventPhase.UPDATED]


def one(events, fault):
    """Return the only alert, which must be this fault."""
    alerts = [event for event in events if event.phase is EventPhase.ALERTED]
    assert [event.model_version for event in alerts] == [f"faults-1-{fault}"]
    return alerts[0]


def frozen_channel():
    air = Air(["n-a-1", "n-b-1"], 2 * DAY_S)
    columns = air.values["n-a-1"]
    columns["pm25"][air.at(FROM, FROM + 4 * HOUR)] = 4.0
    return air


def test_frozen_channel(watched):
    events = watched["a frozen channel"]
    event = one(events, "frozen")
    assert event.kind is EventKind.SENSOR_FAULT
    assert sensor_of(event) == "n-a-1"
    assert event.onset == pytest.approx(START + FROM, abs=600)
    assert event.alerted - event.onset == pytest.approx(2 * HOUR, abs=600)
    assert join_details(event.details) == "PM2.5 has been exactly 4.0 µg/m³ for 2 h"
    assert describe_evidence(event) == join_details(event.details)
    assert phases(events) == ["alerted", "ended"]
    assert events[-1].end == pytest.approx(START + FROM + 4 * HOUR, abs=600)
    assert sum(e.phase is EventPhase.UPDATED for e in events) == 5  # every 20 minutes
    assert len({e.id for e in events}) == 1


def often_at_rest(hours):
    """Return a channel that is constant for an hour three times, then for `hours`."""
    air = Air(["n-a-1"], 3 * DAY_S)
    columns = air.values["n-a-1"]
    for begin in (2 * HOUR, 12 * HOUR, 20 * HOUR):
        columns["voc_index"][air.at(begin, begin + HOUR)] = 93.0
    columns["voc_index"][air.at(FROM, FROM + hours * HOUR)] = 93.0
    return air


def test_a_channel_that_often_repeats_values_is_allowed_longer(watched):
    event = one(watched["often at rest, now for 4.5 h"], "frozen")
    assert join_details(event.details) == "VOC index has been exactly 93 for 4 h"


def everything_frozen():
    air = Air(["n-a-1"], 1.5 * DAY_S, every_s=80.0)
    for x in air.values["n-a-1"].values():
        x[air.at(FROM, FROM + HOUR)] = x[air.at(FROM, FROM + 80)]
    return air


def test_everything_frozen_is_noticed_sooner(watched):
    event = one(watched["everything frozen"], "frozen")
    assert join_details(event.details).startswith("every value has been exactly the same for 3")
    assert event.alerted - event.onset < HOUR


def missing_channel():
    air = Air(["n-a-1"], 2 * DAY_S)
    air.values["n-a-1"]["rh"][air.at(FROM, FROM + 3 * HOUR)] = np.nan
    return air


def test_missing_channel(watched):
    event = one(watched["a missing channel"], "missing")
    assert join_details(event.details) == (
        "relative humidity has not been reported for 60 min, though other values are"
    )


SATURATED = {"pm25": 1000.0, "voc_index": 500.0, "rh": 0.0}


def saturated(key, hours):
    air = Air(["n-a-1"], 2 * DAY_S)
    air.values["n-a-1"][key][air.at(FROM, FROM + hours * HOUR)] = SATURATED[key]
    return air


def test_saturated(watched):
    for key in SATURATED:
        event = one(watched[f"{key} saturated for 7 h"], "saturated")
        assert event.alerted - event.onset == pytest.approx(6 * HOUR, abs=600), key
        assert "the end of its scale, for 6 h" in join_details(event.details)


def noisy():
    air = Air(["n-a-1"], 1.7 * DAY_S, every_s=60.0)
    rng = np.random.default_rng(2)
    inside = air.at(FROM, FROM + 5 * HOUR)
    x = air.values["n-a-1"]["pm25"]
    x[inside] = np.maximum(x[inside] + 6 * rng.standard_normal(inside.sum()), 0)
    return air


def test_noisy(watched):
    event = one(watched["noisy"], "noisy")
    assert join_details(event.details).startswith("PM2.5 has been ")
    assert START + FROM + HOUR <= event.alerted <= START + FROM + 3 * HOUR


def covered_air():
    air = Air(["n-a-1"], 3 * DAY_S)
    rng = np.random.default_rng(4)
    inside = air.at(2 * DAY_S + 10 * HOUR, 2 * DAY_S + 12.5 * HOUR)
    for key, level in (
        ("pm1", 0.6),
        ("pm25", 1.0),
        ("pm10", 1.2),
        ("rh", 44.0),
        ("voc_index", 100.0),
    ):
        still = level + (0.3 if key == "voc_index" else 0.03) * rng.standard_normal(inside.sum())
        air.values["n-a-1"][key][inside] = np.round(still, 1 if key != "voc_index" else 0)
    return air


def test_covered_is_tampering(watched):
    event = one(watched["covered"], "covered")
    assert event.kind is EventKind.TAMPER
    assert "may be covered" in join_details(event.details)
    assert START + 2 * DAY_S + 10.3 * HOUR < event.alerted < START + 2 * DAY_S + 12 * HOUR


def blow(air, at_s, seconds, *, coarse=1.0, rh=12.0, voc=0.0):
    inside = air.at(at_s, at_s + seconds)
    columns = air.values["n-a-1"]
    columns["pm10"][inside] += 200.0
    columns["pm25"][inside] += 200.0 * (1 - 0.6 * coarse)
    columns["rh"][inside] += rh
    columns["voc_index"][inside] += voc
    return air


def test_blown_at_is_tampering(watched):
    events = watched["blown at for 4 s"]
    event = one(events, "blown")
    assert event.kind is EventKind.TAMPER
    assert phases(events) == ["alerted", "ended"]
    assert event.evidence["pm10"].peak_excess == pytest.approx(200, abs=5)
    assert event.alerted <= START + 1830 + 130


def creeping(sensors, dusty):
    air = Air(sensors, 12 * DAY_S, every_s=1200.0)
    for sensor in dusty:
        x = air.values[sensor]["pm25"]
        x += np.round(np.maximum(air.time / DAY_S - 4.0, 0) * 4.0, 1)
    return air


def test_drift_of_one_sensor(watched):
    event = one(watched["one sensor of a building drifts"], "drift")
    assert sensor_of(event) == "n-a-1"
    assert "the sensor may be dusty" in join_details(event.details)
    assert START + 6 * DAY_S < event.alerted < START + 12 * DAY_S


def whole_numbers():
    """Return whole-number readings that stay at 0 or 1 µg/m³, and at 0 ppb, for days."""
    air = Air(["n-a-1"], 4 * DAY_S, levels={"pm1": 0.2, "pm25": 0.6, "pm10": 1.2}, whole=True)
    columns = air.values["n-a-1"]
    columns["tvoc_ppb"] = np.zeros_like(columns["pm25"])
    columns["pm25"][air.at(DAY_S, 3 * DAY_S)] = 1.0
    columns["pm1"][:] = 0.0
    return air


def held_for_five_minutes():
    """Return values that repeat like those of BSEC in its ultra-low-power mode."""
    levels = {"pm25": 5.0, "voc_index": 100.0, "rh": 41.0}
    air = Air(["n-a-1"], 2 * DAY_S, every_s=60.0, levels=levels)
    columns = air.values["n-a-1"]
    for key in ("voc_index", "rh"):
        columns[key] = np.repeat(columns[key][::5], 5)
    return air


def frozen_on_the_first_day():
    air = Air(["n-a-1"], DAY_S - 60)
    air.values["n-a-1"]["pm25"][air.at(HOUR, 20 * HOUR)] = 4.0
    return air


def same_value_after_a_gap():
    """Return the same value before and after eight silent hours."""
    air = Air(["n-a-1", "n-b-1"], 2 * DAY_S)
    columns = air.values["n-a-1"]
    for x in columns.values():
        x[air.at(FROM, FROM + 8 * HOUR)] = np.nan
    for begin in (FROM - HOUR, FROM + 8 * HOUR):
        columns["pm25"][air.at(begin, begin + 0.5 * HOUR)] = 4.0
    return air


def channel_only_at_first():
    air = Air(["n-a-1"], 2 * DAY_S)
    x = air.values["n-a-1"]["rh"]
    x[:] = np.where(air.time < 1000, x, np.nan)
    return air


def plumes():
    air = Air(["n-a-1"], 1.7 * DAY_S, every_s=60.0)
    x = air.values["n-a-1"]["pm25"]
    for begin in np.arange(FROM, FROM + 6 * HOUR, 2400.0):
        since = air.time - begin
        x += np.round(np.where(since >= 0, 200 * np.exp(-np.maximum(since, 0) / 60), 0), 1)
    return air


def nearly_blown(every_s=2.0, seconds=4.0, **other):
    return blow(Air(["n-a-1"], HOUR, every_s=every_s), 1830.0, seconds, **other)


def often_frozen():
    air = Air(["n-a-1"], 3 * DAY_S)
    x = air.values["n-a-1"]["pm25"]
    for k in range(3):
        x[air.at(FROM + k * 4 * HOUR, FROM + k * 4 * HOUR + 2.5 * HOUR)] = 4.0
    return air


ROOMS = ["n-a-1", "n-b-1", "n-c-1"]


def faulty_air():
    """Return air with one fault, by name."""
    return {
        "a frozen channel": frozen_channel(),
        "often at rest, now for 4.5 h": often_at_rest(4.5),
        "everything frozen": everything_frozen(),
        "a missing channel": missing_channel(),
        **{f"{key} saturated for 7 h": saturated(key, 7.0) for key in SATURATED},
        "noisy": noisy(),
        "covered": covered_air(),
        "blown at for 4 s": nearly_blown(),
        "one sensor of a building drifts": creeping(ROOMS, ROOMS[:1]),
        "a sensor of no building drifts": creeping(["alone"], ["alone"]),
        "frozen three times a day": often_frozen(),
    }


def faultless_air():
    """Return air that must never count as a fault, by name."""
    return {
        "ordinary days": Air(ROOMS[:2], 4 * DAY_S),
        "whole numbers of clean air": whole_numbers(),
        "values held for five minutes": held_for_five_minutes(),
        "frozen on the first day": frozen_on_the_first_day(),
        "the same value after a gap": same_value_after_a_gap(),
        "often at rest, now for 3.8 h": often_at_rest(3.8),
        "a channel that came only at first": channel_only_at_first(),
        **{f"{key} saturated for 5 h": saturated(key, 5.0) for key in SATURATED},
        "plumes": plumes(),
        "blown at for 400 s": nearly_blown(seconds=400.0),
        "fine: a puff": nearly_blown(coarse=0.0),
        "dry: dust": nearly_blown(rh=0.0),
        "gas: a spray": nearly_blown(voc=300.0),
        "blown at, one reading a minute": nearly_blown(every_s=60.0, seconds=60.0),
        "a building that drifts: the weather": creeping(ROOMS, ROOMS),
    }


@pytest.fixture(scope="module")
def watched():
    """Return the events of all airs by name, from detectors that monitored them together."""
    return watch_each(faulty_air() | faultless_air())


def test_what_must_never_be_called_a_fault(watched):
    cases = faultless_air()
    assert {case: watched[case] for case in cases} == {case: [] for case in cases}


def test_once_a_day_however_often(watched):
    alerts = [e for e in watched["frozen three times a day"] if e.phase is EventPhase.ALERTED]
    assert len(alerts) == 1


def test_a_silent_sensor_ends_its_fault():
    air = Air(["n-a-1", "n-b-1"], 2 * DAY_S)
    columns = air.values["n-a-1"]
    columns["pm25"][air.at(FROM, FROM + 3 * HOUR)] = 4.0
    slow = MinuteDetectors(slow_of)
    batch = air.batch(slow)
    gone = (batch.sensor == 0) & (batch.time >= START + FROM + 3 * HOUR)
    keep = ~gone
    left = ReadingBatch(batch.sensor[keep], batch.time[keep], batch.values[keep])
    events = step_all(slow, left)
    assert phases(events) == ["alerted", "ended"]
    assert events[-1].time == pytest.approx(START + FROM + 9 * HOUR, abs=600)
    assert events[-1].end == pytest.approx(START + FROM + 3 * HOUR, abs=600)
