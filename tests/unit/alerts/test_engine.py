from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

import pytest

from alerts.engine import AlertEngine
from alerts.errors import FeedbackError
from alerts.incidents import repository, schema
from alerts.incidents.incident import Incident, Verdict
from alerts.policy import AlertPolicy, StaffMember
from alerts.secrets import Secret, find_channel
from detection.events import EventKind, EventPhase
from storage import sqlite
from storage.registry import Registry
from tests.support import alert_records as stored


def history(tx, incident):
    return stored.history(tx, "what", incident=incident)


def test_one_alert_one_incident_one_notice(tx, engine, make_event):
    (record,) = engine.on_events(tx, [make_event(1000.0)], 1000.2)
    assert (record.sensor, record.alerted, record.kind, record.onset) == ("s1", 1000, "vape", 994)
    assert record.incident == "19691231-001"  # the school's own date
    assert stored.notices(tx, "person", "reason", "status") == [("ap", "opened", "due")]
    (notice,) = stored.notices(tx, "notice")
    assert notice.room == "Boys N2"
    assert notice.link == "https://plumewatch.example/incidents/19691231-001"
    assert "rose from 4 to 180" in notice.evidence.describe("vape")
    assert history(tx, record.incident) == ["opened", "paged"]


@pytest.mark.parametrize(
    ("kind", "people"),
    [
        ("vape", ["ap"]),
        ("smoke", ["ap"]),
        ("tamper", ["fm"]),
        ("sensor_fault", ["fm"]),
        ("spray", []),
        ("steam", []),
        ("voc", []),
        ("dust", []),
        ("ambient", ["fm"]),
    ],
)
def test_who_is_paged(tx, engine, make_event, kind, people):
    records = engine.on_events(tx, [make_event(kind=EventKind(kind))], 1000.0)
    assert stored.notices(tx, "person") == people
    assert len(records) == len(people)
    (event,) = stored.events(tx, kind=kind)
    assert (event.incident is None) == (not people)


def test_a_second_channel_is_a_row_of_its_own_once_the_first_has_had_its_time(
    tx, registry, make_event
):
    targets = (Secret("json://a.example/1"), Secret("tgram://123:abc/9"))
    engine = AlertEngine(registry, AlertPolicy(staff=(StaffMember("x", "X", targets=targets),)))
    engine.on_events(tx, [make_event()], 1000.0)
    engine.fall_back(tx, 1009.9)
    assert stored.notices(tx, "channel") == [find_channel(targets[0])]
    engine.fall_back(tx, 1010.0)
    engine.fall_back(tx, 1010.1)
    found = stored.notices(tx, "target", "channel")
    assert [f[0].split("-")[0] for f in found] == ["json", "tgram"]
    assert found[1][1] == "tgram"
    assert "example" not in json.dumps(found)
    assert "abc" not in json.dumps(found)


def test_unknown_sensor_is_stored_and_never_alerted_on(tx, engine, make_event):
    assert engine.on_events(tx, [make_event(sensor="unregistered")], 1000.0) == []
    assert stored.events(tx, "sensor", "room") == [("unregistered", None)]


def test_replay_gives_unknown_sensors_a_room_and_writes_no_notice(tx, policy, make_event):
    engine = AlertEngine(Registry(), policy, replay=True)
    (record,) = engine.on_events(tx, [make_event(sensor="lab-7")], 9e9)
    assert record.sensor == "lab-7"
    assert stored.notices(tx) == []
    assert stored.incidents(tx, "room", "status") == [("lab-7", "notified")]


def test_late_events_are_recorded_as_an_incident_and_never_page(tx, engine, make_event):
    assert engine.on_events(tx, [make_event(1000.0)], 1000.0 + 601) == []
    later = make_event(1000.0, phase=EventPhase.UPDATED)
    assert engine.on_events(tx, [later], 1700.0) == []
    for now in range(1700, 5000, 100):
        assert engine.on_time(tx, float(now)) == []
    assert stored.incidents(tx, "suppressed_by.code", "paged", "severity", "status") == [
        ("late", False, "warning", "resolved")
    ]
    assert stored.notices(tx) == []


def test_what_began_late_and_still_goes_on_pages(tx, engine, make_event):
    """The backlog has caught up with the present, so somebody can still go and look."""
    assert engine.on_events(tx, [make_event(1000.0)], 1000.0 + 601) == []
    live = replace(make_event(1000.0, phase=EventPhase.UPDATED), time=1620.0)
    assert len(engine.on_events(tx, [live], 1621.0)) == 1


@pytest.mark.parametrize(
    ("verdict", "cause", "note", "match"),
    [
        ("false_alarm", "", "", "false alarm with one of these causes: spray"),
        ("false_alarm", "gremlins", "", "false alarm with one of these causes: spray"),
        ("false_alarm", "battery", "", "false alarm with one of these causes: spray"),
        ("confirmed", "spray", "", "false alarm with one"),
        ("fixed", "", "", "possible answers: confirmed, nothing found, test"),
        ("test", "", "x" * 201, "longer than"),
    ],
)
def test_feedback_that_does_not_fit(tx, engine, make_event, verdict, cause, note, match):
    (record,) = engine.on_events(tx, [make_event()], 1000.0)
    with pytest.raises(FeedbackError, match=match):
        engine.record_feedback(
            tx, record.incident, "x", Verdict(verdict), 1.0, cause=cause, note=note
        )


