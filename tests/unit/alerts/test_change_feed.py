"""The change feed: nothing that happened to an incident is missed, or sent twice."""

import asyncio

from alerts.incidents import repository
from alerts.incidents.repository import ChangeSignal
from storage.sqlite import transaction

NOW = 1_790_000_000.0


def happen(engine, tx, event, now):
    with transaction(tx):
        return engine.on_events(tx, [event], now)


def start(tx, *readers):
    with transaction(tx):
        for reader in readers:
            repository.advance_reader(tx, reader, repository.find_newest_change(tx))


def test_the_life_of_an_incident(engine, tx, make_event):
    start(tx, "r")
    event = make_event(NOW)
    (record,) = happen(engine, tx, event, NOW)
    with transaction(tx):
        engine.acknowledge(tx, record.incident, "ap", NOW + 5)
        engine.resolve(tx, record.incident, "ap", NOW + 9)
    changes = repository.read_changes(tx, "r")
    assert [(c.what, c.at) for c in changes if c.what != "changed"] == [
        ("opened", NOW),
        ("acknowledged", NOW + 5),
        ("resolved", NOW + 9),
    ]
    assert {c.incident for c in changes} == {record.incident}
    assert {c.event for c in changes} == {None, event.id}


def test_readers_go_on_at_their_own_pace(engine, tx, make_event):
    start(tx, "fast", "slow")
    happen(engine, tx, make_event(NOW), NOW)
    with transaction(tx):
        repository.advance_reader(tx, "fast", repository.find_newest_change(tx))
        repository.prune_changes(tx, {"fast", "slow"})
    assert repository.read_changes(tx, "fast") == []
    assert len(repository.read_changes(tx, "slow")) > 0
    assert len(repository.read_changes(tx, "slow", limit=1)) == 1


def kept(tx):
    """All entries, as a reader from the beginning gets them."""
    with transaction(tx):
        repository.advance_reader(tx, "all", 0)
    return repository.read_changes(tx, "all")


def test_pruning_waits_for_the_slowest_live_reader(engine, tx, make_event):
    start(tx, "fast", "slow", "gone")
    happen(engine, tx, make_event(NOW), NOW)
    with transaction(tx):
        repository.advance_reader(tx, "fast", repository.find_newest_change(tx))
        repository.prune_changes(tx, {"fast"})
    assert kept(tx) == []
    assert repository.read_changes(tx, "gone") is None
    happen(engine, tx, make_event(NOW, sensor="s3"), NOW)  # numbers never start again
    assert repository.read_changes(tx, "fast")[0].seq > 1


def test_a_reader_behind_the_bound_starts_again_from_the_incidents(engine, tx, make_event):
    start(tx, "fast", "slow")
    happen(engine, tx, make_event(NOW), NOW)
    with transaction(tx):
        repository.advance_reader(tx, "fast", repository.find_newest_change(tx) - 1)
        repository.prune_changes(tx, {"fast", "slow"}, max_entries=1)
    assert repository.read_changes(tx, "slow") is None
    assert len(repository.read_changes(tx, "fast")) == 1
    assert len(kept(tx)) == 1


def test_what_comes_while_a_reader_begins_is_kept_for_it(engine, tx, make_event):
    start(tx, "fast")
    assert repository.read_changes(tx, "new") is None
    head = repository.find_newest_change(
        tx
    )  # it looks at the incidents now, and stores its cursor later
    happen(engine, tx, make_event(NOW), NOW)
    with transaction(tx):
        repository.advance_reader(tx, "fast", repository.find_newest_change(tx))
        repository.prune_changes(tx, {"fast", "new"})
        repository.advance_reader(tx, "new", head)
    assert len(repository.read_changes(tx, "new")) > 0
    with transaction(tx):
        repository.advance_reader(tx, "new", head + 1)
        repository.prune_changes(tx, {"fast", "new"})
    assert kept(tx)[0].seq == head + 2


async def test_the_signal_wakes_every_reader():
    signal, wake = ChangeSignal(), asyncio.Event()
    signal.wakes.append(wake)
    readers = [asyncio.create_task(signal.wait_beyond(0, 60.0)) for _ in range(3)]
    await asyncio.sleep(0)
    signal.notify()
    assert await asyncio.gather(*readers) == [1, 1, 1]
    assert wake.is_set()
    assert await signal.wait_beyond(0, 60.0) == 1  # it is late, and looks at once
    assert await signal.wait_beyond(1, 0.0) == 1
