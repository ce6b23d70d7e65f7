"""Silences that recur: each occurrence is a silence of its own, a day ahead."""

from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from alerts.duty.shifts import ClockHours, RecurringSilence
from alerts.engine import AlertEngine
from alerts.incidents import silences
from alerts.incidents.throttling import find_silence
from plumewatch.config.faults import ConfigError
from plumewatch.config.load import parse
from plumewatch.config.settings import build_silences

ZONE = ZoneInfo("America/New_York")
EVENINGS = ClockHours(ZONE, 18 * 60, 20 * 60, frozenset(range(5)))
CLEANING = RecurringSilence({"room": "n2-boys", "kind": "vape"}, "cleaning", EVENINGS)


def at(day, hour):
    return datetime(2026, 9, day, hour, tzinfo=ZONE).timestamp()


@pytest.fixture
def engine(registry, policy):
    return AlertEngine(registry, replace(policy, silences=(CLEANING,)))


def spans(tx, now):
    found = [s for s in silences.list_recent(tx, now) if s.ends_at > now]
    return sorted(
        (f"{datetime.fromtimestamp(s.starts_at, UTC).astimezone(ZONE):%d %H:%M}", s.owner)
        for s in found
    )


def test_the_next_occurrence_is_added_once(tx, engine):
    for minute in range(3):  # Monday
        assert engine.sync_silences(tx, at(7, 12) + 60 * minute) == []
    assert spans(tx, at(7, 12)) == [("07 18:00", "plumewatch")]
    engine.sync_silences(tx, at(7, 19))
    assert spans(tx, at(7, 19)) == [("07 18:00", "plumewatch"), ("08 18:00", "plumewatch")]
    engine.sync_silences(tx, at(11, 21))  # Friday night: none until Monday
    assert spans(tx, at(11, 21)) == []


def test_an_occurrence_that_was_ended_stays_ended(tx, engine):
    engine.sync_silences(tx, at(7, 12))
    (silence,) = silences.list_recent(tx, at(7, 12))
    engine.end_silence(tx, silence.id, "ap", at(7, 13))
    engine.sync_silences(tx, at(7, 18))
    assert find_silence(tx, {"room": "n2-boys", "kind": "vape"}, at(7, 19)) is None


def test_a_start_within_an_occurrence_silences_the_rest(tx, engine):
    engine.sync_silences(tx, at(7, 19))
    silence = find_silence(tx, {"room": "n2-boys", "kind": "vape"}, at(7, 19))
    assert silence is not None
    assert silence.ends_at == at(7, 20)


def test_what_the_configuration_no_longer_has_is_ended(tx, engine, registry, policy):
    engine.sync_silences(tx, at(7, 19))
    AlertEngine(registry, policy).sync_silences(tx, at(7, 19))
    assert spans(tx, at(7, 19)) == []


def test_the_whole_school_is_not_silenced_for_long(tx, registry, policy):
    long = replace(EVENINGS, start=17 * 60, end=23 * 60)
    wide = RecurringSilence({"building": "North"}, "night", long)
    engine = AlertEngine(registry, replace(policy, silences=(wide,)))
    (refused,) = engine.sync_silences(tx, at(7, 12))
    assert refused.startswith("night: end: together with the existing silences")
    assert spans(tx, at(7, 12)) == []


def test_it_lasts_from_its_first_to_its_last_day():
    bounded = replace(CLEANING, first=date(2026, 9, 8), last=date(2026, 9, 8))
    assert [bool(bounded.find_occurrences(at(day, 17))) for day in (6, 8, 9)] == [
        False,
        True,
        False,
    ]


SCHOOL = {
    "site": "x",
    "timezone": "America/New_York",
    "room": [{"id": "a", "name": "A", "building": "North", "floor": "2"}],
    "sensor": [{"id": "s", "room": "a"}],
}
ENTRY = {"reason": "cleaning", "room": "a", "start": "18:00", "end": "20:00"}


def test_its_configuration_becomes_labels(tmp_path):
    entries = [{**ENTRY, "kind": "vape"}, {**ENTRY, "room": "", "building": "North", "floor": "2"}]
    first, second = build_silences(parse({**SCHOOL, "silence": entries}, base=tmp_path))
    assert first.labels == {"room": "a", "kind": "vape"}
    assert second.labels == {"floor": "2", "building": "North"}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"room": ""}, "silence.0"),
        ({"building": "North"}, "silence.0"),
        ({"room": "b"}, "silence.0.room"),
        ({"room": "", "building": "South"}, "silence.0.building"),
        ({"room": "", "building": "North", "floor": "9"}, "silence.0.floor"),
        ({"end": "07:00"}, "silence.0.end"),
        ({"reason": ""}, "silence.0.reason"),
        ({"first": date(2026, 9, 8), "last": date(2026, 9, 7)}, "silence.0.last"),
    ],
)
def test_faults_of_its_configuration(tmp_path, change, path):
    with pytest.raises(ConfigError) as error:
        parse({**SCHOOL, "silence": [{**ENTRY, **change}]}, base=tmp_path)
    assert path in {fault.path for fault in error.value.faults}
