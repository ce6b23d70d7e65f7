"""Start a service on a data folder with a damaged file; it must name the file.

Every file is damaged in every way. Recoverable data must be recovered, lost data must be accounted
for, the damaged file must be kept, and a new reading must pass through all parts.
"""

import asyncio
import contextlib
import functools
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from alerts import sensor_tests
from alerts.incidents import repository
from alerts.page.queries import load_incident
from detection.commissioning import STEPS
from storage import audit
from storage.audit import AuditKind
from storage.reading import Reading
from tests.support.in_process import one_room, running, state_database, store
from tests.support.journals import gaps
from tests.support.needs import needs_another_user
from tests.support.plumes import readings_of_puff
from tests.support.waiting import until

PAGE = 4096
ROOT = Path(__file__).parents[2]
DATABASES = ("journal.db", "state.db", "series.db")
OTHERS = ("client-id", "subscriptions.json", "event-subscriptions.json", "service.lock")


def foreign(_content):
    """Create a database that belongs to another program."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "notes.db"
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)")
            db.execute("INSERT INTO notes (body) VALUES ('milk')")
            db.execute("CREATE TABLE consumer (name TEXT PRIMARY KEY, position INTEGER)")
            db.execute("INSERT INTO consumer VALUES ('series', 7000000)")
        return path.read_bytes()


def zeroed(content, *pages):
    found = bytearray(content)
    for page in pages:
        found[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
    return bytes(found[: len(content)])


DAMAGES = {
    "empty": lambda _: b"",
    "one byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "a torn page": lambda content: content[:-100],
    "first page zeroed": lambda content: zeroed(content, 0),
    "a page in the middle zeroed": lambda content: zeroed(content, len(content) // PAGE // 2),
    "last page zeroed": lambda content: zeroed(content, len(content) // PAGE - 1),
    "all but the first page zeroed": lambda c: zeroed(c, *range(1, len(c) // PAGE)),
    "all zeroed": lambda content: bytes(len(content)),
    "another program's database": foreign,
    "text": lambda _: b"Dear diary, " * 900,
    "text of one line": lambda _: b"\xff\xfe no\n",
}
WHOLE = frozenset({"empty", "one byte", "all zeroed", "text", "text of one line"})
"""Kinds of damage that leave nothing of a file."""
NOTHING_LEFT = WHOLE | {"another program's database"}


@pytest.fixture
async def filled(config):
    """Return a data folder with yesterday's plume, after a clean shutdown."""
    readings = readings_of_puff(start=time.time() - 86_400.0)
    async with running(config) as service:
        await store(service, readings)
        await until(lambda: service.series.get_cursor() == len(readings))
        await until(lambda: service.detection.position == len(readings))
    return config, readings


def moments(readings):
    return {round(reading.time * 1000) for reading in readings}


def details_of_start(service):
    with state_database(service) as db:
        return next(e for e in audit.read_entries(db) if e.kind == AuditKind.START).detail


def all_of(service):
    """Read the series, which finds remaining damage; the writer then reloads its cursor."""
    found = service.series.read_between(0, 4e9)
    service.writers.readings.wake.set()
    return found


async def assert_works(service):
    """Assert that a new reading passes the journal, the detector and the series."""
    now = time.time()
    await store(service, [Reading("n2-boys-1", now, now, {"pm25": 5.0})])
    last = service.journal.get_last_offset()
    await until(lambda: service.detection.position == last)
    await until(lambda: all_of(service) and service.series.get_cursor() == last)
    assert service.series.read_between(now - 1e-3, now + 1e-3)


@pytest.mark.needs("sqlite3")
@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", DATABASES)
async def test_a_damaged_database(filled, caplog, name, kind):
    config, readings = filled
    path = config.data_dir / name
    content = DAMAGES[kind](path.read_bytes())
    path.write_bytes(content)
    caplog.clear()
    async with running(config) as service:
        await assert_works(service)
        entries, _ = service.journal.read(0, 10_000)
        held = [entry.offset for entry in entries]
        missing = [o for gap in gaps(service.journal) for o in range(gap.first, gap.last + 1)]
        assert sorted(held + missing) == list(range(1, service.journal.get_last_offset() + 1))
        assert len(held) + len(missing) == len(readings) + 1
        expected = moments(readings if name == "state.db" else (e.reading for e in entries))
        await until(lambda: moments(all_of(service)) >= expected)
        if name == "journal.db":
            assert moments(all_of(service)) >= moments(readings)
        assert service.alerting.notifier.sent == []
        damaged = path.with_name(f"{name}.corrupt-1")
        if kind in NOTHING_LEFT:
            assert f'"damaged": "{name}"' in details_of_start(service)
        if damaged.exists():
            assert kind not in NOTHING_LEFT or damaged.read_bytes() == content
            assert any(r.levelname == "ERROR" and name in r.getMessage() for r in caplog.records)
        else:
            assert kind not in NOTHING_LEFT  # the damaged page has not been read yet


