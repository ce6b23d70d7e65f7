"""Data of every schema there ever was, brought to the newest: nothing is lost, and a copy is made.

`upgrades/NN.sql.gz` are the three databases of a service of that time after one puff and one push,
written by its own program and dumped as SQL.
"""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest

from plumewatch.config.load import parse
from plumewatch.config.paths import DataPaths
from plumewatch.service import data_folder
from plumewatch.service.data_folder import (
    NEWEST,
    copy_before_upgrade,
    open_and_repair_state,
    open_series,
    open_state,
    prepare_state,
    refuse_older,
    schemas,
)
from storage.backup import MANIFEST
from storage.errors import SchemaTooNewError, SchemaTooOldError, StorageUnavailableError
from storage.journal import Journal
from storage.sqlite import connect
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries
from tests.support.alert_records import incidents
from tests.support.recovery import needs_recovery
from tests.unit.plumewatch.test_config import GOOD

NOW = 1_790_000_000.0
DUMPS = sorted((Path(__file__).parent / "upgrades").glob("*.sql.gz"))
KEPT = {
    "journal.db": ("journal", "dead_letter"),
    "series.db": ("reading", "sensor"),
    "state.db": ("incident", "alert_event", "incident_history", "outbox", "outbox_attempt"),
}


def laid_out(dump, root):
    """Make the data folder that a dump is of."""
    text = gzip.decompress(dump.read_bytes()).decode()
    parts = re.split(r"^-- (\w+\.db)\n", text, flags=re.MULTILINE)[1:]
    for name, script in zip(parts[::2], parts[1::2], strict=True):
        with closing(sqlite3.connect(root / name)) as database:
            database.executescript(script)
    return DataPaths(root)


def rows(root):
    found = {}
    for name, tables in KEPT.items():
        with closing(sqlite3.connect(root / name)) as database:
            for table in tables:
                count = database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - names of ours
                found[name, table] = count
    return found


@pytest.fixture
def oldest(tmp_path):
    return laid_out(DUMPS[0], tmp_path)


def test_there_is_a_dump_of_every_step():
    seen: dict[str, set[int]] = {}
    for dump in DUMPS:
        text = gzip.decompress(dump.read_bytes()).decode()
        pattern = r"""INSERT INTO "?schema_version"? VALUES\('(\w+)',(\d+)"""
        for part, version in re.findall(pattern, text):
            seen.setdefault(part, set()).add(int(version))
    for part, newest in NEWEST.items():
        if newest > 1:
            assert seen[part] == set(range(1, newest + 1)), part


@pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.name.split(".")[0])
def test_every_schema_there_was_is_brought_forward_and_copied_before(dump, tmp_path):
    paths = laid_out(dump, tmp_path)
    before, versions = rows(tmp_path), {p.name: schemas(p) for p in tmp_path.glob("*.db")}
    assert before["state.db", "incident"] == 1
    behind = any(n < NEWEST[part] for found in versions.values() for part, n in found.items())
    copy = copy_before_upgrade(tmp_path, NOW, 0.0)
    assert (copy is not None) == behind
    with Journal(paths.journal) as journal:
        entries, last = journal.read(0, 100_000)
        assert len(entries) == before["journal.db", "journal"]
        assert last == journal.last_offset()
    with SqliteSeries(paths.series, Retention(36_500, 36_500, 36_500)) as series:
        assert series.latest()
    with closing(open_and_repair_state(paths.state)) as state:
        prepare_state(state)  # a second time changes nothing
        assert incidents(state, "severity", "repeats") == [("warning", 0)]
        assert not state.execute("PRAGMA foreign_key_check").fetchall()
    assert rows(tmp_path) == before
    for name in KEPT:
        found = schemas(tmp_path / name)
        assert found == {part: NEWEST[part] for part in found}
        refuse_older(tmp_path / name)
    for opened in (Journal(paths.journal), SqliteSeries(paths.series)):
        with opened:
            assert opened.repairs == 0  # what was upgraded is not taken for damaged
    open_and_repair_state(paths.state).close()
    assert not list(tmp_path.glob("*.corrupt-*"))
    assert copy_before_upgrade(tmp_path, NOW + 9, 0.0) is None
    if copy is not None:  # the copy is what was there, so the older program finds its own
        assert rows(copy) == before
        assert {p.name: schemas(p) for p in copy.glob("*.db")} == versions
        assert copy.stat().st_mode & 0o777 == 0o700
        assert json.loads((copy / MANIFEST).read_text())["format"] == 1  # and takes it


