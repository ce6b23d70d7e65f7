"""Test that disturbances in the air and the network cause neither misses nor false alarms.

The plumes are hand-made and unambiguous. All cases of a test are sensors of one detector, because
many sensors take hardly longer than one.
"""

from copy import copy
from itertools import product

import numpy as np
import pytest

from detection.channels import ReadingBatch
from detection.detector import GAP_S
from detection.events import EventKind, EventPhase
from detection.quantities import COLUMN_INDEX, COLUMNS
from tests.support.once import made_once
from tests.support.streams import events_of, fresh

EVERY_S = 2.0
HOUR, DAY = 3600.0, 86_400.0
SHORT_DAY = DAY / 2
"""A shortened day with all the activity but half the quiet time.

The detector ignores the time of day."""
MASSES = ("pm1", "pm25", "pm10")
CLEAN = {"pm1": 2.6, "pm25": 4.0, "pm10": 4.6, "voc_index": 100.0, "rh": 41.0, "temp": 21.5}
NOISE = {"pm1": 0.15, "pm25": 0.2, "pm10": 0.25, "voc_index": 1.0, "rh": 0.1, "temp": 0.02}


class Air:
    """One sensor's values over time, shape (n, len(COLUMNS)), to which plumes are added."""

    def __init__(self, duration_s, every_s=EVERY_S, seed=1):
        rng = np.random.default_rng(seed)
        self.time = np.arange(0.0, duration_s, every_s)
        self.values = np.full((self.time.size, len(COLUMNS)), np.nan)
        for key, level in CLEAN.items():
            self[key] = level + rng.normal(0.0, NOISE[key], self.time.size)

    def __getitem__(self, key):
        return self.values[:, COLUMN_INDEX[key]]

    def __setitem__(self, key, value):
        self.values[:, COLUMN_INDEX[key]] = value

    def add(self, **more):
        for key, excess in more.items():
            self[key] += excess

    def shape(self, onset, rise_s, efold_s):
        """Return a plume with peak 1: linear rise, exponential decay."""
        since = self.time - onset
        with np.errstate(over="ignore"):
            fall = np.exp(-np.maximum(since - rise_s, 0.0) / efold_s)
        return np.where(since < 0, 0.0, np.minimum(np.maximum(since, 0.0) / rise_s, fall))

    def puffs(self, onset, number=3, top=180.0):
        """Add a session: puffs half a minute apart, each halved in 12 s, with hardly any gas."""
        for k in range(number):
            fine = top * self.shape(onset + 30.0 * k, 4.0, 18.0)
            self.add(pm1=0.9 * fine, pm25=fine, pm10=1.02 * fine, voc_index=0.06 * fine)

    def spray(self, onset):
        """Add deodorant: coarse and fine droplets, and propellant that stays for minutes."""
        fine = 220.0 * self.shape(onset, 5.0, 50.0)
        gas = 380.0 * self.shape(onset, 10.0, 240.0)
        self.add(pm1=0.5 * fine, pm25=fine, pm10=1.9 * fine, voc_index=gas)

    def ramp(self, excess):
        """Add fine particles above clean air."""
        self.add(pm1=0.9 * excess, pm25=excess, pm10=1.1 * excess)

    def copy(self):
        """Return a copy of this air, to which more can be added."""
        other = copy(self)
        other.values = self.values.copy()
        return other

    def batch(self, keep=slice(None), row=0):
        self["voc_index"] = np.minimum(self["voc_index"], 500.0)
        time, values = self.time[keep], np.maximum(self.values[keep], 0.0)
        return ReadingBatch(np.full(time.size, row, np.int32), time, values)


def vapes(events):
    """Return the times of vaping alerts."""
    return [e.alerted for e in events if e.kind is EventKind.VAPE and e.phase is EventPhase.ALERTED]


def found(events, onset, within_s=60.0):
    return any(onset <= at <= onset + within_s for at in vapes(events))


def detect(air, keep=slice(None)):
    return events_of(fresh(["s"]), air.batch(keep))


def detect_each(airs):
    """Run one detector over all airs; return the events by name."""
    batches = [air.batch(row=row) for row, air in enumerate(airs.values())]
    columns = [(batch.sensor, batch.time, batch.values) for batch in batches]
    mixed = ReadingBatch(*map(np.concatenate, zip(*columns, strict=True)))
    names = {case: str(case) for case in airs}
    events = fresh(names.values()).step(mixed)
    return {case: [e for e in events if e.sensor == name] for case, name in names.items()}


def test_a_session_is_found_at_all_and_clean_air_raises_nothing():
    air = Air(1800.0)
    assert detect(air) == []
    air.puffs(900.0)
    assert found(detect(air), 900.0)


# --- units with errors


