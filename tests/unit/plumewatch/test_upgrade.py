"""Test that data of other versions is copied and upgraded, or refused."""

from __future__ import annotations

import json
from contextlib import closing
from unittest import mock

import pytest

from plumewatch.config.paths import DataPaths
from plumewatch.service import data_folder
from plumewatch.service.data_folder import (
    NEWEST,
    STATE_SCRIPTS,
    copy_before_upgrade,
    open_and_repair_state,
    open_state,
    read_schemas,
    refuse_older,
)
from storage import audit
from storage.backup import MANIFEST
from storage.errors import (
    SchemaTooNewError,
    SchemaTooOldError,
    StorageUnavailableError,
)
from storage.journal import Journal
from storage.sqlite import connect, transaction
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries

NOW = 1_790_000_000.0
STEP = "ALTER TABLE audit ADD COLUMN court TEXT NOT NULL DEFAULT 'none';"


@pytest.fixture
def paths(tmp_path):
    """Return the databases of a service of this version, with one audit log entry."""
    made = DataPaths(tmp_path)
    with (
        Journal(made.journal),
        SqliteSeries(made.series, Retention(30, 30, 30)),
        closing(open_and_repair_state(made.state)) as state,
        transaction(state) as tx,
    ):
        audit.append(tx, audit.AuditKind.START, "ap", {}, NOW)
    return made


@pytest.fixture
def next_version(paths, monkeypatch):
    """Simulate a newer program that adds a column to the audit log."""
    monkeypatch.setitem(STATE_SCRIPTS, "audit", (*STATE_SCRIPTS["audit"], STEP))
    monkeypatch.setitem(NEWEST, "audit", 2)


def versions(root):
    return {path.name: read_schemas(path) for path in root.glob("*.db")}


def rows(path):
    with closing(connect(path, read_only=True)) as state:
        return [tuple(row) for row in state.execute("SELECT * FROM audit")]


def test_a_new_folder_gets_the_newest_schema_without_a_copy(tmp_path, request):
    assert copy_before_upgrade(tmp_path, NOW) is None
    assert list(tmp_path.iterdir()) == []
    request.getfixturevalue("paths")
    made = {part: n for found in versions(tmp_path).values() for part, n in found.items()}
    assert made == {part: n for part, n in NEWEST.items() if part != "averages"}
    assert copy_before_upgrade(tmp_path, NOW) is None


@pytest.mark.attack
@pytest.mark.parametrize(
    "foreign",
    [
        "TRIGGER mute AFTER INSERT ON outbox BEGIN DELETE FROM outbox; END",
        "VIEW more AS SELECT * FROM staff_password",
    ],
)
def test_triggers_and_views_of_somebody_else_are_refused(paths, foreign):
    with closing(connect(paths.state)) as state:
        state.execute(f"CREATE {foreign}")
    with pytest.raises(StorageUnavailableError, match=f"state.db .*{foreign.split()[1]}"):
        copy_before_upgrade(paths.root, NOW)


@pytest.mark.usefixtures("next_version")
def test_data_are_copied_and_upgraded(paths):
    before, old = rows(paths.state), versions(paths.root)
    copy = copy_before_upgrade(paths.root, NOW)
    for _ in range(2):  # a second start changes nothing
        open_and_repair_state(paths.state).close()
        assert rows(paths.state) == [(*row, "none") for row in before]
    refuse_older(paths.state)
    assert read_schemas(paths.state)["audit"] == 2
    assert not list(paths.root.glob("*.corrupt-*"))  # upgraded files do not count as damaged
    assert copy_before_upgrade(paths.root, NOW + 9) is None
    assert rows(copy / "state.db") == before  # the older program can use the copy
    assert versions(copy) == old
    assert copy.stat().st_mode & 0o777 == 0o700
    assert json.loads((copy / MANIFEST).read_text())["format"] == 1


@pytest.mark.usefixtures("next_version")
def test_only_the_last_copy_is_kept(paths):
    first = copy_before_upgrade(paths.root, NOW)
    second = copy_before_upgrade(paths.root, NOW + 60)
    assert first != second
    assert [p.name for p in paths.root.glob("before-upgrade-*")] == [second.name]


@pytest.mark.usefixtures("next_version")
def test_without_room_for_the_copy_nothing_is_changed(paths):
    before = versions(paths.root)
    full = mock.Mock(free=1_000)
    with (
        mock.patch.object(data_folder.shutil, "disk_usage", return_value=full),
        pytest.raises(StorageUnavailableError, match=r"needs 1 MB, and only 0 MB are free"),
    ):
        copy_before_upgrade(paths.root, NOW)
    assert versions(paths.root) == before
    assert not list(paths.root.glob("before-upgrade-*"))


@pytest.mark.usefixtures("next_version")
def test_commands_leave_older_data_to_the_service(paths):
    before = versions(paths.root)
    with pytest.raises(SchemaTooOldError, match="start the service once"), open_state(paths.state):
        pass
    assert versions(paths.root) == before


@pytest.mark.parametrize("part", ["alerts", "a_part_to_come"])
def test_data_of_a_newer_program_are_refused_before_anything_is_touched(paths, part, request):
    with closing(connect(paths.state)) as state:
        state.execute("INSERT OR REPLACE INTO component_version VALUES (?, 99)", (part,))
    (paths.root / "before-upgrade-20260907T055812Z").mkdir()
    request.getfixturevalue("next_version")  # the audit log is now of an older version
    before = versions(paths.root)
    with pytest.raises(SchemaTooNewError, match=f"{part} 99") as refused:
        copy_before_upgrade(paths.root, NOW)
    assert "plumewatch restore --force" in str(refused.value)
    assert "before-upgrade-20260907T055812Z" in str(refused.value)
    with pytest.raises(SchemaTooNewError), open_state(paths.state):
        pass
    assert versions(paths.root) == before
