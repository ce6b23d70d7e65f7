"""Test that ``plumewatch segments`` writes the journal once, in order of evaluation."""

import msgspec
import polars as pl
import pytest

from scale.history import find_parts
from storage.journal import Journal
from storage.reading import Reading
from tests.support.command import plumewatch
from tests.support.school_year import config_text

AT = 1_789_387_200.0


def reading(k, sensor="pw-0", **more):
    return Reading(sensor, AT + k, AT + k, {"pm25": float(k)}, **more)


@pytest.fixture
def site(tmp_path):
    config = tmp_path / "plumewatch.toml"
    config.write_text(config_text(4))
    (tmp_path / "plumewatch-data").mkdir()
    return config


def commit(site, readings):
    with Journal(site.parent / "plumewatch-data" / "journal.db") as journal:
        journal.commit(readings)


def run(*words):
    return plumewatch("segments", *words)


def rows(folder):
    parts = [p for bucket in find_parts(folder).values() for p in bucket]
    return pl.concat([pl.read_parquet(p, hive_partitioning=False) for p in parts]).sort("position")


def test_what_is_new_lands_once(site, tmp_path):
    out = tmp_path / "history"
    commit(
        site,
        [reading(1), reading(2, "pw-1"), reading(3, "unregistered", flags=("unknown_sensor",))],
    )
    first = run(out, "--config", site)
    assert (first.code, first.err) == (0, "3 readings written, 3 in all, in 2 buckets\n")
    assert run(out, "-c", site).err == "0 readings written, 3 in all, in 2 buckets\n"
    commit(site, [reading(4)])
    assert run(out, "-c", site).err == "1 readings written, 4 in all, in 2 buckets\n"
    stored = rows(out)
    assert stored["position"].to_list() == [1, 2, 3, 4]
    assert stored["building"].to_list() == ["North", "South", "", "North"]
    assert stored["model"].to_list() == ["sen55", "sen55", "", "sen55"]
    assert stored["room"].to_list() == ["r0", "r1", "", "r0"]
    assert stored["evaluated"].to_list() == [True, True, False, True]


def test_what_overtook_another_waits_over_the_end_of_a_run(site, tmp_path):
    out = tmp_path / "history"
    commit(site, [reading(1, seq=1), reading(3, seq=3)])
    assert run(out, "-c", site).code == 0
    assert rows(out)["time"].to_list() == [AT + 1]
    commit(site, [msgspec.structs.replace(reading(2, seq=2), received=AT + 3.5)])
    assert run(out, "-c", site).code == 0
    assert rows(out)["time"].to_list() == [AT + 1, AT + 2, AT + 3]


def test_readings_that_the_journal_deleted_before_are_reported(site, tmp_path):
    out = tmp_path / "history"
    commit(site, [reading(k) for k in range(1, 6)])
    with Journal(tmp_path / "plumewatch-data" / "journal.db") as journal:
        journal.prune(min_cursor=3, received_before=AT + 3.5)
    found = run(out, "-c", site)
    assert found.code == 0
    assert "2 readings written" in found.err
    assert "3 readings had been deleted from the journal before" in found.err


def test_damaged_records_are_left_out_and_left_where_they_are(site, tmp_path):
    out = tmp_path / "history"
    commit(site, [reading(1), reading(2), reading(3)])
    with Journal(tmp_path / "plumewatch-data" / "journal.db") as journal:
        journal.change(lambda tx: tx.execute("UPDATE journal SET crc = 1 WHERE offset = 2"))
    assert run(out, "-c", site).code == 0
    assert rows(out)["time"].to_list() == [AT + 1, AT + 3]
    with Journal(tmp_path / "plumewatch-data" / "journal.db") as journal:
        assert journal.corrupt_records == 0


def test_a_journal_that_was_begun_anew_is_not_mixed_with_the_old(site, tmp_path):
    out = tmp_path / "history"
    commit(site, [reading(1), reading(2)])
    assert run(out, "-c", site).code == 0
    for path in (tmp_path / "plumewatch-data").glob("journal.db*"):
        path.unlink()
    commit(site, [reading(9)])
    found = run(out, "-c", site)
    assert found.code == 2
    assert "the journal ends at 1, but the history goes up to 2" in found.err


def test_a_missing_journal_is_reported(site, tmp_path):
    found = run(tmp_path / "history", "-c", site)
    assert found.code == 3
    assert "journal.db" in found.err


def test_it_repeats_until_it_is_stopped(site, tmp_path, monkeypatch):
    commit(site, [reading(1)])
    waited = []

    def wait(_event, seconds):
        waited.append(seconds)
        if len(waited) == 1:
            commit(site, [reading(2)])
        return len(waited) > 1

    monkeypatch.setattr("threading.Event.wait", wait)
    out = tmp_path / "history"
    assert run(out, "-c", site, "--every", 5).code == 0
    assert waited == [5.0, 5.0]
    assert rows(out)["time"].to_list() == [AT + 1, AT + 2]
