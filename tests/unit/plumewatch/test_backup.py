"""Test backups of a running service, detection of damaged copies, and restoring."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import os
import resource
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from plumewatch.config.load import load
from plumewatch.service.data_folder import DATABASES
from storage.backup import MANIFEST, verify
from storage.files import FolderLock
from storage.journal import Journal
from storage.reading import Reading
from tests.support.broker import free_port
from tests.support.command import plumewatch
from tests.support.config_entries import one_room
from tests.support.in_process import running, store
from tests.support.plumes import readings_of_puff
from tests.support.waiting import until

NOW = 1_790_000_000.0
COPY = "plumewatch-20260921T141320Z"
TOP = 'data_dir = "data"\n[broker]\nport = {}\n[web]\nport = {}\n'


def write_config(folder):
    path = folder / "plumewatch.toml"
    path.write_text(one_room("n2-boys-1", top=TOP.format(free_port(), free_port())))
    return path


@pytest.fixture
def config_file(tmp_path):
    return write_config(tmp_path)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return the folder of a stopped service that recorded a puff, and a backup; never written to.

    Running the service takes longer than most tests.
    """
    folder = tmp_path_factory.mktemp("recorded")
    config_file = write_config(folder)

    async def record():
        async with running(load(config_file)) as service:
            readings = readings_of_puff(start=time.time() - 300)
            await store(service, readings)
            await until(lambda: service.writers.readings.state.stored == len(readings))
            await until(lambda: service.detection.position == len(readings))

    asyncio.run(record())
    back_up(config_file, folder / "b")
    return folder


@pytest.fixture
def used(recorded, config_file):
    """Return the configuration of a stopped service that recorded a puff."""
    shutil.copytree(recorded / "data", config_file.parent / "data")
    return config_file


@pytest.fixture
def copied(recorded, used):
    """Return the folder of a backup."""
    return Path(shutil.copytree(recorded / "b", used.parent / "b"), COPY)


def back_up(config_file, target, now=NOW):
    ran = plumewatch("backup", target, "--config", config_file, now=now)
    return ran.code, ran.out


@pytest.mark.needs("sqlite3")
@pytest.mark.parametrize(
    ("name", "table"),
    [("series.db", "reading"), ("journal.db", "journal"), ("state.db", "alert_event")],
)
async def test_what_is_on_a_damaged_page_is_all_that_a_backup_lacks(
    used, tmp_path, capsys, name, table
):
    path = tmp_path / "data" / name
    with contextlib.closing(sqlite3.connect(path)) as db:
        (page,) = db.execute(
            "SELECT max(pageno) FROM dbstat WHERE name = ? AND pagetype = 'leaf'", (table,)
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)
    code, output = await asyncio.to_thread(back_up, used, tmp_path / "b")
    assert code == 1
    assert f"DAMAGED {name}" in output
    (folder,) = (tmp_path / "b").iterdir()
    proofs = list(verify(folder, DATABASES))
    assert all(proof.ok for proof in proofs), proofs
    assert any("damaged" in proof.sentence for proof in proofs if proof.part == name)
    assert not list(folder.glob("*.corrupt*")) + list(folder.glob("*-wal"))
    async with running(load(used)) as service:  # which repairs it
        last = service.journal.get_last_offset()
        await until(lambda: service.series.get_cursor() == service.detection.position == last)
        assert list(path.parent.glob(f"{name}.corrupt-*"))
    code, output = await asyncio.to_thread(back_up, used, tmp_path / "healed")
    assert (code, "DAMAGED" in output) == (0, False), output


def restore(config_file, source, *, only_verify=False, force=False):
    words = ["--verify"] * only_verify + ["--force"] * force
    ran = plumewatch("restore", source, *words, "--config", config_file, now=NOW)
    return ran.code, ran.out


def spoil(folder, name, statement):
    """Change a copy and its digest, so that only the content checks can detect the change."""
    path = folder / name
    with contextlib.closing(sqlite3.connect(path)) as copy, copy:
        copy.execute("PRAGMA foreign_keys=OFF")
        copy.executescript(statement)
    manifest = json.loads((folder / MANIFEST).read_text())
    entry = manifest["files"][name]
    entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    del manifest["sha256"]
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