def test_a_sensor_that_reads_too_little_or_too_much_still_finds_a_session():
    airs = {}
    for gain, offset in product((0.5, 0.7, 1.4, 2.0), (-2.0, 0.0, 15.0)):
        air = airs[f"{gain:g} x {offset:+g}"] = Air(1800.0)
        air.puffs(900.0)
        for key in MASSES:
            air[key] = np.maximum(gain * air[key] + offset, 0.0)
    events = detect_each(airs)
    assert {case: found(events[case], 900.0) for case in airs} == dict.fromkeys(airs, True)


def test_a_sensor_that_reads_too_little_or_too_much_does_not_mistake_spray_for_vaping():
    airs = {}
    for gain, offset in product((0.5, 2.0), (0.0, 15.0)):
        air = airs[f"{gain:g} x {offset:+g}"] = Air(1800.0)
        air.spray(900.0)
        for key in MASSES:
            air[key] = gain * air[key] + offset
    events = detect_each(airs)
    assert {case: vapes(events[case]) for case in airs} == {case: [] for case in airs}


# --- time


@pytest.mark.parametrize("gap_s", [120.0, 600.0, GAP_S + 60.0, HOUR, DAY, 5 * DAY])
def test_a_session_after_silence_is_detected_and_the_silence_raises_nothing(gap_s):
    air = Air(2400.0)
    air.puffs(1500.0)
    # a room can change over hours, so a new constant level is not an event
    air.ramp(np.where(air.time >= 1200.0, 12.0 if gap_s > GAP_S else 0.0, 0.0))
    air.time = np.where(air.time >= 1200.0, air.time + gap_s, air.time)
    events = detect(air)
    assert found(events, 1500.0 + gap_s)
    assert min(e.time for e in events) >= 1500.0 + gap_s


# --- missing values


def test_a_session_is_found_through_missing_values():
    airs = {}
    for share, seed in product((0.1, 0.3), (1, 2, 3)):
        air = airs[f"{share:.0%} missing, seed {seed}"] = Air(1800.0)
        air.puffs(900.0)
        air.values[np.random.default_rng(seed).random(air.values.shape) < share] = np.nan
    for case, events in detect_each(airs).items():
        assert found(events, 900.0), case
        assert min(e.time for e in events) >= 900.0, case


def test_particles_that_drop_out_and_return_raise_nothing_and_a_later_session_is_detected():
    air = Air(3 * HOUR)
    air.puffs(9000.0)
    for key in MASSES:
        air[key] = np.where((air.time > 2000.0) & (air.time < 7000.0), np.nan, air[key])
    events = detect(air)
    assert found(events, 9000.0)
    assert min(e.time for e in events) >= 9000.0


# --- other sensors, restarts


def fleet(n, rounds, rng):
    """Return the readings of `n` sensors in time order; a third have a session or a spray."""
    streams = []
    for kind in range(6):
        air = Air(rounds * EVERY_S, seed=kind)
        if kind == 0:
            air.puffs(150.0)
        if kind == 1:
            air.spray(170.0)
        streams.append(air.batch())
    which = rng.integers(0, 6, n)
    time = np.repeat(streams[0].time, n) + np.tile(rng.random(n), rounds)
    values = np.stack([batch.values for batch in streams], axis=1)[:, which].reshape(rounds * n, -1)
    sensor = np.tile(np.arange(n, dtype=np.int32), rounds)
    order = np.argsort(time, kind="stable")
    return ReadingBatch(sensor[order], time[order], values[order])


def test_a_faulty_sensor_among_hundreds_changes_nothing_for_the_others():
    n, rounds = 300, 170
    rng = np.random.default_rng(9)
    names = [f"s{k}" for k in range(n)]
    well = fleet(n, rounds, rng)
    others = well.sensor != 50
    mad = 2_000
    sensor = np.concatenate([well.sensor[others], np.full(mad, 50, np.int32)])
    time = np.concatenate([well.time[others], rng.uniform(-1e9, 1e9, mad)])
    values = np.concatenate(
        [well.values[others], rng.choice([np.nan, 0.0, 1e7, 3.0, 480.0], (mad, len(COLUMNS)))]
    )
    order = np.argsort(np.concatenate([well.time[others], rng.uniform(0, 340.0, mad)]))
    mixed = ReadingBatch(sensor[order], time[order], values[order])

    def events_of_others(batch):
        events = events_of(fresh(names), batch, range(5000, len(batch), 5000))
        return sorted(
            (e for e in events if e.sensor != "s50"),
            key=lambda e: (e.sensor, e.time, e.phase.value),
        )

    alone = events_of_others(
        ReadingBatch(well.sensor[others], well.time[others], well.values[others])
    )
    assert len({e.sensor for e in alone}) > n // 6
    assert events_of_others(mixed) == alone


# --- deliberate manipulation


def ramp(hours, top):
    """Return haze that rises for `hours`, stays for two hours, and falls as slowly as it rose."""
    up, stay, begin = hours * HOUR, 2 * HOUR, 1200.0
    air = Air(up + stay + up + HOUR)
    times = [begin, begin + up, begin + up + stay, begin + 2 * up + stay]
    air.ramp(np.interp(air.time, times, [0, top, top, 0]))
    return air


