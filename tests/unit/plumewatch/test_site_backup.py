"""One school is backed up, and comes back into a district that went on without it."""

import asyncio
import json
import time
from contextlib import closing

import pyotp
import pytest

from alerts.access import passwords, second_factor
from alerts.incidents.incident import Status
from detection.events import EventKind
from plumewatch.config.load import load
from storage import audit
from storage.journal import Journal
from storage.reading import Reading
from storage.sqlite import connect, transaction
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries
from tests.support import alert_records as stored
from tests.support.broker import free_port
from tests.support.command import plumewatch
from tests.support.in_process import running, store, until
from tests.support.plumes import readings_of_puff
from tests.unit.plumewatch.test_removed_sites import NOW, YEAR, District, in_one_file
from tests.unit.plumewatch.test_sites_config import of_file, write

OF_INCIDENTS = (stored.history, stored.notices, stored.steps, stored.events)


@pytest.fixture
def district(tmp_path, monkeypatch):
    monkeypatch.setenv("ADDRESS", "json://127.0.0.1:9/x")
    made = District(tmp_path, monkeypatch, more='notify = [{ url_env = "ADDRESS" }]\n')
    with made.state() as db, transaction(db) as tx:
        stored.change_incidents(tx, *of_rooms(tx, "south-boys"), status=Status.NOTIFIED)
    with Journal(made.data / "journal.db"), series(made) as opened:
        opened.add(
            [
                Reading(sensor, NOW - k, NOW - k, {"pm25": 5.0 + k})
                for sensor in ("north-1", "south-1")
                for k in range(100)
            ]
        )
    return made


def series(district):
    return SqliteSeries(district.data / "series.db", Retention(3650, 3650, 3650))


def readings(district, sensor):
    with series(district) as opened:
        return len(opened.window(sensor, NOW - 200, NOW + 1)[0])


def content(district):
    """Return all rows of the state database by table, but those of the audit log."""
    with district.state() as db:
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: sorted(map(repr, map(tuple, db.execute(f"SELECT * FROM {name}"))))  # noqa: S608 - names of ours
            for (name,) in tables
            if name not in ("audit", "sqlite_sequence")
        }


def of_rooms(db, room):
    return stored.incidents(db, "id", room=room)


def of_room(district, room):
    """Return the status of the incident of a room, and how much is recorded of it."""
    with district.state() as db:
        (one,) = stored.incidents(db, room=room)
        return one.status, [len(read(db, incident=one.id)) for read in OF_INCIDENTS]


def back_up(district, name=""):
    target = district.path.parent / "backups" / name
    done = district.run("backup", str(target), "--site", "south")
    assert done.exit_code == 0, done.output
    (made,) = (district.path.parent / "backups").iterdir()
    return made


