"""Test the path from journal to incidents: after a crash anywhere, the result is the same."""

import math
from functools import partial

import pytest

from alerts.consumer.detection_consumer import CONSUMER
from alerts.incidents.incident import Verdict
from detection.events import ChannelEvidence, EventKind
from ingest.validation import SILENT_FLAGS
from language.messages import build_fact, to_json
from storage.journal import Snapshot, load_cursor, save_snapshot
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.sqlite import transaction
from tests.support import alert_records as stored
from tests.support.events import make_event
from tests.support.plumes import START, air, readings_of_puff


@pytest.fixture
def readings():
    """Return two puffs at two sensors in two rooms, a tampered device, and clean air."""
    merged = [
        *readings_of_puff("s1"),
        *readings_of_puff("s3", onset_s=200.0, top=90.0),
        Reading("s2", START + 120, START + 120.25, {}, ("tamper",)),
    ]
    return sorted(merged, key=lambda r: r.time)


@pytest.fixture
def whole(make_site, readings):
    site = make_site()
    site.arrive(readings)
    assert {a.kind for a in site.alerts} == {"vape", "tamper"}
    assert len(site.alerts) == 3
    assert site.result()[2][0] == 3
    return site.result()


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_any_batch_size_gives_the_same(make_site, readings, whole, size):
    site = make_site()
    site.arrive(readings, size)
    assert sorted(site.events) == sorted(whole[0])
    assert site.result()[1:] == whole[1:]


def test_restart_from_a_snapshot_older_than_the_position(make_site, readings, whole):
    site = make_site()
    site.journal.commit(readings)
    site.process(50)
    site.process(50)
    assert site.consumer.save_snapshot() == 100
    for _ in range(2):
        site.process(50)
    site.start()
    assert site.consumer.position == 200
    site.process_all()
    assert site.result() == whole


@pytest.mark.parametrize("crash_every", [0, 15, 20])
@pytest.mark.parametrize("saved", [False, True], ids=["crash", "snapshot and crash"])
def test_batches_from_which_nothing_follows_are_committed_together(
    make_site, readings, whole, crash_every, saved
):
    site = make_site(gather_s=30.0)
    site.journal.commit(readings)
    batches, commits = 0, set()
    while site.process(10):
        batches += 1
        commits.add(load_cursor(site.state, CONSUMER))
        if crash_every and batches % crash_every == 0:
            if saved:
                assert site.consumer.save_snapshot() == site.consumer.position
            site.start()
    assert len(commits) < batches * 0.75
    site.consumer.on_time(readings[-1].received)
    assert sorted(site.events) == sorted(whole[0])
    assert site.result()[1:] == whole[1:]


@pytest.mark.parametrize("flag", sorted(SILENT_FLAGS))
def test_readings_with_silent_flags_are_not_shown_to_detectors(make_site, flag):
    import msgspec

    site = make_site()
    silent = [msgspec.structs.replace(r, flags=(flag,)) for r in readings_of_puff("s1")]
    silent.append(Reading("s1", START + 400, START + 400, {}, ("tamper",), (), (flag,)))
    site.journal.commit(silent)
    site.process_all()
    assert site.events == []
    assert site.alerts == []
    assert site.consumer.watermark == float("-inf")
    assert site.consumer.position == len(silent)


@pytest.mark.parametrize("ahead", [5.0, 50.0, 290.0])
def test_readings_stamped_ahead_do_not_keep_a_puff_from_being_judged(make_site, ahead):
    site = make_site()
    puff = readings_of_puff("s1")
    forged = [
        Reading(r.sensor, r.received + 0.01 + ahead, r.received + 0.01, {"pm25": 4.0})
        for r in puff[::10]
    ]
    site.journal.commit(sorted([*puff, *forged], key=lambda r: r.received))
    site.process_all()
    assert [a.kind for a in site.alerts] == ["vape"]


def test_a_snapshot_of_another_model_or_garbage_is_not_used(make_site, readings, whole):
    site = make_site()
    site.journal.commit(readings)
    for body, version in ((b"\xc1", None), (b"", None), (b"x", "older-model")):
        for _ in range(2):
            site.process(50)
        found = Snapshot(site.consumer.position, version or site.consumer.model_version, body)
        save_snapshot(site.state, CONSUMER, found)
        site.start()
    site.process_all()
    assert site.result() == whole


def smoky_rooms():
    """Return four rooms in a building that fill with smoke in ten minutes, for half an hour."""
    rooms = [Room(f"r{k}", f"Room {k}", "1", "North", "Lincoln High") for k in range(4)]
    registry = Registry.build(rooms, [Sensor(f"q{k}", f"r{k}") for k in range(4)])
    readings = []
    for n in range(360):
        at = 15.0 * n
        smoke = 20.0 * min(max((at - 2400.0) / 600.0, 0.0), 1.0)
        for k in range(4):
            noise = 0.1 * ((7 * n + 3 * k) % 5)
            time = START + at + 0.1 * k
            values = {"pm25": round(5.0 + noise + smoke, 1), "rh": 41.0 + noise}
            readings.append(Reading(f"q{k}", time, time + 0.25, values))
    return registry, readings


def vape_at(sensor, at, excess):
    evidence = {"pm25": ChannelEvidence(5.0, excess, 60.0, None)}
    at += START
    return make_event(at, sensor, onset=START + 2450.0, evidence=evidence, time=at)


