"""Backups of a running service; how a damaged copy is found; restoring."""

import asyncio
import contextlib
import gzip
import hashlib
import itertools
import json
import os
import random
import resource
import shutil
import sqlite3
import tarfile
import tempfile
import time
import tracemalloc

import pytest

from plumewatch.config.load import load
from storage.backup import MANIFEST, verify
from storage.journal import Journal
from storage.lease import Lease
from storage.reading import Reading
from tests.support.broker import free_port
from tests.support.command import plumewatch
from tests.support.in_process import running, store, until
from tests.support.plumes import readings_of_puff

NOW = 1_790_000_000.0
TOML = """
site = "S"
timezone = "UTC"
data_dir = "data"
[broker]
port = {broker}
[web]
port = {web}
[[room]]
id = "r"
name = "Boys"
building = "North"
[[sensor]]
id = "n2-boys-1"
room = "r"
"""


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(TOML.format(broker=free_port(), web=free_port()))
    return path


@pytest.fixture
async def used(config_file):
    """A data folder with a puff in it, whose service has ended."""
    async with running(load(config_file)) as service:
        readings = readings_of_puff(start=time.time() - 300)
        await store(service, readings)
        await until(lambda: service.writers.readings.state.stored == len(readings))
        await until(lambda: service.detection.position == len(readings))
    return config_file


def back_up(config_file, target, now=NOW):
    ran = plumewatch("backup", target, "--config", config_file, now=now)
    return ran.code, ran.out


def test_what_the_series_does_not_keep_any_more_is_not_missed(used, tmp_path):
    later = time.time() + 40 * 86_400
    assert plumewatch("backup", tmp_path / "b", "--config", used, now=later).code == 0
    (folder,) = (tmp_path / "b").iterdir()
    spoil(folder, "series.db", "DELETE FROM reading")
    assert all(proof.ok for proof in verify(folder))


def restore(config_file, source, *, only_verify=False, force=False):
    words = ["--verify"] * only_verify + ["--force"] * force
    ran = plumewatch("restore", source, *words, "--config", config_file, now=NOW)
    return ran.code, ran.out


def spoil(folder, name, statement):
    """Change a copy and its digest and row counts, so that only the rules of contents can tell."""
    path = folder / name
    with contextlib.closing(sqlite3.connect(path)) as copy, copy:
        copy.execute("PRAGMA foreign_keys=OFF")
        copy.execute(statement)
    manifest = json.loads((folder / MANIFEST).read_text())
    entry = manifest["files"][name]
    entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    with contextlib.closing(sqlite3.connect(path)) as copy:
        entry["rows"] = {
            table: copy.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for table in entry["rows"]
        }
    del manifest["sha256"]
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


async def test_backups_of_a_service_under_load_are_sound(config_file, tmp_path):
    async with running(load(config_file)) as service:
        stop, began = asyncio.Event(), time.time()
        moments = (began + k / 1000 for k in itertools.count())  # one row of the series each

        async def busy():
            while not stop.is_set():
                now = time.time()
                batch = [
                    Reading("n2-boys-1", next(moments), now, {"pm25": 4.0}) for _ in range(100)
                ]
                await store(service, batch)

        traffic = asyncio.create_task(busy())
        for n in range(3):
            target = tmp_path / f"b{n}.tar"
            code, output = await asyncio.to_thread(back_up, config_file, target, None)
            assert code == 0, output
        stop.set()
        await traffic
        count = service.journal.last_offset()
    code, output = restore(config_file, tmp_path / "b2.tar", force=True)
    assert code == 0, output
    async with running(load(config_file)) as service:
        last = service.journal.last_offset()
        assert 0 < last <= count
        await until(lambda: service.detection.position == last)
        await until(lambda: service.series.cursor() == last)
        assert service.series.count() == last


