"""Test that threshold adjustments take effect at the same reading despite crashes."""

import sqlite3

import numpy as np
import pytest

from alerts.incidents import threshold_adjustments
from alerts.incidents.incident import Verdict
from detection.alert_rules import BUDGET, AlertBudgets
from storage.journal import load_snapshot, save_snapshot
from tests.support.alert_records import incidents
from tests.support.consumer_site import ConsumerSite
from tests.support.plumes import START, readings_of_puff

UP = threshold_adjustments.STEPS[Verdict.FALSE_ALARM]
SIZE = 40


class Site(ConsumerSite):
    """A site with people who answer."""

    def answer(self, verdict, cause="", sensor="s1"):
        def give(tx):
            found = incidents(tx, "id", sensor=sensor)[0]
            self.engine.record_feedback(tx, found, "Lee", verdict, START + 900.0, cause=cause)

        self.on_page(give)

    def process(self, size=SIZE, before_commit=lambda: None):
        return super().process(size, before_commit)

    def feedback(self, sensor="s1"):
        return self.consumer.explain_thresholds([sensor])[sensor].feedback

    def result(self):
        detector = self.consumer._selector.detectors.plumes
        order = np.argsort(detector.names)
        return (
            sorted(detector.names),
            detector.thresholds.to_array()[order].tobytes(),
            threshold_adjustments.list_adjustments(self.state),
        )


@pytest.fixture
def readings():
    """Return puffs at two sensors in two rooms, first separately, then again."""
    puffs = [
        *readings_of_puff("s1", seconds=900.0),
        *readings_of_puff("s3", onset_s=200.0, top=90.0, seconds=900.0),
    ]
    return sorted(puffs, key=lambda r: r.time)


@pytest.fixture
def make_site(tmp_path, registry, policy, readings):
    sites = []

    def make(**more):
        sites.append(Site(tmp_path / f"site{len(sites)}", registry, policy, **more))
        sites[-1].journal.commit(readings)
        return sites[-1]

    yield make
    for site in sites:
        site.close()


def run(site, *, crash_at=(), save_at=(), stepped=False):
    """Process all batches; people answer at batches 8 and 12, and correct an answer at batch 16."""
    number = 0
    acts = {
        8: lambda: site.answer(Verdict.FALSE_ALARM, "spray"),
        12: lambda: site.answer(Verdict.CONFIRMED, sensor="s3"),
        16: lambda: site.answer(Verdict.NOTHING_FOUND),
    }
    while True:
        act = acts.pop(number, lambda: None)
        if not stepped:
            act()
        if number in save_at:
            site.consumer.save_snapshot()
        if not site.process(before_commit=act if stepped else lambda: None):
            break
        number += 1
        if number in crash_at:
            site.start()
    assert not acts
    return site.result()


@pytest.fixture(scope="module")
def known():
    """Return a cache for results that several tests share."""
    return []


@pytest.fixture
def whole(make_site, known):
    """Return the result without a crash."""
    if not known:
        site = make_site()
        known.append(run(site))
        assert [move.seq for move in known[0][2]] == [3, 2, 1]
        assert site.feedback() == 0.0
        assert site.feedback("s3") == -UP / 2
    return known[0]


@pytest.mark.parametrize("stepped", [False, True], ids=["between batches", "after the step"])
@pytest.mark.parametrize(
    ("crash_at", "save_at"), [({9}, set()), ({12, 13}, {9, 13}), (set(range(1, 30)), {7})]
)
def test_a_crash_anywhere_changes_nothing(make_site, whole, crash_at, save_at, stepped):
    site = make_site()
    result = run(site, crash_at=crash_at, save_at=save_at, stepped=stepped)
    assert result[:2] == whole[:2]
    assert len(result[2]) == 3
    assert site.feedback("s3") == -UP / 2


def test_a_move_waits_for_a_commit_and_counts_once(make_site):
    site = make_site()
    for _ in range(8):
        site.process()
    site.answer(Verdict.FALSE_ALARM, "spray")
    assert site.feedback() == 0.0
    site.start()
    assert site.feedback() == 0.0
    site.process()
    assert site.feedback() == UP
    for _ in range(3):
        site.start()
        assert site.feedback() == UP
        assert site.consumer.on_time(0.0).alerts == []
    assert [m.position for m in threshold_adjustments.list_adjustments(site.state)] == [9 * SIZE]


def test_a_disk_that_refuses_leaves_the_move_waiting(make_site):
    site = make_site()
    for _ in range(8):
        site.process()
    site.answer(Verdict.FALSE_ALARM, "spray")
    entries, position = site.journal.read(site.consumer.position, SIZE)
    events = site.consumer.step([entry.reading for entry in entries])
    other = sqlite3.connect(site.folder / "state.db")
    site.state.execute("PRAGMA busy_timeout=1")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        site.consumer.commit(events, position, START + 900.0)
    assert site.feedback() == 0.0
    other.rollback()
    other.close()
    site.consumer.commit(events, position, START + 900.0)
    assert site.feedback() == UP


def test_without_readings_time_alone_places_a_move(make_site):
    site = make_site()
    while site.process():
        pass
    site.consumer.save_snapshot()
    site.answer(Verdict.FALSE_ALARM, "spray")
    assert site.feedback() == 0.0
    site.consumer.on_time(START + 1000.0)
    assert site.feedback() == UP
    site.start()
    assert site.feedback() == UP


def test_moves_outlive_a_detector_that_begins_anew(make_site):
    """A new model discards the old model's state, but keeps people's feedback on a sensor."""
    site = make_site()
    for _ in range(8):
        site.process()
    site.answer(Verdict.FALSE_ALARM, "spray")
    while site.process():
        pass
    site.consumer.save_snapshot()
    stored = load_snapshot(site.state, "detector")
    save_snapshot(site.state, "detector", stored._replace(model_version="older"))
    site.start()
    assert site.feedback() == UP


def test_budgets_of_the_school(make_site):
    site = make_site(budgets=AlertBudgets(2.0, {"s3": 0.5}))
    while site.process():
        pass
    site.consumer.save_snapshot()

    def budgets():
        found = site.consumer.explain_thresholds(["s1", "s3", "unknown"])
        return {sensor: report.budget for sensor, report in found.items()}

    assert budgets() == {"s1": 2.0, "s3": 0.5}
    site.options.clear()
    site.start()
    assert budgets() == {"s1": BUDGET, "s3": BUDGET}