def sign(manifest):
    """Return a manifest with an updated digest, if it has one."""
    with contextlib.suppress(ValueError, RecursionError, AttributeError):
        found = json.loads(manifest)
        return json.dumps(
            {**found, "sha256": hashlib.sha256(json.dumps(found).encode()).hexdigest()}
        ).encode()
    return manifest


async def test_backups_of_a_service_under_load_are_sound(config_file, tmp_path):
    async with running(load(config_file)) as service:
        stop, began = asyncio.Event(), time.time()
        moments = (began + k / 1000 for k in itertools.count())  # each is one row in the series

        async def busy():
            while not stop.is_set():
                now = time.time()
                batch = [
                    Reading("n2-boys-1", next(moments), now, {"pm25": 4.0}) for _ in range(100)
                ]
                await store(service, batch)

        traffic = asyncio.create_task(busy())
        for n in range(3):
            code, output = await asyncio.to_thread(back_up, config_file, tmp_path / f"b{n}", None)
            assert code == 0, output
        stop.set()
        await traffic
        count = service.journal.get_last_offset()
    (newest,) = (tmp_path / "b2").iterdir()
    code, output = restore(config_file, newest, force=True)
    assert code == 0, output
    async with running(load(config_file)) as service:
        last = service.journal.get_last_offset()
        assert 0 < last <= count
        await until(lambda: service.detection.position == last)
        await until(lambda: service.series.get_cursor() == last)
        assert len(service.series.read_between(0, 4e9)) == last


def test_a_backup_is_sound_and_private(used, tmp_path):
    code, output = back_up(used, tmp_path / "backups")
    assert code == 0
    folder = tmp_path / "backups" / COPY
    assert f"wrote {folder}" in output
    assert "FAULT" not in output
    assert sorted(p.name for p in folder.iterdir()) == [
        "journal.db",
        MANIFEST,
        "series.db",
        "state.db",
    ]
    assert (folder.stat().st_mode & 0o777, (folder / "state.db").stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )
    code, output = restore(used, folder, only_verify=True)
    assert (code, output.splitlines()[-1]) == (0, f"{folder} is sound; nothing was changed")


def test_nothing_is_overwritten(used, tmp_path, capsys):
    assert back_up(used, tmp_path)[0] == 0
    whole = (tmp_path / COPY / MANIFEST).read_bytes()
    assert back_up(used, tmp_path)[0] == 1
    assert (tmp_path / COPY / MANIFEST).read_bytes() == whole
    assert restore(used, tmp_path / COPY)[0] == 1
    output = capsys.readouterr().err
    assert "exists already" in output
    assert "with --force these move to" in output
    data = tmp_path / "data"
    before = (data / "state.db").read_bytes()
    code, output = restore(used, tmp_path / COPY, force=True)
    assert code == 0
    lines = output.splitlines()
    assert lines[-1].startswith(f"next: `plumewatch check --config {used}`, then start the service")
    aside = data / "before-restore-20260921T141320Z"
    assert (aside / "state.db").read_bytes() == before
    assert (data / "state.db").exists()


@pytest.mark.parametrize("force", [False, True])
def test_never_under_a_service_that_runs(used, tmp_path, capsys, force):
    back_up(used, tmp_path)
    lock = FolderLock(tmp_path / "data" / "service.lock")
    lock.take()
    assert restore(used, tmp_path / COPY, force=force)[0] == 3
    assert "is in use by process" in capsys.readouterr().err
    lock.release()


@pytest.mark.parametrize(
    ("name", "statement", "part"),
    [
        ("journal.db", "DELETE FROM journal WHERE offset = 7", "conservation"),
        ("journal.db", "DELETE FROM journal WHERE offset > 60", "conservation"),
        ("journal.db", "UPDATE journal SET body = x'80' WHERE offset = 9", "conservation"),
        ("journal.db", "UPDATE journal SET received = 0 WHERE offset = 9", "conservation"),
        ("journal.db", "UPDATE sqlite_sequence SET seq = 20 WHERE name = 'journal'", "cursor"),
        ("state.db", "UPDATE consumer SET position = 100000", "cursor detector"),
        (
            "state.db",
            "UPDATE detector_snapshot SET position = 100000 WHERE name = 'detector'",
            "cursor detector snapshot",
        ),
        ("series.db", "UPDATE consumer SET position = 100000", "cursor series"),
        ("state.db", "UPDATE consumer SET position = 'far'", "contents"),
        ("journal.db", "UPDATE sqlite_sequence SET seq = x'00'", "contents"),
    ],
)
def test_what_does_not_add_up_is_found(used, copied, name, statement, part):
    spoil(copied, name, statement)
    faults = [proof for proof in verify(copied, DATABASES) if not proof.ok]
    assert faults
    assert faults[0].part.startswith(part)
    assert restore(used, copied, force=True)[0] == 1, "never overridden"


