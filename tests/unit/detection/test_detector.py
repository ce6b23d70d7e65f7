from collections import Counter
from itertools import product

import numpy as np
import pytest

from detection.channels import WARM_UP_S, ReadingBatch
from detection.detector import GAP_S, SILENT_S, Detector
from detection.episodes import FEATURES, SCORED_S
from detection.events import EventKind, EventPhase
from detection.model import KINDS, Forest, Model
from detection.quantities import COLUMN_INDEX, COLUMNS
from tests.support.streams import events_of, fresh

PM25, PM1, PM10, RH, VOC = (COLUMN_INDEX[k] for k in ("pm25", "pm1", "pm10", "rh", "voc_index"))


def clean(n, start=0.0, dt=1.0, level=5.0, seed=0):
    """Return clean air at one sensor: time and values."""
    rng = np.random.default_rng(seed)
    values = np.full((n, len(COLUMNS)), np.nan)
    values[:, PM25] = level + rng.normal(0, 0.3, n)
    values[:, PM1] = 0.8 * values[:, PM25]
    values[:, PM10] = 1.1 * values[:, PM25]
    return start + dt * np.arange(n), values


def batch_of(time, values, row=0):
    return ReadingBatch(np.full(len(time), row, np.int32), np.asarray(time, float), values)


def test_something_happens_at_all(restroom_events):
    kinds = Counter((e.kind.value, e.phase.value) for e in restroom_events)
    assert sum(n for (_, phase), n in kinds.items() if phase == "alerted") >= 20
    assert len({kind for kind, _ in kinds}) >= 4


def test_any_split_gives_the_same_events(restroom, restroom_events):
    names, batch = restroom
    cuts = sorted(np.random.default_rng(1).integers(0, len(batch), 60).tolist())
    assert events_of(fresh(names), batch, cuts) == restroom_events


def test_snapshots_in_mid_stream_change_nothing(restroom, restroom_events):
    names, batch = restroom
    detector, events = fresh(names), []
    for at in range(0, len(batch), 1500):
        detector = Detector.restore(detector.snapshot())
        part = slice(at, at + 1500)
        events += detector.step(
            ReadingBatch(batch.sensor[part], batch.time[part], batch.values[part])
        )
    assert events == restroom_events


def test_duplicates_and_readings_out_of_order_change_nothing(restroom, restroom_events):
    names, batch = restroom
    at = np.arange(len(batch))
    again = np.sort(np.concatenate([at, at[::3]]))
    twice = ReadingBatch(batch.sensor[again], batch.time[again], batch.values[again])
    assert events_of(fresh(names), twice) == restroom_events


@pytest.mark.parametrize("ahead_s", [-0.001, 0.5])
def test_readings_without_particles_move_no_clock_of_particles(ahead_s, restroom, restroom_events):
    """One arrives just before each reading of the sensor."""
    names, batch = restroom
    between = np.full_like(batch.values, np.nan)
    between[:, COLUMN_INDEX["pressure"]] = 1000.0
    mixed = ReadingBatch(
        batch.sensor.repeat(2),
        np.column_stack([batch.time + ahead_s, batch.time]).ravel(),
        np.stack([between, batch.values], axis=1).reshape(-1, len(COLUMNS)),
    )
    found, expected = (
        [
            (e.sensor, e.onset, e.alerted)
            for e in events
            if e.phase is EventPhase.ALERTED and e.kind is EventKind.VAPE
        ]
        for events in (events_of(fresh(names), mixed), restroom_events)
    )
    assert found == expected


def test_another_day_changes_times_only(restroom, restroom_events):
    names, batch = restroom
    shift = 30 * 86_400.0
    moved = ReadingBatch(batch.sensor, batch.time + shift, batch.values)
    ours = [(e.sensor, e.kind, e.phase, e.alerted) for e in restroom_events]
    theirs = [
        (e.sensor, e.kind, e.phase, e.alerted - shift) for e in events_of(fresh(names), moved)
    ]
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a[:3] == b[:3]
        assert a[3] == pytest.approx(b[3], abs=1e-3)


def test_every_event_is_explained_and_ends_once(restroom_events):
    phases_of = {}
    for event in restroom_events:
        assert event.evidence
        assert sum(event.probabilities.values()) == pytest.approx(1.0, abs=0.01)
        if event.kind is not EventKind.POSSIBLE:
            assert event.probabilities[event.kind.value] == max(event.probabilities.values())
        assert event.onset <= event.alerted <= event.time + SILENT_S
        if event.phase is EventPhase.ALERTED:
            assert event.id not in phases_of
        phases_of.setdefault(event.id, []).append(event.phase)
    for phases in phases_of.values():
        assert phases[0] is EventPhase.ALERTED
        assert len(phases) <= 2


def of_one_feature(feature, above, score):
    """Return a forest whose output is `score` if a feature is above a value, else `-score`."""
    column = np.array([[FEATURES.index(feature)]])
    return Forest(column, np.array([[above]]), np.array([[-score, score]]), np.zeros(1))