def restore(district, folder):
    done = district.run("restore", str(folder), "--site", "south", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    return said["incidents"], said["present"], said["readings"]


def expire(district):
    """Remove the school, and let its data expire, but not those of the other."""
    district.run("site", "remove", "south")
    district.now += YEAR
    with district.state() as db, transaction(db) as tx:
        stored.change_incidents(tx, status=Status.RESOLVED)
        stored.change_incidents(tx, *of_rooms(tx, "north-boys"), opened_at=district.now)
    assert district.run("retention", "apply").exit_code == 0
    with series(district) as opened:
        opened.query(
            lambda db: db.execute(
                "DELETE FROM reading WHERE sensor = (SELECT id FROM sensor WHERE name = 'south-1')"
            )
        )


@pytest.mark.parametrize("name", ["", "south.tar.gz"])
def test_a_school_comes_back_and_the_others_notice_nothing(district, name):
    before, registry = of_room(district, "south-boys"), load(district.path).registry()
    assert before[0] == "notified"
    assert all(before[1]), before
    folder = back_up(district, name)
    if not name:
        assert not any(b"north" in path.read_bytes() for path in folder.iterdir())
    expire(district)
    others = content(district)
    assert (len(others["incident"]), readings(district, "south-1")) == (1, 0)
    assert restore(district, folder) == (1, 0, 100)
    assert load(district.path).registry() == registry
    assert of_room(district, "south-boys") == ("resolved", before[1])
    after = content(district)
    for table, rows in others.items():
        assert set(rows) <= set(after[table]), table
    new = {table: set(rows) - set(others[table]) for table, rows in after.items()}
    assert new["change_feed"]
    assert all("'changed'" in row for row in new["change_feed"])
    assert not any("'due'" in row or "'leased'" in row for row in new["outbox"])
    with district.state() as db:
        assert not audit.verify(db).fault
        assert next(audit.entries(db)).kind == "site"
    assert (readings(district, "north-1"), readings(district, "south-1")) == (100, 100)
    assert restore(district, folder) == (0, 1, 0)
    assert content(district) == after


def test_who_had_a_second_factor_comes_back_with_it(district):
    secret = second_factor.new_secret()
    with district.state() as db, transaction(db) as tx:
        code = pyotp.TOTP(secret).at(NOW)
        codes = second_factor.confirm(tx, "south-ap", secret, code, NOW)
    folder = back_up(district)
    expire(district)
    restore(district, folder)
    with district.state() as db, transaction(db) as tx:
        assert "south-ap" in passwords.with_password(tx)
        assert second_factor.passes(tx, "south-ap", codes[0], NOW) == "recovery"
        later = pyotp.TOTP(secret).at(NOW + 60)
        assert second_factor.passes(tx, "south-ap", later, NOW + 60) == "code"
        second_factor.remove(tx, "south-ap")
    restore(district, folder)  # who is here with a password is left as they are
    with district.state() as db:
        assert second_factor.everybody(db) == {}


def test_all_that_conflicts_is_named_and_nothing_is_changed(district):
    folder = back_up(district)
    with district.state() as db:
        (taken,) = of_rooms(db, "south-boys")
    expire(district)
    north = district.path.parent / "sites" / "north.toml"
    kept = north.read_text()
    north.write_text(
        f'{kept}[[sensor]]\nid = "south-1"\nroom = "north-boys"\n'
        '[[staff]]\nid = "south-ap"\nname = "A"\n'
    )
    before = content(district)
    refused = district.run("restore", str(folder), "--site", "south")
    assert refused.exit_code == 2
    for fault in ("[[sensor]] south-1: id", "[[staff]] south-ap: id"):
        assert fault in refused.output
    assert (content(district), district.files()) == (before, ["north.toml"])
    north.write_text(
        f'{kept}[[sensor]]\nid = "south-1"\nroom = "south-boys"\n'
        '[[room]]\nid = "south-boys"\nname = "B"\nbuilding = "M"\n'
    )
    south = of_file("south").replace("south-boys", "south-new").replace("south-1", "south-9")
    (district.path.parent / "sites" / "south.toml").write_text(south)
    with district.state() as db, transaction(db) as tx:  # numbered as one of the school
        stored.add_incident(tx, id=taken, kind=EventKind.SMOKE, room="north-boys", onset=NOW)
    before = content(district)
    refused = district.run("restore", str(folder), "--site", "south")
    assert refused.exit_code == 1
    for fault in (
        "room south-boys is of North High",
        "sensor south-1 is of North High",
        f"incident {taken} is another one, in room north-boys",
    ):
        assert fault in refused.output
    assert content(district) == before
    assert readings(district, "south-1") == 0


def test_a_restore_says_what_it_wrote_and_what_to_do_next(district):
    folder = back_up(district)
    district.run("site", "remove", "south")
    said = district.run("restore", str(folder), "--site", "south").output
    root, file = load(district.path).data_dir, district.path.parent / "sites" / "south.toml"
    assert f"restored South High into {root}: 0 incidents and 0 readings; 1 incidents" in said
    assert f"wrote {file}" in said
    last = said.splitlines()[-1]
    assert last.startswith(f"next: `plumewatch check --config {district.path}`, then restart")


@pytest.mark.parametrize("kind", ["school", "district"])
def test_a_backup_is_restored_as_what_it_is(district, kind):
    if kind == "school":
        folder, words = back_up(district), ()
    else:
        assert district.run("backup", str(district.path.parent / "backups")).exit_code == 0
        (folder,) = (district.path.parent / "backups").iterdir()
        words = ("--site", "south")
    assert district.run("restore", str(folder), "--verify").exit_code == 0
    before = content(district)
    refused = district.run("restore", str(folder), "--force", *words)
    assert refused.exit_code == 1
    assert "nothing was changed" in refused.output
    assert content(district) == before


def test_a_school_of_the_main_file_comes_back_in_a_file_of_its_own(district):
    in_one_file(district)
    before = load(district.path).registry()
    folder = back_up(district)
    refused = district.run("restore", str(folder), "--site", "north").output
    assert "is of the school south: give --site south; nothing was changed" in refused
    district.run("site", "remove", "south")
    restore(district, folder)
    assert load(district.path).registry() == before
    assert "south.toml" in district.files()


def test_a_damaged_backup_of_a_school_is_found(district):
    folder = back_up(district)
    damaged = bytearray((folder / "state.db").read_bytes())
    damaged[5000] ^= 1
    (folder / "state.db").write_bytes(damaged)
    before = content(district)
    assert district.run("restore", str(folder), "--site", "south").exit_code == 1
    assert content(district) == before
    assert district.run("backup", str(folder.parent), "--site", "west").exit_code == 2


@pytest.mark.parametrize("wrong", [{"id": "../south"}, {"rooms": "south-boys"}, {"more": 1}])
def test_a_manifest_that_names_no_school_is_refused(district, wrong):
    folder = back_up(district)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["site"] |= wrong
    del manifest["sha256"]  # as of an earlier version
    (folder / "manifest.json").write_text(json.dumps(manifest))
    before = content(district)
    site = manifest["site"]["id"]
    assert district.run("restore", str(folder), "--site", site).exit_code != 0
    assert content(district) == before


async def test_a_school_comes_back_while_the_service_runs(tmp_path):
    path = write(tmp_path, north=of_file("north"), south=of_file("south"))
    path.write_text(
        f"{path.read_text()}[broker]\nport = {free_port()}\n[web]\nport = {free_port()}\n"
    )
    start = time.time() - 300
    puffs = [*readings_of_puff("north-1", start=start), *readings_of_puff("south-1", start=start)]
    async with running(load(path)) as service:
        await store(service, puffs)
        await until(lambda: service.writers.readings.state.stored == len(puffs))
        await until(lambda: service.detection.position == len(puffs))
    words = ("--site", "south", "--config", path)
    assert plumewatch("backup", tmp_path / "b", *words).code == 0
    (folder,) = (tmp_path / "b").iterdir()
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other", north=of_file("north"))
    other.write_text(path.read_text())
    async with running(load(other)) as service:
        words = ("restore", folder, "--site", "south", "--config", other, "--json")
        done = await asyncio.to_thread(plumewatch, *words)
        assert done.code == 0, done.err
        assert done.objects[-1]["incidents"] == 1
        assert done.objects[-1]["readings"] == len(puffs) / 2
        await store(service, readings_of_puff("north-1", start=start))
        await until(lambda: service.writers.readings.state.stored == len(puffs) / 2)
        with closing(connect(load(other).data_dir / "state.db", read_only=True)) as db:
            assert ("south-boys", "resolved") in stored.incidents(db, "room", "status")
    assert "south-1" in load(other).registry().sensors