@pytest.mark.parametrize("kind", sorted(WHOLE))
async def test_all_other_files_damaged(filled, kind):
    config, _ = filled
    for name in OTHERS:
        (config.data_dir / name).write_bytes(DAMAGES[kind](b"\0" * 100))
    async with running(config) as service:
        await assert_works(service)


AS_NOBODY = """
import asyncio, os, sys
from pathlib import Path
from detection.model import Model
from plumewatch.service.app import Service
from plumewatch.service.resources import ServiceError
from tests.support.in_process import one_room
Model.load_shipped()  # another user cannot import what that needs
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for home in sys.argv[1:]:
    try:
        asyncio.run(Service(one_room(Path(home))).run(asyncio.Event()))
    except ServiceError as error:
        print(error)
"""


@needs_another_user
@pytest.mark.parametrize(
    ("names", "modes"),
    [
        ([*DATABASES, "service.lock"], [0o000, 0o444]),
        ([""], [0o555]),
        ([""], ["mounted read-only"]),
    ],
)
async def test_files_of_the_wrong_rights(names, modes):
    """The start fails with a message that names the file, and changes nothing."""
    with contextlib.ExitStack() as stack:
        homes, wrong, before = [], [], {}
        for name, mode in itertools.product(names, modes):
            home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            config = one_room(home)
            async with running(config):
                pass
            for path in (home, *config.data_dir.parent.rglob("*")):
                os.chown(path, 65534, 65534)
                path.chmod(0o755 if path.is_dir() else 0o600)
            path = config.data_dir / name
            if mode == "mounted read-only":
                stack.enter_context(mounted_read_only(path))
            else:
                path.chmod(mode)
            homes.append(home)
            wrong.append(path)
            before[config.data_dir] = content_of(config.data_dir)
        command = [sys.executable, "-c", AS_NOBODY, *homes]
        ran = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, cwd=ROOT
        )
        for path, line in zip(wrong, ran.stdout.splitlines(), strict=True):
            assert f"cannot write {path}" in line, ran.stderr
        assert {folder: content_of(folder) for folder in before} == before