def with_puffs(n, *onsets):
    """Return clean air at 1 Hz with a half-minute plume at each onset."""
    time, values = clean(n)
    for onset in onsets:
        fine = 100.0 * np.exp(-np.maximum(time - onset, 0.0) / 8.0) * (time >= onset)
        for column, share in ((PM25, 1.0), (PM1, 0.9), (PM10, 1.02)):
            values[:, column] += share * fine
    return time, values


@pytest.mark.parametrize(
    ("second", "spray", "onset"),
    [(250.0, False, 199.0), (280.0, True, 279.0), (500.0, False, 499.0)],
    ids=["a session", "beside a spray", "long after another plume"],
)
def test_onset_is_that_of_the_session_of_puffs_and_of_the_puff_where_it_is_masked(
    second, spray, onset
):
    n = len(KINDS)
    sure = np.where(np.array(KINDS) == EventKind.SPRAY, 9.0, 0.0)
    never = np.full((n, 1), np.inf)
    kinds = Forest(np.zeros((n, 1), int), never, np.zeros((n, 2)), sure) if spray else None
    model = Model("second", vape=of_one_feature("pulses", 1.5, 5.0), kinds=kinds)
    detector = Detector(model)
    detector.assign_row("s")
    # lasting dust keeps the episode open between the plumes
    time, values = with_puffs(700, 200.0, second)
    values[200:, [PM25, PM10]] += [40.0, 60.0]
    events = detector.step(batch_of(time, values))
    vape = [e for e in events if e.kind is EventKind.VAPE and e.phase is EventPhase.ALERTED]
    assert [(e.onset, e.masked) for e in vape] == [(onset, spray)]


@pytest.mark.parametrize(
    ("before", "peak", "expected"),
    [(0.0, 6.5, 0), (0.0, 10.0, 1), (200.0, 30.0, 0), (200.0, 60.0, 1)],
)
def test_a_faint_plume_is_not_alerted_however_sure_the_model(before, peak, expected):
    detector = Detector(Model("sure", vape=of_one_feature("age_s", -1.0, 9.0)))
    detector.assign_row("s")
    time, values = clean(300)
    values[:, [PM25, PM1, PM10]] += before
    values[200:230, [PM25, PM1, PM10]] += peak
    events = detector.step(batch_of(time, values))
    vape = [e for e in events if e.kind is EventKind.VAPE and e.phase is EventPhase.ALERTED]
    assert len(vape) == expected


class Ages:
    """Observer that records a pulse's age whenever it is scored."""

    def __init__(self):
        self.seen = []

    def on_features(self, *judged):
        features, is_pulse = judged[4:6]
        self.seen.extend(features[is_pulse, FEATURES.index("age_s")].tolist())


def test_a_long_plume_is_judged_ever_more_seldom():
    ages = Ages()
    detector = Detector(observer=ages)
    detector.assign_row("s")
    time, values = clean(600)
    values[200:, PM25] += 300.0
    detector.step(batch_of(time, values))
    first, last = ages.seen[:8], [age for age in ages.seen if age > SCORED_S / 2]
    assert first == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert 6 <= len(last) <= 9
    assert max(ages.seen) <= SCORED_S


def test_the_highest_pulse_is_known_of_an_episode_that_began_with_gas_alone():
    highest = []

    class Observer:
        def on_features(self, _names, _rows, _time, _episodes, features, is_pulse, _is_classified):
            if is_pulse[0]:
                highest.append(np.expm1(features[0, FEATURES.index("log_highest_pulse")]))

    detector = Detector(observer=Observer())
    detector.assign_row("s")
    time, values = with_puffs(400, 260.0)
    values[:, COLUMN_INDEX["voc_index"]] = np.where(time < 200.0, 100.0, 250.0)
    detector.step(batch_of(time, values))
    assert highest[-1] == pytest.approx(100.0, abs=2.0)


def test_nothing_is_detected_during_warm_up():
    time, values = clean(int(WARM_UP_S) - 1)
    values[10:20, PM25] = 800.0
    assert events_of(fresh(["s"]), batch_of(time, values)) == []


def puffs(peak=200.0, n=3, dt=1.0, rh=10.0, voc=200.0):
    """Return an hour of clean air, then puffs a minute apart that rise in 2 s and halve in 10 s."""
    start = 3600.0
    time, values = clean(int((start + 60.0 * n) / dt), dt=dt)
    since = time[:, None] - start - 60.0 * np.arange(n)
    falling = 0.5 ** (np.maximum(since - 2, 0) / 10)
    bump = np.where(since < 0, 0.0, np.minimum(since / 2, falling)).sum(axis=1)
    values[:, [PM25, PM1, PM10]] += peak * bump[:, None]
    values[:, RH], values[:, VOC] = 45.0 + rh * bump, 100.0 + voc * bump
    return batch_of(time, values), start