@needs_recovery
@pytest.mark.parametrize(
    "words", ["component TEXT", "version INTEGER", "acknowledged_by TEXT", "decided_sentence TEXT"]
)
def test_a_name_in_the_newest_schema_is_damaged(words, tmp_path):
    """One flipped byte, and statements that use the column would fail for good."""
    paths = laid_out(DUMPS[-1], tmp_path)
    with closing(open_and_repair_state(paths.state)) as state:
        state.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = rows(tmp_path)
    content = bytearray(paths.state.read_bytes())
    content[content.index(words.encode()) + 1] ^= 1
    paths.state.write_bytes(content)
    assert copy_before_upgrade(tmp_path, NOW, 0.0) is None
    open_and_repair_state(paths.state).close()
    assert words.encode() in paths.state.read_bytes()
    assert rows(tmp_path) == before
    assert (tmp_path / "state.db.corrupt-1").read_bytes() == content


def test_what_the_newest_schema_is_made_of_is_what_the_service_makes(tmp_path):
    paths = DataPaths(tmp_path)
    with Journal(paths.journal), SqliteSeries(paths.series, Retention(30, 30, 30)):
        open_and_repair_state(paths.state).close()
    made = {}
    for path in tmp_path.glob("*.db"):
        made |= schemas(path)
    assert made == {part: n for part, n in NEWEST.items() if part != "averages"}
    assert copy_before_upgrade(tmp_path, NOW, 0.0) is None


def test_a_new_folder_needs_no_copy(tmp_path):
    assert copy_before_upgrade(tmp_path, NOW, 0.0) is None
    assert list(tmp_path.iterdir()) == []


def test_only_the_last_copy_is_kept(oldest):
    first = copy_before_upgrade(oldest.root, NOW, 0.0)
    second = copy_before_upgrade(oldest.root, NOW + 60, 0.0)
    assert first != second
    assert [p.name for p in oldest.root.glob("before-upgrade-*")] == [second.name]


def test_without_room_for_the_copy_nothing_is_changed(oldest):
    before = {p.name: schemas(p) for p in oldest.root.glob("*.db")}
    full = mock.Mock(free=1_000)
    with (
        mock.patch.object(data_folder.shutil, "disk_usage", return_value=full),
        pytest.raises(StorageUnavailableError, match=r"takes 0 MB and 0 are left. Make room"),
    ):
        copy_before_upgrade(oldest.root, NOW, 0.0)
    assert {p.name: schemas(p) for p in oldest.root.glob("*.db")} == before
    assert not list(oldest.root.glob("before-upgrade-*"))


@pytest.mark.parametrize("part", ["alerts", "a_part_to_come"])
def test_data_of_a_newer_program_are_refused_before_anything_is_touched(oldest, part):
    copy = copy_before_upgrade(oldest.root, NOW, 0.0)
    with closing(connect(oldest.state)) as state:
        state.execute("INSERT OR REPLACE INTO schema_version VALUES (?, 99)", (part,))
    before = schemas(oldest.journal)
    with pytest.raises(SchemaTooNewError, match=f"{part} 99") as refused:
        copy_before_upgrade(oldest.root, NOW + 1, 0.0)
    assert f"plumewatch restore --force {copy}" in str(refused.value)
    assert schemas(oldest.journal) == before  # behind, and left so
    with pytest.raises(SchemaTooNewError), open_state(oldest.state):
        pass


def test_commands_leave_data_of_an_older_program_to_the_service(oldest):
    before = schemas(oldest.state)
    with (
        pytest.raises(SchemaTooOldError, match="start the service once"),
        open_state(oldest.state),
    ):
        pass
    config = parse(GOOD | {"data_dir": str(oldest.root)}, base=oldest.root)
    with pytest.raises(SchemaTooOldError), open_series(config):
        pass
    assert schemas(oldest.state) == before


def test_a_damaged_file_is_left_to_repair(oldest):
    oldest.state.write_bytes(b"no database" * 1_000)
    copy_before_upgrade(oldest.root, NOW, 0.0)
    with closing(open_and_repair_state(oldest.state)) as state:
        assert incidents(state) == []