@contextlib.contextmanager
def mounted_read_only(folder):
    mount = functools.partial(subprocess.run, check=False, capture_output=True)
    if mount(["mount", "--bind", folder, folder]).returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        mount(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield
    finally:
        mount(["umount", folder], check=True)


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.attack
@pytest.mark.parametrize(
    "body", ["''", "x'b0'", "CAST(x'b0' AS TEXT)", "'[['", "'nan'", "x'5b312c325d'", "x'81a1ff'"]
)
async def test_a_damaged_value_is_reported_once_and_starts_over(filled, caplog, body):
    config, _ = filled
    named = "SELECT name FROM detector_snapshot WHERE name NOT LIKE '% damaged'"
    with contextlib.closing(sqlite3.connect(config.data_dir / "state.db")) as db, db:
        small = ("retention clock", "room tests")
        for name in (*small, "last weekly summary"):
            db.execute("INSERT OR REPLACE INTO detector_snapshot VALUES (?, 0, '', '')", (name,))
        db.execute(f"UPDATE detector_snapshot SET body = {body}")  # noqa: S608
        names = {name for (name,) in db.execute(named)}
    assert {"detector", "liveness", "retention clock"} < names
    reported = set()
    for _ in range(2):
        caplog.clear()
        async with running(config) as service:
            await assert_works(service)
            with state_database(service) as db:
                assert sensor_tests.load_running(db) == {}
        found = {r.args[0] for r in caplog.records if "set aside" in r.getMessage()}
        assert found.isdisjoint(reported)
        reported |= found
    assert {"detector", "liveness", "retention clock"} < reported <= names


TRIGGERS = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
FOUND = [{"kind": "vape", "late_s": 9.0, "confidence": 0.9}]
TEST = json.dumps(
    {"interval_s": 5.0, "has_particles": True, "level_moved": None, "sees_puff": True}
    | {"said": {step.name: FOUND for step in STEPS}}
)
DAMAGED_VALUES = {
    "silence.labels": ["[1]", 'z"room":"n2-boys"}', "{}", '{"room":5}', "[" * 3000],
    "silence.ends_at": [9e999],
    "directory_person.provider_groups": ["Z", "5", "[1,null,[]]", "[" * 3000 + "]" * 3000],
    "directory_person.name": [b"Ad\xe1"],
    "api_token.sites": ["5"],
    "own_channel.made_at": [9e999],
    "staff_session.provider_groups": ["{"],
    "escalation_step.ring": ["Z", '{"name":"nearesu","people":[]}'],
    "outbox.notice": ["Z", "{}"],
    "outbox.reason": ["openec"],
    "outbox.attempts": [2**62, -1],
    "escalation_step.seq": [2**62],
    "threshold_adjustment.reason": ["spraz"],
    "threshold_adjustment.verdict": ["confirmee"],
    "incident.kind": ["vapd", b"vap\xe5"],
    "incident.onset": [9e999],
    "incident.suppression": ["Z", "[]"],
    "incident_history.what": ["openee"],
    "incident_history.detail": ["[]"],
    "alert_event.kind": ["vapd"],
    "alert_event.phase": ["endee"],
    "alert_event.evidence": ["Z", "[]", '{"pm25":[1]}', b"{\xff}"],
    "alert_event.decided_probabilities": ["[", '{"vape":"x"}'],
    "alert_event.details": ["5", '[{"code":"unknowm"}]'],
    "sensor_test.result": ["Z", "[]", TEST.replace("said", "sqid"), TEST.replace("kind", "kynd")],
    "provider_account.provider_groups": ['["x"'],
    "api_token.scopes": ["raed"],
}
ROWS = """
INSERT INTO silence (labels, owner, reason, created_at, starts_at, ends_at)
    VALUES ('{"room":"n2-boys"}', 'ap', 'x', 1, 1, unixepoch() - 60);
INSERT INTO directory_person VALUES ('ada', 'Ada', '["staff"]', unixepoch(), NULL);
INSERT INTO api_token (hash, name, person, scopes, made_by, made_at, expires_at, sites)
    VALUES (x'00', 'x', 'ap', 'read', 'ap', 1, 2e9, '["north"]');
INSERT INTO provider_account VALUES ('ap', 'a@b.c', 'https://i.example', 'c', 's', '["staff"]');
INSERT INTO own_channel (person, kind, address, p256dh, auth, label, made_at)
    VALUES ('ap', 'push', 'x', '', '', '', 1);
INSERT INTO staff_session VALUES (x'00', 'ap', 1, 2e9, '["staff"]', 'a@b.c');
INSERT INTO escalation_step (incident, seq, round, action, due_at, ring)
    SELECT id, 99, 1, 'tell', 2e9, '{"name":"nobody","people":[]}' FROM incident;
INSERT INTO outbox (incident, person, target, channel, reason, priority, notice, created_at,
    due_at, expires_at, status)
    SELECT id, 'ap', 'x', 'push', 'opened', 'high', json_object('incident', id,
    'reason', 'opened', 'kind', kind, 'room', room, 'floor', '', 'building', '', 'since', onset),
    1, 2e9, 3e9, 'due' FROM incident;
INSERT INTO threshold_adjustment (at, who, sensor, incident, verdict, reason, before, after)
    VALUES (1, 'ap', 'n2-boys-1', '', 'confirmed', '', 0, 0);
INSERT INTO sensor_test VALUES ('n2-boys-1', 1, 'n2-boys', 0, 'ap',
    '{"interval_s":null,"has_particles":false,"level_moved":false}');
"""


@pytest.mark.attack
@pytest.mark.parametrize(
    ("where", "value"),
    [(where, value) for where, found in DAMAGED_VALUES.items() for value in found],
)
async def test_a_damaged_value_of_a_row(filled, caplog, where, value):
    """The value is named and set aside; its incident stays, and a plume is detected."""
    config, _ = filled
    table, column = where.split(".")
    path = config.data_dir / "state.db"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executescript(ROWS)
        (incidents,) = db.execute("SELECT count(*) FROM incident").fetchone()
        assert incidents
        for (name,) in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (table,)
        ).fetchall():
            db.execute(f"DROP TRIGGER {name}")
        triggers = db.execute(TRIGGERS).fetchall()
        assert triggers
        value = f"CAST(x'{value.hex()}' AS TEXT)" if isinstance(value, bytes) else repr(value)
        value = "9e999" if value == "inf" else value
        assert db.execute(f"UPDATE {table} SET {column} = {value}").rowcount  # noqa: S608
    caplog.clear()
    for is_reported in (True, False):
        async with running(config) as service:
            await assert_works(service)
            assert (f'"damaged": "{where}"' in details_of_start(service)) is is_reported
            with state_database(service) as db:
                assert db.execute("SELECT count(*) FROM incident").fetchone()[0] == incidents
                (found,) = db.execute(
                    "SELECT count(*) FROM detector_snapshot WHERE name LIKE ? || ' %damaged'",
                    (where,),
                ).fetchone()
                assert found
                assert sorted(map(tuple, db.execute(TRIGGERS))) == sorted(triggers)
                for (incident,) in db.execute("SELECT id FROM incident").fetchall():
                    assert repository.load(db, incident)
                    assert load_incident(db, incident)
