"""History judged again: the same by every way, and compared in words and numbers."""

import pytest

from detection.alert_thresholds import AlertBudgets
from detection.errors import SnapshotError
from detection.model import Model
from scale.backtest import Alert, Variant, judge, on_processes, tasks_of
from scale.compare import Answer, alerts_of, differences, repeated
from scale.errors import HistoryError
from scale.history import History
from scale.shard import Shard
from tests.support.recorded import of_the_service, recorded

SLOW = ("ambient-1", "faults-1")


def final_states(events):
    """Last state of each event, of slow detectors without the reading that closed a minute."""
    last = {event.id: event for event in events}
    return sorted(
        (e.id, e.sensor, e.kind.value, e.onset, e.confidence, e.explained_by)
        + (() if e.model_version in SLOW else (e.alerted,))
        for e in last.values()
    )


def of_alerts(alerts, slow):
    return sorted(
        (a.id, a.sensor, a.kind, a.onset, a.confidence, a.explained_by)
        + (() if a.id in slow else (a.alerted,))
        for a in alerts
    )


def budgets(readings):
    names = sorted({r.sensor for r in readings})
    return {names[0]: 0.1, names[1]: 9.0}, {names[2]: 0.5, names[3]: -0.5}


def test_processes_and_one_task_find_what_the_service_found(history):
    own, moved = budgets(recorded())
    service = of_the_service(recorded(), AlertBudgets(0.8, own, moved))
    slow = {e.id for e in service if e.model_version in SLOW}
    tasks = tasks_of([History(history)], [Variant("a", 0.8, own=own, moved=moved)])
    seen = []
    pooled = on_processes(tasks, 2, seen.append)
    assert pooled == [judge(task) for task in tasks]
    assert of_alerts([a for j in pooled for a in j.alerts], slow) == final_states(service)
    assert sum(seen) == sum(
        p.stat().st_size for ps in History(history).buckets.values() for p in ps
    )
    assert sum(j.readings for j in pooled) == len(recorded())
    assert all(a.building for j in pooled for a in j.alerts)


def test_versions_are_judged_beside_each_other(gym_history, unlike):
    both = [Variant("shipped", 1.0), Variant("eager", 1.0, unlike.read_bytes())]
    task = tasks_of([History(gym_history)], both, ["vape"])[0]
    together = judge(task)
    assert together.models[1] == "eager"
    for k, variant in enumerate(both):
        alone = judge(type(task)(task.name, task.parts, [variant], task.kinds))
        assert [_as(a, 0) for a in together.alerts if a.variant == k] == alone.alerts
        assert together.others[k] == alone.others[0]
    assert "vape" not in together.others[0]
    assert sum(together.others[0].values()) > 0
    assert len(alerts_of(together.alerts, 1)) > len(alerts_of(together.alerts, 0))


def _as(found, variant):
    fields = {name: getattr(found, name) for name in found.__struct_fields__}
    return Alert(**{**fields, "variant": variant})


def test_a_failing_worker_names_the_part(gym_history, tmp_path):
    task = tasks_of([History(gym_history)], [Variant("a", 1.0)])[0]
    broken = tmp_path / "part-1.parquet"
    broken.write_bytes(b"nothing")
    with pytest.raises(HistoryError, match=r"part-1\.parquet"):
        on_processes([type(task)("x", [str(broken)], task.variants)], 2)


def test_a_shard_continues_from_its_snapshot(gym_history):
    frames = [History.read(p) for p in History(gym_history).buckets[0]]
    own, moved = budgets(recorded())
    given = AlertBudgets(1.0, own, moved)
    whole, parts = Shard(given), Shard(given)
    expected = [e for frame in frames for e in whole.step(whole.streams.of(frame))]
    found = []
    for frame in frames:
        for at in range(0, frame.height, 400):
            found += parts.step(parts.streams.of(frame[at : at + 400]))
            parts = Shard.restore(parts.snapshot(), given)
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    again = found and [e for f in frames for e in parts.step(parts.streams.of(f))]
    assert [e for e in again if e.kind.value == "vape" and "vendor" not in e.model_version] == []


def test_a_snapshot_of_something_else_is_refused(unlike):
    with pytest.raises(SnapshotError, match="no snapshot of a shard"):
        Shard.restore(b"x")
    body = Shard().snapshot()
    with pytest.raises(SnapshotError, match="begin with a new checkpoint"):
        Shard.restore(body, model=Model.from_bytes(unlike.read_bytes()))


def alert(onset, sensor="s1", variant=0, room="r1", **more):
    fields = {"kind": "vape", "explained_by": "", "confidence": 0.9, **more}
    return Alert(variant, f"{sensor}{onset}", sensor, "North", room, onset=onset, alerted=onset + 5,
                 end=None, **fields)  # fmt: skip


def test_alerts_are_events_that_would_notify_somebody():
    found = [alert(5.0), alert(1.0), alert(3.0, explained_by="ambient"),
             alert(2.0, variant=1)]  # fmt: skip
    assert [a.onset for a in alerts_of(found, 0)] == [1.0, 5.0]


def test_differences_pair_each_alert_once():
    first = [alert(0.0), alert(100.0), alert(1000.0), alert(5000.0, "s2")]
    second = [alert(90.0), alert(1120.0), alert(5000.0, "s3"), alert(5000.0, "s2", kind="smoke")]
    both, only_first, only_second = differences(first, second)
    assert [a.onset for a in both] == [0.0, 1000.0]
    assert [a.onset for a in only_first] == [100.0, 5000.0]
    assert [(a.sensor, a.kind) for a in only_second] == [("s3", "vape"), ("s2", "smoke")]
    assert differences([], []) == ([], [], [])


def test_incidents_are_raised_again_by_room_kind_and_time():
    answers = [
        Answer("r1", "vape", "confirmed", 1000.0, 1300.0),
        Answer("r1", "smoke", "confirmed", 1000.0, 1300.0),
        Answer("r2", "vape", "false_alarm", 1000.0, 1300.0),
    ]
    assert repeated([alert(880.0)], answers) == [True, False, False]
    assert repeated([alert(879.0), alert(1301.0)], answers) == [False, False, False]
    assert repeated([], []) == []
