"""Test a shard's detectors: the same events as the service, and snapshots."""

import pytest

from detection.alert_rules import AlertBudgets
from detection.errors import SnapshotError
from scale.history import find_parts
from scale.shard import Shard
from tests.support.recorded import of_the_service, read_evaluated, recorded

SLOW = ("ambient-1", "faults-1")


def final_states(events):
    """Return each event's last state, for slow detectors without the minute's last reading."""
    last = {event.id: event for event in events}
    return sorted(
        (e.id, e.sensor, e.kind.value, e.onset, e.confidence, e.explained_by)
        + (() if e.model_version in SLOW else (e.alerted,))
        for e in last.values()
    )


def budgets(readings):
    names = sorted({r.sensor for r in readings})
    return {names[0]: 0.1, names[1]: 9.0}, {names[2]: 0.5, names[3]: -0.5}


def test_shards_find_what_the_service_found(history):
    given = AlertBudgets(0.8, *budgets(recorded()))
    found = []
    for parts in find_parts(history).values():
        shard = Shard(given)
        for part in parts:
            found += shard.step(shard.streams.build(read_evaluated(part)))
    assert final_states(found) == final_states(of_the_service(recorded(), given))


def test_a_shard_continues_from_its_snapshot(gym_history):
    frames = [read_evaluated(p) for p in find_parts(gym_history)[0]]
    own, moved = budgets(recorded())
    given = AlertBudgets(1.0, own, moved)
    whole, parts = Shard(given), Shard(given)
    expected = [e for frame in frames for e in whole.step(whole.streams.build(frame))]
    found = []
    for frame in frames:
        for at in range(0, frame.height, 400):
            found += parts.step(parts.streams.build(frame[at : at + 400]))
            parts = Shard.restore(parts.snapshot(), given)
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    again = found and [e for f in frames for e in parts.step(parts.streams.build(f))]
    assert [e for e in again if e.kind.value == "vape" and "vendor" not in e.model_version] == []


def test_a_snapshot_of_something_else_is_refused():
    with pytest.raises(SnapshotError, match="not a snapshot of a shard"):
        Shard.restore(b"x")
    ours = Shard().model_version.encode()
    with pytest.raises(SnapshotError, match="begin with a new checkpoint"):
        Shard.restore(Shard().snapshot().replace(ours, b"x" * len(ours)))