def rising(key, top):
    air = Air(4 * HOUR)
    air.add(**{key: np.interp(air.time, [1200.0, 1200.0 + HOUR], [0.0, top])})
    return air


def staircase():
    """Return steps smaller than a puff, one every two minutes."""
    air = Air(3 * HOUR)
    air.ramp(np.clip(np.floor((air.time - 1200.0) / 120.0), 0, 40) * 2.5)
    return air


def sawtooth(period_s):
    """Return haze that falls as fast as vapor but never rises like a puff."""
    air = Air(3 * HOUR)
    air.ramp(np.where(air.time > 1200.0, 60.0 * ((air.time - 1200.0) % period_s) / period_s, 0.0))
    return air


def sprayed_for_an_hour_each(days):
    air = Air((days + 0.5) * SHORT_DAY, every_s=5.0)
    for day in range(days):
        for k in range(60):
            air.spray(day * SHORT_DAY + 2 * HOUR + 60.0 * k)
    return air


def weak_puffs_for_a_week():
    """Return single puffs too weak to alert, twenty a school day, meant to raise the threshold."""
    air = Air(5.5 * SHORT_DAY, every_s=10.0)
    for day in range(5):
        for k in range(20):
            air.puffs(day * SHORT_DAY + 2 * HOUR + 1200.0 * k, number=1, top=9.0)
    return air


def haze_of_two_hours():
    air = Air(5 * HOUR)
    hours = [1200.0, 1200.0 + HOUR, 1200.0 + 2 * HOUR]
    air.ramp(np.interp(air.time, hours, [0.0, 300.0, 0.0]))
    return air


# Each entry has air, onsets of sessions, highest puff, and maximum seconds from onset to alert. In
# dense haze, alerts need the decay of all three puffs, up to a minute and a half after the last.
SLOW = {
    "PM to 60 in 0.5 h": (lambda: ramp(0.5, 60.0), [1200 + 1.5 * HOUR], 180.0, 150.0),
    "PM to 60 in 4 h": (lambda: ramp(4.0, 60.0), [1200 + 5 * HOUR], 180.0, 150.0),
    "PM to 400 in 0.5 h": (lambda: ramp(0.5, 400.0), [1200 + 1.5 * HOUR], 600.0, 150.0),
    "PM to 400 in 4 h": (lambda: ramp(4.0, 400.0), [1200 + 5 * HOUR], 600.0, 150.0),
    "VOC index to 450 in 1 h": (lambda: rising("voc_index", 350.0), [3 * HOUR], 180.0, 60.0),
    "humidity to 86 % in 1 h": (lambda: rising("rh", 45.0), [3 * HOUR], 180.0, 60.0),
    "small steps": (staircase, [8000.0], 250.0, 60.0),
    "saw-tooth of 10 min": (lambda: sawtooth(600.0), [], 0.0, 0.0),
    "saw-tooth of 30 min": (lambda: sawtooth(1800.0), [], 0.0, 0.0),
    "haze that has gone": (haze_of_two_hours, [1200 + 2 * HOUR + 900], 180.0, 60.0),
    # sessions ten minutes after the last spray, later, and the next day
    "sprays on two days": (
        lambda: sprayed_for_an_hour_each(2),
        [SHORT_DAY + 3 * HOUR + 600, SHORT_DAY + 5 * HOUR, 2 * SHORT_DAY + 2 * HOUR],
        180.0,
        60.0,
    ),
    "a week of weak puffs": (weak_puffs_for_a_week, [5 * SHORT_DAY + 3 * HOUR], 60.0, 60.0),
    # the last day must have as many detections as the first
    "a week of vaping": (
        lambda: Air(6 * SHORT_DAY, every_s=10.0),
        [day * SHORT_DAY + 3 * HOUR + 1500.0 * k for day in range(6) for k in range(15)],
        120.0,
        60.0,
    ),
}


@pytest.fixture(scope="module")
def slow_events(tmp_path_factory):
    """Return the events of each air in `SLOW`, without and with its sessions."""

    def detect(_folder):
        airs = {}
        for case, (make, onsets, top, _) in SLOW.items():
            air = make()
            airs[case, "alone"], airs[case, "sessions"] = air, air.copy()
            for onset in onsets:
                airs[case, "sessions"].puffs(onset, top=top)
        return detect_each(airs)

    return made_once(tmp_path_factory, "slow-air", detect)[1]


@pytest.mark.parametrize("case", SLOW)
def test_slow_air_is_no_vaping(slow_events, case):
    assert vapes(slow_events[case, "alone"]) == []


@pytest.mark.parametrize("case", SLOW)
def test_slow_air_hides_no_session(slow_events, case):
    _, onsets, _, within_s = SLOW[case]
    events = slow_events[case, "sessions"]
    assert [found(events, onset, within_s) for onset in onsets] == [True] * len(onsets)
