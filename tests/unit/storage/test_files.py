"""Test that only the owner can access the data folder, whatever the service's umask."""

import os
import shutil
import stat
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from storage.files import FolderLock, atomic_write, make_private_folder
from storage.sqlite import connect, transaction
from tests.support.in_process import one_room, running
from tests.support.needs import needs_another_user

FLOCK = shutil.which("flock")


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder):
    paths = (folder, *folder.rglob("*"))
    return {p.name: oct(stat.S_IMODE(p.stat().st_mode)) for p in paths if p.stat().st_mode & 0o077}


async def test_nobody_else_reads_what_a_service_writes(open_umask, tmp_path):
    config = one_room(tmp_path)
    async with running(config):
        assert {p.name for p in config.data_dir.iterdir()} >= {"journal.db", "state.db-wal"}
        assert open_to_others(config.data_dir) == {}
    assert open_to_others(config.data_dir) == {}


def test_a_folder_of_others_files_keeps_its_mode(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "thesis.txt").touch()
    make_private_folder(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755


@needs_another_user
@pytest.mark.parametrize("held", [True, False])
def test_another_user_cannot_take_the_lock(held):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        lock = Path(folder) / "service.lock"
        taken = FolderLock(lock)
        taken.take()
        if not held:
            taken.release()
        other = subprocess.run([FLOCK, "-n", lock, "true"], user=65534, check=False, cwd="/")
        assert other.returncode == 66  # it cannot open the file
        if not held:
            taken.take()
        taken.release()


def test_what_is_deleted_is_not_in_the_file_any_more(tmp_path):
    path = tmp_path / "x.db"
    with closing(connect(path)) as db:
        assert db.execute("PRAGMA secure_delete").fetchone()[0] == 1
        with transaction(db) as tx:
            tx.execute("CREATE TABLE t (x TEXT)")
            tx.execute("INSERT INTO t VALUES ('seven blue kettles')")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert b"blue kettles" in path.read_bytes()
        with transaction(db) as tx:
            tx.execute("DELETE FROM t")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"blue kettles" not in path.read_bytes()


def test_a_replaced_file_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    path, synced = tmp_path / "plumewatch.toml", []
    path.write_text("old")
    fsync = os.fsync

    def note(descriptor):
        synced.append((Path(f"/proc/self/fd/{descriptor}").resolve(), path.read_text()))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", note)
    with atomic_write(path) as draft:
        draft.write_text("new")
    assert synced == [(draft, "old"), (tmp_path, "new")]