@pytest.mark.parametrize(
    ("dt", "voc", "rh", "before"),
    [*product([1.0, 5.0], [0.0, 200.0], [0.0, 10.0], [0.0]), (5.0, 0.0, 0.0, 4000.0)],
)
def test_a_large_puff_is_never_passed_over(dt, voc, rh, before):
    """Test clean air, and an episode that began half an hour earlier with a much larger plume."""
    batch, start = puffs(dt=dt, rh=rh, voc=voc)
    since = batch.time - start + 1800.0
    fading = before * np.exp(-since / 400.0) * (since > 0.0)
    batch.values[:, [PM25, PM1, PM10]] += fading[:, None]
    batch.values[:, VOC] += 0.05 * before * (since > 0.0)
    events = events_of(fresh(["s"]), batch)
    first = next(e for e in events if e.alerted >= start and e.phase is EventPhase.ALERTED)
    assert first.kind in {EventKind.VAPE, EventKind.POSSIBLE}
    assert first.alerted - start <= 15.0


@pytest.mark.parametrize(
    ("kind", "score", "peak", "expected"),
    [
        (EventKind.SPRAY, -1.2, 100.0, ["possible", "spray", "possible"]),
        (EventKind.SPRAY, -1.7, 15.0, ["spray"]),
        (EventKind.SPRAY, -0.4, 15.0, ["possible", "spray", "possible"]),
        (EventKind.SPRAY, -2.4, 100.0, ["spray"]),
        (None, -2.4, 100.0, ["possible"]),
        (None, -2.6, 100.0, []),
    ],
)
def test_a_plume_after_another_kind_is_judged_by_itself(kind, score, peak, expected):
    n = len(KINDS)
    sure = np.where(np.array(KINDS) == kind, 9.0, 0.0)
    kinds = Forest(np.zeros((n, 1), int), np.full((n, 1), np.inf), np.zeros((n, 2)), sure)
    vape = of_one_feature("age_s", -1.0, score)
    detector = Detector(Model("near", vape=vape, kinds=kinds))
    detector.assign_row("s")
    time, values = clean(500)
    values[:, VOC] = np.where(time < 200.0, 100.0, 300.0)
    for at in (200, 320):
        values[at : at + 30, [PM25, PM1, PM10]] += peak
    events = detector.step(batch_of(time, values))
    assert [e.kind.value for e in events if e.phase is EventPhase.ALERTED] == expected


@pytest.mark.parametrize(
    ("minutes_later", "voc", "kinds"),
    [
        (0, 0.0, ["possible"]),
        (0, 200.0, ["vape"]),
        (6, 0.0, ["possible", "vape"]),
        (15, 0.0, ["possible", "possible"]),
    ],
    ids=["alone", "with gas", "a second puff", "a second puff too late"],
)
def test_once_a_minute_a_puff_alone_may_be_a_spray(minutes_later, voc, kinds):
    detector = Detector(Model("sure", vape=of_one_feature("age_s", -1.0, 5.0)))
    detector.assign_row("s")
    time, values = clean(120, dt=60.0)
    values[:, VOC] = 100.0
    for at in {60, 60 + minutes_later}:
        values[at : at + 2, [PM25, PM1, PM10]] += [[40.0], [15.0]]
        values[at : at + 2, VOC] += voc
    events = detector.step(batch_of(time, values))
    alerted = [e for e in events if e.phase is EventPhase.ALERTED]
    assert [e.kind.value for e in alerted] == kinds
    for event in alerted:
        says = any(detail.code == "rare_readings" for detail in event.details)
        assert says == (event.kind is EventKind.POSSIBLE)


def test_a_clock_set_ahead_ends_nothing_at_a_sensor_that_had_no_plume():
    detector = fresh(["s"])
    time, values = clean(60)
    detector.step(batch_of(time, values))
    assert detector.move_clock(time[-1] + 3600.0, 3600.0, {"s"}) == []


def test_possible_vaping_ends_before_anything_is_alerted(restroom_events):
    possible = {}
    for event in restroom_events:
        running = possible.setdefault(event.sensor, [])
        if event.kind is EventKind.POSSIBLE:
            running.append(event) if event.phase is EventPhase.ALERTED else running.pop()
        elif event.phase is EventPhase.ALERTED:
            assert not running
    assert any(event.kind is EventKind.POSSIBLE for event in restroom_events)
    assert not any(possible.values())


def test_a_gap_starts_anew():
    time, values = clean(600)
    time[300:] += GAP_S + 1
    values[300:, PM25] += 200.0
    assert events_of(fresh(["s"]), batch_of(time, values)) == []


def test_silence_ends_an_episode_the_same_by_time_and_by_reading():
    time, values = clean(400)
    values[200:, PM25] += 300.0 * np.exp(-np.arange(200) / 900.0)
    first = batch_of(time, values)
    later_time, later = clean(5, start=time[-1] + SILENT_S + 50)
    by_reading, by_time = fresh(["s"]), fresh(["s"])
    a = by_reading.step(first) + by_reading.step(batch_of(later_time, later))
    b = by_time.step(first) + by_time.on_time(time[-1] + SILENT_S + 1)
    assert a == b
    assert by_time.episodes_running == 0