def test_a_folder_and_an_archive_and_back(used, tmp_path):
    code, output = back_up(used, tmp_path / "backups")
    assert code == 0
    folder = tmp_path / "backups" / "plumewatch-20260921T141320Z"
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
    code, output = back_up(used, tmp_path / "one.tar.gz")
    assert code == 0
    before = sorted(p.name for p in tmp_path.iterdir())
    for source in (folder, tmp_path / "one.tar.gz"):
        code, output = restore(used, source, only_verify=True)
        assert (code, output.splitlines()[-1]) == (0, f"{source} is sound; nothing was changed")
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_nothing_is_overwritten(used, tmp_path, capsys):
    assert back_up(used, tmp_path / "one.tar")[0] == 0
    whole = (tmp_path / "one.tar").read_bytes()
    assert back_up(used, tmp_path / "one.tar")[0] == 1
    assert (tmp_path / "one.tar").read_bytes() == whole
    assert restore(used, tmp_path / "one.tar")[0] == 1
    output = capsys.readouterr().err
    assert "exists already" in output
    assert "with --force these move to" in output
    data = tmp_path / "data"
    before = (data / "state.db").read_bytes()
    code, output = restore(used, tmp_path / "one.tar", force=True)
    assert code == 0
    lines = output.splitlines()
    count = len(readings_of_puff(start=0))
    assert f"wrote {data / 'journal.db'}: readings {count:,}, dead letters 0" in lines
    assert f"wrote {data / 'state.db'}: incidents 1, passwords of staff 0" in lines
    assert f"wrote {data / 'series.db'}: readings {count:,}, sensors 1" in lines
    assert lines[-1].startswith(f"next: `plumewatch check --config {used}`, then start the service")
    aside = data / "before-restore-20260921T141320Z"
    assert (aside / "state.db").read_bytes() == before
    assert (data / "state.db").exists()


@pytest.mark.parametrize("force", [False, True])
def test_never_under_a_service_that_runs(used, tmp_path, capsys, force):
    back_up(used, tmp_path / "one.tar")
    lease = Lease(tmp_path / "data" / "service.lock")
    assert lease.take() is None
    assert restore(used, tmp_path / "one.tar", force=force)[0] == 3
    assert "is in use by process" in capsys.readouterr().err
    lease.release()


def test_a_restore_is_not_taken_for_the_service(used, tmp_path, monkeypatch):
    back_up(used, tmp_path / "one.tar")
    copy, seen = shutil.copyfile, []

    def copy_beside_commands(source, target):
        seen.append(plumewatch("commission", "r", "--config", used))
        seen.append(plumewatch("check", "--config", used))
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", copy_beside_commands)
    assert restore(used, tmp_path / "one.tar", force=True)[0] == 0
    commission, check = seen[:2]
    assert commission.code == 3
    assert "no service receives readings" in commission.err
    assert f"is in use by process {os.getpid()} (restore) on " in check.out


@pytest.mark.parametrize(
    ("name", "statement", "part"),
    [
        ("journal.db", "DELETE FROM journal WHERE offset = 7", "conservation"),
        ("journal.db", "DELETE FROM journal WHERE offset > 60", "conservation"),
        ("journal.db", "UPDATE journal SET body = x'80' WHERE offset = 9", "conservation"),
        ("journal.db", "UPDATE sqlite_sequence SET seq = 20 WHERE name = 'journal'", "cursor"),
        ("state.db", "UPDATE consumer SET position = 100000", "cursor detector"),
        (
            "state.db",
            "UPDATE detector_snapshot SET position = 100000 WHERE name = 'detector'",
            "cursor detector snapshot",
        ),
        ("series.db", "UPDATE consumer SET position = 100000", "cursor series"),
        ("series.db", "DELETE FROM reading WHERE time = (SELECT max(time) FROM reading)", "series"),
    ],
)
def test_what_does_not_add_up_is_found(used, tmp_path, name, statement, part):
    back_up(used, tmp_path / "b")
    (folder,) = (tmp_path / "b").iterdir()
    spoil(folder, name, statement)
    faults = [proof for proof in verify(folder) if not proof.ok]
    assert faults
    assert faults[0].part.startswith(part)
    assert restore(used, folder)[0] == 1


def test_a_consumer_behind_deleted_readings_is_found_unless_a_gap_is_recorded(used, tmp_path):
    back_up(used, tmp_path / "b")
    (folder,) = (tmp_path / "b").iterdir()
    spoil(folder, "series.db", "UPDATE consumer SET position = 5")
    with Journal(folder / "journal.db") as journal:
        journal.prune(min_cursor=10, received_before=float("inf"))
    spoil(folder, "journal.db", "PRAGMA journal_mode=DELETE")
    (fault,) = [proof for proof in verify(folder) if not proof.ok]
    assert (fault.part, fault.sentence) == (
        "cursor series",
        "waits at 5 for 5 readings that are deleted",
    )
    spoil(folder, "journal.db", "INSERT INTO gap VALUES ('unread', 6, 10, 0)")
    assert all(proof.ok for proof in verify(folder))