class SaysSo:
    """A stub detector that returns prepared events when their readings arrive."""

    model_version = "made"

    def __init__(self, events):
        self.left = list(events)

    def assign_row(self, sensor):
        return int(sensor[1:])

    def step(self, batch):
        now = max(batch.time, default=0.0)
        due = [e for e in self.left if e.time <= now]
        self.left = [e for e in self.left if e.time > now]
        return due

    def on_time(self, _now, _received=None):
        return []

    def end_answered(self, _is_answered):
        return []

    def snapshot(self):
        return b""


@pytest.mark.parametrize("size", [50, 120])
def test_vaping_that_the_air_of_the_building_explains_alerts_nobody(make_site, size):
    site = make_site()
    site.registry, readings = smoky_rooms()
    site.start()
    events = [vape_at("q1", 3500.0, 8.0), vape_at("q2", 3500.0, 60.0)]
    site.consumer._selector.detectors.plumes = SaysSo(events)
    site.arrive(readings, size)
    kinds = sorted((a.sensor, a.kind) for a in site.alerts)
    assert [k for k in kinds if k[1] == "vape"] == [("q2", "vape")]
    assert [k[1] for k in kinds if k[1] != "vape"] == ["ambient"]
    found = stored.events(site.state, "sensor", "incident", "details", kind="vape")
    (alert,) = stored.incidents(site.state, "id", kind=EventKind.VAPE)
    assert sorted(found) == [
        ("q1", None, to_json((build_fact("rose_together", risen=4, n=4),))),
        ("q2", alert, "[]"),
    ]


def test_common_air_is_followed_over_restarts(make_site):
    results = []
    for orderly in (None, True, False):
        site = make_site()
        site.registry, readings = smoky_rooms()
        site.start()
        site.journal.commit(readings)
        while site.process(200):
            if orderly is not None:
                if orderly:
                    site.consumer.save_snapshot()
                site.start()
        results.append(site.alerts)
    assert [a.kind for a in results[0] if a.kind is EventKind.AMBIENT] == ["ambient"]
    assert results[1] == results[0]
    assert results[2] == results[0]


@pytest.mark.attack
@pytest.mark.parametrize("what", ["vendor_vape", "vendor_burning", "tamper"])
@pytest.mark.parametrize("every_s", [60, 400, 590])
@pytest.mark.parametrize("answered_s", [None, 60, 310])
def test_a_device_alarm_that_goes_on_after_an_answer_is_notified_again(
    make_site, what, every_s, answered_s
):
    """Repeating the alarm, with a phone or the sensor's password, does not hide later ones."""
    site = make_site()
    readings = [
        Reading("s1", at, at, {"pm25": 5.0}, (what,) if (at - START) % every_s == 0 else ())
        for at in (START + 10.0 * k for k in range(180))
    ]
    if answered_s is not None:
        before, readings = readings[: answered_s // 10 + 1], readings[answered_s // 10 + 1 :]
        site.arrive(before)
        (first,) = stored.incidents(site.state, "id")
        with transaction(site.state) as tx:
            site.engine.record_feedback(tx, first, "ap", Verdict.NOTHING_FOUND, START + answered_s)
    site.arrive(readings, 5)
    alerts = [alert.alerted - START for alert in site.alerts]
    assert alerts[0] == 0
    assert len(alerts) == (1 if answered_s is None else 2)
    assert all(at <= answered_s + every_s + 310 for at in alerts[1:])


@pytest.mark.attack
@pytest.mark.parametrize(
    ("gap_s", "closed", "crash"), [(20.0, False, False), (40.0, True, True), (58.0, False, True)]
)
def test_vaping_that_continues_after_an_answer_is_a_new_incident(make_site, gap_s, closed, crash):
    """The rest of an answered plume is not new, but a later puff is, even without a pause."""
    puffs = [150.0 + gap_s * k for k in range(4)]
    readings = readings_of_puff("s1", more_s=puffs[1:], seconds=puffs[-1] + 20.0)
    site, answered = make_site(), set()

    def answer(tx, incident, at):
        if closed:
            site.engine.resolve(tx, incident, "ap", at)
        else:
            site.engine.record_feedback(tx, incident, "ap", Verdict.NOTHING_FOUND, at)

    site.journal.commit(readings)
    while site.process(2):
        if crash:
            site.start()
        at = readings[site.consumer.position - 1].received
        for incident in set(stored.incidents(site.state, "id")) - answered:
            site.on_page(partial(answer, incident=incident, at=at))
            answered.add(incident)
    onsets = [alert.onset - START for alert in site.alerts]
    assert onsets == pytest.approx(puffs, abs=3.0)
    assert all(alert.alerted - alert.onset < 15.0 for alert in site.alerts)


@pytest.mark.parametrize(("until_s", "again"), [(1_500, True), (930, False)])
def test_smoke_that_still_rises_after_an_answer_is_a_new_incident(make_site, until_s, again):
    """Smoke rises from 400 s until `until_s` and then clears slowly."""
    site, readings = make_site(), []
    for at, values in air(1_500.0):
        fine = 0.1 * max(min(at, until_s) - 400.0, 0.0) * math.exp(-max(at - until_s, 0.0) / 3e3)
        shares = {"pm1": 0.85, "pm25": 1.0, "pm10": 1.05, "voc_index": 0.3}
        smoky = values | {key: values[key] + share * fine for key, share in shares.items()}
        readings.append(Reading("s1", START + at, START + at, smoky))
        if at == 932.0:
            site.arrive(readings)
            (first,) = stored.incidents(site.state, "id")
            with transaction(site.state) as tx:
                site.engine.record_feedback(tx, first, "ap", Verdict.CONFIRMED, START + at)
            readings = []
    site.arrive(readings, 5)
    assert [alert.kind for alert in site.alerts] == ["smoke"] * (1 + again)
    assert len(stored.incidents(site.state, "id")) == 1 + again