@pytest.mark.parametrize(
    ("verdict", "cause", "fits"),
    [
        ("fixed", "", True),
        ("fixed", "battery", True),
        ("nothing_found", "", True),
        ("fixed", "spray", False),
        ("false_alarm", "spray", False),
        ("confirmed", "", False),
    ],
)
def test_answers_of_a_sensor_that_is_offline(tx, engine, make_event, verdict, cause, fits):
    (record,) = engine.on_events(tx, [make_event(kind=EventKind.OFFLINE)], 1000.0)
    answer = (tx, record.incident, "x", Verdict(verdict), 1100.0)
    if not fits:
        with pytest.raises(FeedbackError, match="fixed with one of these causes: battery"):
            engine.record_feedback(*answer, cause=cause)
        return
    engine.record_feedback(*answer, cause=cause)
    answers = [line.get("cause", "") for line in stored.history(tx, "detail", what="feedback")]
    assert answers == [cause]
    assert repository.load(tx, record.incident).verdict == verdict


def test_an_event_that_ended_stays_ended(tx, engine, make_event):
    engine.on_events(tx, [make_event(), make_event(phase=EventPhase.ENDED, end=1000.0)], 1000.0)
    before = stored.events(tx), stored.incidents(tx)
    for phase in (EventPhase.UPDATED, EventPhase.ENDED, EventPhase.ALERTED):
        engine.on_events(tx, [make_event(phase=phase)], 1001.0)
    assert (stored.events(tx), stored.incidents(tx)) == before


@pytest.mark.parametrize(
    ("kind", "version", "again"),
    [
        ("offline", "m", True),
        ("sensor_fault", "m", True),
        ("tamper", "m", True),
        ("sensor_fault", "device-low_battery", False),
        ("vape", "m", False),
    ],
)
def test_a_fault_that_lasts_for_hours_after_its_answer_is_reported_again(
    tx, engine, make_event, kind, version, again
):
    event = make_event(kind=EventKind(kind), model_version=version)
    (first,) = engine.on_events(tx, [event], 1000.0)
    verdict = Verdict.CONFIRMED if kind in {"tamper", "vape"} else Verdict.FIXED
    engine.record_feedback(tx, first.incident, "x", verdict, 1100.0)
    sent = set()
    for hours in (1, 5, 7, 8):
        engine.report_lasting(tx, 1100.0 + 3600 * hours)
        engine.on_time(tx, 1100.0 + 3600 * hours)
        sent |= {hours} if len(stored.incidents(tx)) == 2 else set()
    assert sent == ({7, 8} if again else set())
    engine.on_events(tx, [replace(event, phase=EventPhase.ENDED, end=40_000.0)], 40_000.0)
    assert set(stored.events(tx, "phase")) == {"ended"}
    assert len(set(stored.notices(tx, "incident"))) == 1 + again
    assert repository.load(tx, first.incident).status == "resolved"


def replayed(registry, policy, words, size):
    tx = sqlite.connect(":memory:")
    sqlite.migrate(tx, schema.COMPONENT, schema.SCRIPTS)
    engine = AlertEngine(registry, policy, replay=True)
    records = []
    for start in range(0, len(words), size):
        part = words[start : start + size]
        records += engine.on_events(tx, part, max(w.end or w.alerted for w in part))
    found = stored.everything(tx)
    tx.close()
    return records, found


@pytest.mark.parametrize("size", [2, 3, 7, 100])
def test_replay_does_not_depend_on_the_split(registry, policy, make_event, size):
    words = []
    for k in range(12):
        at = 1000.0 + 170.0 * k
        first = "s1" if k % 3 else "s3"
        words += [make_event(at, first), make_event(at + 20.0, "s2")]
        words += [
            make_event(at + 20.0, "s2", phase=EventPhase.ENDED, end=at + 40.0),
            make_event(at, first, phase=EventPhase.ENDED, end=at + 60.0),
        ]
    singly = replayed(registry, policy, words, 1)
    assert replayed(registry, policy, words, size) == singly
    assert len(singly[0]) > 3


def test_the_database_refuses_a_second_open_incident(tx, engine, make_event):
    (record,) = engine.on_events(tx, [make_event()], 1000.0)
    incident = repository.load(tx, record.incident)
    assert isinstance(incident, Incident)
    with pytest.raises(sqlite3.IntegrityError):
        repository.save(tx, replace(incident, id="other"))


def test_history_cannot_be_changed(tx, engine, make_event):
    engine.on_events(tx, [make_event()], 1000.0)
    stored.assert_append_only(tx, "incident_history")


def test_an_alert_names_its_sensor_as_disputed(tx, engine, make_event):
    engine.on_events(tx, [make_event(1000.0, kind=EventKind.INTEGRITY)], 1000.0)
    engine.on_events(tx, [make_event(1010.0), make_event(1010.0, "s3")], 1010.0)
    notes = [(n.room, bool(n.notes)) for n in stored.notices(tx, "notice") if n.kind == "vape"]
    assert notes == [("Boys N2", True), ("Girls N1", False)]