@pytest.mark.parametrize("what", ["flipped", "missing", "no manifest", "manifest"])
def test_a_copy_that_is_not_what_was_written(used, tmp_path, what):
    back_up(used, tmp_path / "b")
    (folder,) = (tmp_path / "b").iterdir()
    if what == "flipped":
        content = bytearray((folder / "state.db").read_bytes())
        content[len(content) // 2] ^= 1
        (folder / "state.db").write_bytes(content)
    elif what == "missing":
        (folder / "state.db").unlink()
    elif what == "no manifest":
        (folder / MANIFEST).unlink()
    else:
        (folder / MANIFEST).write_text('{"format": 1, "files": {"../journal.db": {}}}')
    assert [p.ok for p in verify(folder)].count(False) == 1
    before = (tmp_path / "data" / "state.db").read_bytes()
    assert restore(used, folder)[0] == 1
    assert (tmp_path / "data" / "state.db").read_bytes() == before


def test_no_byte_of_a_manifest_can_be_flipped_unnoticed(used, tmp_path):
    back_up(used, tmp_path / "b")
    (folder,) = (tmp_path / "b").iterdir()
    whole = (folder / MANIFEST).read_bytes()
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        (folder / MANIFEST).write_bytes(flipped)
        assert not next(iter(verify(folder))).ok, at


@pytest.mark.parametrize("name", ["one.tar", "one.tar.gz"])
def test_no_byte_of_an_archive_can_be_flipped_or_cut_off_unnoticed(used, tmp_path, capsys, name):
    back_up(used, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    rng = random.Random(random.randrange(10**6))  # repeats under the seed pytest prints
    spoilt = tmp_path / f"spoilt-{name}"
    refused = 0
    for at in rng.sample(range(len(whole)), 12):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.randrange(8)
        for content in (bytes(flipped), whole[:at]):
            spoilt.write_bytes(content)
            code, _ = restore(used, spoilt, only_verify=True)
            output = capsys.readouterr().err.splitlines()
            assert len(output) <= 1
            if output:
                assert f"{spoilt} is damaged or not an archive of a backup (" in output[0]
            refused += code == 1
            assert code == 1 or unpacked(spoilt) == unpacked(tmp_path / name)  # only padding
    assert refused > 12


def unpacked(path):
    with tarfile.open(path) as archive:
        return [archive.extractfile(m).read() for m in archive if m.isfile()]


def test_sources_that_are_none(used, tmp_path, capsys):
    (tmp_path / "text.tar").write_text("no archive")
    assert restore(used, tmp_path / "text.tar")[0] == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert restore(used, tmp_path / "none.tar")[0] == 2
    assert restore(used, tmp_path / "data")[0] == 1
    assert "Traceback" not in capsys.readouterr().err


def _member(name, kind=tarfile.REGTYPE, link="", size=0, pax=None):
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    member.pax_headers = pax or {}
    return member


def _through_a_long_path(_):
    """Leave the folder past the check of Python's own filter (CVE-2025-4517)."""
    path, steps = "", "abcdefghijklmnop"
    for step in steps:
        yield _member(f"{path}{'d' * 247}", tarfile.DIRTYPE), b""
        yield _member(f"{path}{step}", tarfile.SYMTYPE, "d" * 247), b""
        path += "d" * 247 + "/"
    long = f"{'/'.join(steps)}/{'l' * 254}"
    yield _member(long, tarfile.SYMTYPE, "../" * len(steps)), b""
    yield _member("up", tarfile.SYMTYPE, f"{long}/../.."), b""
    yield _member("up/escaped", size=4), b"evil"


EVIL = {
    "above": lambda _: [(_member("../escaped"), b"")],
    "absolute": lambda root: [(_member(f"{root}/escaped"), b"")],
    "past the filter": _through_a_long_path,
    "a database above": lambda _: [(_member("b/../../escaped/journal.db"), b"")],
    "deeper": lambda _: [(_member("b/c/journal.db"), b"")],
    "link": lambda root: [(_member("b/state.db", tarfile.SYMTYPE, f"{root}/mine"), b"")],
    "hard link": lambda _: [(_member("b/state.db", tarfile.LNKTYPE, "b/journal.db"), b"")],
    "pipe": lambda _: [(_member("b/state.db", tarfile.FIFOTYPE), b"")],
    "device": lambda _: [(_member("b/state.db", tarfile.CHRTYPE), b"")],
    "sparse": lambda _: [(_member("b/state.db", tarfile.GNUTYPE_SPARSE), b"")],
    "another file": lambda _: [(_member("b/program.py"), b"")],
    "a database that the manifest does not name": lambda _: [(_member("b/more.db"), b"")],
    "twice": lambda _: [(_member("b/journal.db", size=4), b"evil")] * 2,
    "more than the manifest says": lambda _: [(_member("b/journal.db", size=9), b"evil evil")],
    "huge": lambda _: [(_member("b/series.db", size=HUGE), None)],
    "huge and unnamed": lambda _: [(_member("b/else.db", size=HUGE), None)],
    "huge manifest": lambda _: [(_member("c/manifest.json", size=HUGE), None)],
    "huge header": lambda _: [(_member("b/x", tarfile.GNUTYPE_LONGNAME, size=HUGE), None)],
    "huge extension": lambda _: [(_member("b/x", tarfile.XHDTYPE, size=HUGE), None)],
    "huge by extension": lambda _: [(_member("b/journal.db", pax={"size": str(10**15)}), b"")],
    "negative by extension": lambda _: [(_member("b/journal.db", pax={"size": "-512"}), b"")],
    "headers without end": lambda _: [(_member("b/x", tarfile.XHDTYPE), b"")] * 3000,
    "folders without end": lambda _: [(_member("b", tarfile.DIRTYPE), b"")] * 3000,
}
HUGE = 120_000_000


@pytest.mark.parametrize("manifest", ["manifest first", "manifest last"])
@pytest.mark.parametrize("what", EVIL)
def test_an_archive_writes_only_what_its_manifest_names(
    config_file, tmp_path, capsys, monkeypatch, what, manifest
):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    files = {"journal.db": {"bytes": 4}, "series.db": {"bytes": HUGE}, "state.db": {"bytes": 0}}
    text = json.dumps({"format": 1, "made": "", "series_from": 0.0, "files": files}).encode()
    listed = (_member("b/manifest.json", size=len(text)), text)
    evil = EVIL[what](tmp_path)
    members = [listed, *evil] if manifest == "manifest first" else [*evil, listed]
    bad = tmp_path / "bad.tar.gz"
    with gzip.open(bad, "wb", compresslevel=1) as file:
        for member, content in members:
            file.write(member.tobuf(tarfile.PAX_FORMAT))
            if content is None:
                for _ in range(HUGE // 1_000_000):
                    file.write(bytes(1_000_000))
            else:
                file.write(content + bytes(-len(content) % 512))
        file.write(bytes(1024))
    before = sorted(tmp_path.rglob("*"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (70_000_000, limits[1]))
    tracemalloc.start()
    try:
        code, _ = restore(config_file, bad, only_verify=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert peak < 30_000_000
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert f"{bad} is damaged or not an archive of a backup (" in output


def test_a_database_that_the_manifest_does_not_name_is_not_restored(used, tmp_path):
    back_up(used, tmp_path / "b")
    (folder,) = (tmp_path / "b").iterdir()
    (folder / "more.db").write_bytes(b"evil")
    assert restore(used, folder, only_verify=True)[0] == 1
    (folder / "more.db").unlink()
    shutil.copy(folder / "state.db", tmp_path / "elsewhere.db")
    (folder / "state.db").unlink()
    (folder / "state.db").symlink_to(tmp_path / "elsewhere.db")
    assert restore(used, folder, only_verify=True)[0] == 1


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


def test_no_data_yet(config_file, tmp_path, capsys):
    assert back_up(config_file, tmp_path / "b.tar")[0] == 3
    assert "no data of a service here" in capsys.readouterr().err
    assert not (tmp_path / "b.tar").exists()