@pytest.mark.attack
def test_a_log_beside_a_database_is_found(copied):
    (copied / "state.db-wal").write_bytes(b"")
    (fault,) = [proof for proof in verify(copied, DATABASES) if not proof.ok]
    assert (fault.part, fault.sentence) == ("state.db-wal", "is not in the manifest")


@pytest.mark.needs("sqlite3")
async def test_an_index_that_is_damaged_is_repaired(used, tmp_path):
    path = tmp_path / "data/state.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        (page,) = db.execute(
            "SELECT pageno FROM dbstat WHERE name = 'sqlite_autoindex_incident_1'"
        ).fetchone()
        (incident,) = db.execute("SELECT id FROM incident").fetchone()
    content = bytearray(path.read_bytes())
    content[content.index(incident.encode(), (page - 1) * 4096)] ^= 1
    path.write_bytes(content)
    code, output = await asyncio.to_thread(back_up, used, tmp_path / "b")
    assert (code, "DAMAGED state.db" in output, "FAULT" in output) == (1, True, False), output
    async with running(load(used)):
        assert list(path.parent.glob("state.db.corrupt-*"))


async def test_a_damaged_value_is_named_and_can_be_restored(used, tmp_path):
    path = tmp_path / "data/state.db"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO silence VALUES (7, '[1]', 'ap', 'x', 1, 1, 9e9, '', '')")
    fault = "FAULT state.db: damaged values, set aside at the next start: silence.labels of id 7\n"
    code, output = await asyncio.to_thread(back_up, used, tmp_path / "b")
    assert (code, fault in output) == (1, True), output
    copied = tmp_path / "b" / COPY
    ran = await asyncio.to_thread(plumewatch, "restore", "--verify", copied)
    assert (ran.code, fault in ran.out, "is not sound" in ran.out) == (1, True, True), ran.out
    code, output = await asyncio.to_thread(restore, used, copied, force=True)
    assert (code, fault in output) == (0, True), output


@pytest.mark.parametrize("name", ["manifest.json", "state.db", "state.db-wal"])
def test_a_pipe_is_not_read(used, copied, name):
    (copied / name).unlink(missing_ok=True)
    os.mkfifo(copied / name)
    code, output = restore(used, copied, force=True)
    assert code == 1
    assert f"{name} is not a regular file" in output


HOSTILE = {
    "a trigger": """state.db
        CREATE TRIGGER more AFTER INSERT ON incident BEGIN DELETE FROM staff_password; END""",
    "a trigger of ours with another body": """state.db
        PRAGMA writable_schema = ON;
        UPDATE sqlite_master SET sql = replace(sql, 'RAISE', 'abs') WHERE sql LIKE '%RAISE%'""",
    "an endless view in place of a table": """journal.db
        DROP TABLE journal;
        CREATE VIEW journal AS WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
        SELECT x AS offset, 0 AS crc, x'' AS body FROM n""",
    "a column with a statement for a name": """state.db
        ALTER TABLE staff_password RENAME COLUMN hash TO "hash = 'x' --" """,
    "a column that is computed": """state.db
        ALTER TABLE staff_password ADD COLUMN more INTEGER AS (abs(-9223372036854775808))""",
    "tables of a newer version": """state.db
        UPDATE component_version SET version = version + 1 WHERE component = 'state'""",
    "a version that is text": """state.db
        UPDATE component_version SET version = 'x' WHERE component = 'state'""",
    "a version that is no number": """state.db
        UPDATE component_version SET version = x'' WHERE component = 'state'""",
    "a part of another program": """state.db
        INSERT INTO component_version VALUES (x'00', 1)""",
    "a table beside ours": """state.db
        CREATE TABLE "more""); DROP TABLE incident" (x)""",
}
"""Files with correct digests, as in a manipulated backup."""


@pytest.mark.attack
@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("force", [False, True])
def test_a_file_of_another_schema_is_never_restored(used, copied, capsys, what, force):
    spoil(copied, *HOSTILE[what].split("\n", 1))
    before = (used.parent / "data/state.db").read_bytes()
    code, output = restore(used, copied, force=force)
    assert code != 0
    assert "differ from what this program creates" in output + capsys.readouterr().err
    assert (used.parent / "data/state.db").read_bytes() == before
    assert not list((used.parent / "data").glob("before-restore-*"))


def test_a_consumer_behind_deleted_readings_is_found_unless_a_gap_is_recorded(copied):
    spoil(copied, "series.db", "UPDATE consumer SET position = 5")
    with Journal(copied / "journal.db") as journal:
        journal.prune(min_cursor=10, received_before=float("inf"))
    spoil(copied, "journal.db", "PRAGMA journal_mode=DELETE")
    (fault,) = [proof for proof in verify(copied, DATABASES) if not proof.ok]
    assert (fault.part, fault.sentence) == (
        "cursor series",
        "is at 5; 5 readings that it needs were deleted",
    )
    spoil(copied, "journal.db", "INSERT INTO gap VALUES ('unread', 6, 10, 0)")
    assert all(proof.ok for proof in verify(copied, DATABASES))


MANIFESTS = {
    "of another folder": b'{"format": 1, "files": {"../journal.db": {}}}',
    "deep": b'{"format": 1, "made": "", "files": ' + b"[" * 5_000,
    "deep, and closed": b'{"format": 1, "made": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "with a NUL": b'{"format": 1, "made": "", "files": {"journal.db": {}, "\\u0000.db": {}}}',
    "with half a character": b'{"format": 1, "files": {"journal.db": {}, "\\ud800.db": {}}}',
    "with a number for a digest": b'{"format": 1, "made": "", "files": {"journal.db": 1}}',
    "large": b'{"format": 1, "made": "' + b"x" * 50_000_000 + b'", "files": {}}',
    "no text": b"\xff\xfe",
}


@pytest.mark.parametrize("what", ["flipped", "missing", "no manifest", *MANIFESTS])
def test_a_copy_that_is_not_what_was_written(used, copied, tmp_path, what):
    if what == "flipped":
        content = bytearray((copied / "state.db").read_bytes())
        content[len(content) // 2] ^= 1
        (copied / "state.db").write_bytes(content)
    elif what == "missing":
        (copied / "state.db").unlink()
    elif what == "no manifest":
        (copied / MANIFEST).unlink()
    else:
        (copied / MANIFEST).write_bytes(sign(MANIFESTS[what]))
    assert [p.ok for p in verify(copied, DATABASES)].count(False) == 1
    before = (tmp_path / "data" / "state.db").read_bytes()
    assert restore(used, copied)[0] == 1
    assert (tmp_path / "data" / "state.db").read_bytes() == before


def test_no_byte_of_a_manifest_can_be_flipped_unnoticed(copied):
    whole = (copied / MANIFEST).read_bytes()
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        (copied / MANIFEST).write_bytes(flipped)
        assert not next(iter(verify(copied, DATABASES))).ok, at


def test_sources_that_are_none(used, tmp_path, capsys):
    (tmp_path / "text").write_text("no backup")
    assert restore(used, tmp_path / "text")[0] == 1
    assert restore(used, tmp_path / "none")[0] == 1
    assert restore(used, tmp_path / "data")[0] == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_database_that_the_manifest_does_not_name_is_not_restored(used, copied, tmp_path):
    (copied / "more.db").write_bytes(b"evil")
    assert restore(used, copied, only_verify=True)[0] == 1
    (copied / "more.db").unlink()
    shutil.copy(copied / "state.db", tmp_path / "elsewhere.db")
    (copied / "state.db").unlink()
    (copied / "state.db").symlink_to(tmp_path / "elsewhere.db")
    assert restore(used, copied, only_verify=True)[0] == 1


def test_a_backup_that_finds_no_space_names_where(used, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        ran = plumewatch("backup", tmp_path / "copies", "--config", used)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ran.code == 3
    assert f"cannot be copied to {tmp_path}/copies/" in ran.err
    assert not list((tmp_path / "copies").iterdir())
