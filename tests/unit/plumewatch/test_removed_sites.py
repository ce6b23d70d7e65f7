"""A school leaves a district: all of it at once, back as long as its data last, then gone."""

import csv
import json
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alerts.access import api_tokens, kiosks, passwords
from alerts.access.api_tokens import Scope
from alerts.engine import AlertEngine
from alerts.incidents.incident import Status
from plumewatch.cli.main import app
from plumewatch.config.load import load
from plumewatch.config.settings import alert_policy
from plumewatch.removed_sites import SiteChange
from plumewatch.service.data_folder import prepare_state
from storage import audit, firmware
from storage.sqlite import connect, transaction
from tests.support.alert_records import change_incidents, incidents
from tests.support.two_schools import SCHOOL
from tests.unit.plumewatch.test_sites_config import of_file, write
from tests.unit.plumewatch.test_two_schools import AT, event

NOW = 1_796_000_000.0
YEAR = 366 * 86_400.0
DISTRICT = """
[[staff]]
id = "ad"
name = "Administrator"
role = "admin"
sites = ["*"]
[retention]
incident_days = 365
"""


class District:
    def __init__(self, folder, monkeypatch, more=""):
        files = {site: of_file(site) + more for site in ("north", "south")}
        self.now, self.path = NOW, write(folder, **files)
        self.path.write_text(self.path.read_text() + DISTRICT)
        self.data = folder / "plumewatch-data"
        self.data.mkdir()
        monkeypatch.setattr("time.time", lambda: self.now)
        self.both = frozenset({"North High", "South High"})
        with self.state() as db:
            prepare_state(db)
            with transaction(db) as tx:
                self.issue(tx)

    def issue(self, tx):
        config = load(self.path)
        engine = AlertEngine(config.registry(), alert_policy(config))
        engine.on_events(tx, [event("north-1"), event("south-1")], AT)
        change_incidents(tx, status=Status.RESOLVED)
        passwords.keep_hash(tx, "south-ap", "x", NOW)
        south = frozenset({"South High"})
        for person, sites in (("south-ap", None), ("ad", south), ("ad", self.both), ("ad", None)):
            api_tokens.make(
                tx, "t", person, [Scope.READ], by="ad", days=30, now=NOW - 9, sites=sites
            )
        kiosks.make(tx, "office", "ad", NOW, south)
        for sensor in ("north-1", "south-1"):
            firmware.note(tx, sensor, "1.0", NOW)

    def state(self):
        return closing(connect(self.data / "state.db"))

    def run(self, *words):
        return CliRunner().invoke(app, [*words, "--config", str(self.path)])

    def files(self):
        root = self.path.parent / "sites"
        return sorted(str(file.relative_to(root)) for file in root.rglob("*.toml"))

    def facts(self):
        """Return tokens and screens by their sites, people with passwords, and incidents."""
        with self.state() as db:
            tokens = [found.sites for found in api_tokens.listed(db)]
            screens = [found.sites for found in kiosks.listed(db)]
            hashed = passwords.password_hash(db, "south-ap")
            rooms = sorted(incidents(db, "room"))
            return tokens, screens, hashed, rooms, len(list(audit.entries(db)))


@pytest.fixture
def district(tmp_path, monkeypatch):
    return District(tmp_path, monkeypatch)


def test_a_school_is_removed_and_brought_back(district):
    before = load(district.path).registry()
    done = district.run("site", "remove", "south", "--json")
    assert json.loads(done.stdout) == {"site": "south", "sensors": 1, "people": ["south-ap"]}
    assert list(load(district.path).registry().sensors) == ["north-1"]
    tokens, screens, hashed, rooms, _ = district.facts()
    assert tokens == [frozenset({"North High"}), None]
    assert (screens, hashed) == ([], None)
    assert rooms == ["north-boys", "south-boys"]
    with district.state() as db:
        (entry,) = audit.entries(db)
        assert entry.kind == "site"
        assert json.loads(entry.detail)["what"] == "removed"
        assert not audit.verify(db).fault
    assert district.run("site", "remove", "south").exit_code == 2
    assert district.run("site", "remove", "south", "--undo").exit_code == 0
    assert load(district.path).registry() == before
    assert district.files() == ["north.toml", "south.toml"]
    assert district.facts()[0] == tokens
    assert "nothing to undo" in district.run("site", "remove", "south", "--undo").output


def test_a_removal_with_faults_names_all_and_changes_nothing(district):
    text = district.path.read_text()
    more = '[[staff]]\nid = "{0}"\nname = "{0}"\nsites = ["north", "south"]\n'
    district.path.write_text(text + more.format("counselor") + more.format("nurse"))
    before = district.facts()
    refused = district.run("site", "remove", "south")
    assert refused.exit_code == 2
    for person in ("counselor", "nurse"):
        assert f"[[staff]] {person}: sites: 'south'" in refused.output
    assert (district.facts(), district.files()) == (before, ["north.toml", "south.toml"])


def test_what_came_since_keeps_a_school_out_and_all_of_it_is_named(district):
    district.run("site", "remove", "south")
    north = district.path.parent / "sites" / "north.toml"
    north.write_text(
        north.read_text() + '[[sensor]]\nid = "south-1"\nroom = "north-boys"\n'
        '[[staff]]\nid = "south-ap"\nname = "S"\n'
    )
    before, files = district.facts(), district.files()
    refused = district.run("site", "remove", "south", "--undo")
    assert refused.exit_code == 2
    for fault in ("[[sensor]] south-1: id", "[[staff]] south-ap: id"):
        assert fault in refused.output
    assert (district.facts(), district.files()) == (before, files)


def test_a_disk_that_fails_leaves_everything(district, monkeypatch):
    before = district.facts()

    def fails(_path, _target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fails)
        assert district.run("site", "remove", "south").exit_code == 2
    assert (district.facts(), district.files()) == (before, ["north.toml", "south.toml"])


def test_a_database_that_cannot_commit_leaves_everything(district, monkeypatch):
    files = district.files()

    @contextmanager
    def full(connection):
        with transaction(connection) as tx:
            yield tx
            raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("storage.sqlite.transaction", full)
        assert district.run("site", "remove", "south").exit_code != 0
    assert district.files() == files
    district.run("site", "remove", "south")
    removed = district.files()
    with monkeypatch.context() as patched:
        patched.setattr("storage.sqlite.transaction", full)
        assert district.run("site", "remove", "south", "--undo").exit_code != 0
    assert district.files() == removed != files
    assert district.run("site", "remove", "south", "--undo").exit_code == 0


def test_data_expire_by_the_rules_and_then_the_school_is_gone(district):
    test = district.data / "commissioning" / "south-boys-20261101T120000Z"
    other = district.data / "commissioning" / "south-boys-gym-20261101T120000Z"
    for folder in (test, other):
        folder.mkdir(parents=True)
    district.run("site", "remove", "south")
    district.now += YEAR - 10 * 86_400
    assert json.loads(district.run("retention", "apply", "--json").stdout)["sites"] == []
    district.now += 10 * 86_400
    with district.state() as db, transaction(db) as tx:
        tx.execute(
            'INSERT INTO legal_hold (room, start, "end", reason, placed_by, placed_at)'
            " VALUES ('south-boys', 1, 2, 'request', 'me', 1)"
        )
    plan = [
        json.loads(row) for row in district.run("retention", "plan", "--json").stdout.splitlines()
    ]
    assert [(row["old"], row["held"]) for row in plan if row["name"] == "removed schools"] == [
        (0, "1 of 1")
    ]
    assert json.loads(district.run("retention", "apply", "--json").stdout)["sites"] == []
    assert district.run("retention", "release", "1").exit_code == 0
    assert json.loads(district.run("retention", "apply", "--json").stdout)["sites"] == ["south"]
    assert district.files() == ["north.toml"]
    assert district.facts()[3] == []
    assert [test.exists(), other.exists()] == [False, True]
    with district.state() as db:
        assert list(firmware.current(db)) == ["north-1"]
    assert district.run("site", "remove", "south", "--undo").exit_code == 2


def test_reports_of_the_district_have_the_incidents_of_a_removed_school(district):
    out = district.path.parent / "incidents.csv"
    district.run("site", "remove", "south")
    asked = ("--from", "2026-09-01", "--to", "2026-09-30", "--out", str(out))
    done = district.run("report", "incidents", *asked)
    assert done.exit_code == 0, done.output
    with out.open(newline="") as file:
        rows = {row["room_id"]: row["site"] for row in csv.DictReader(file)}
    assert rows == {"north-boys": "North High", "south-boys": ""}


def killed(district, *, committed):
    """Remove the school in a process that ends before or after its transaction is committed."""
    change = SiteChange(district.path, "south")
    with district.state() as db:
        db.execute("BEGIN IMMEDIATE")
        change.apply(db, "root", NOW)
        if committed:
            db.execute("COMMIT")


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("in_file", [True, False])
def test_a_removal_that_was_killed_is_named_by_the_check_and_comes_to_its_end(
    district, committed, in_file
):
    if not in_file:
        in_one_file(district)
    before = load(district.path).registry()
    killed(district, committed=committed)
    checked = district.run("check").output
    assert "site: south: its removal was interrupted" in checked
    assert "plumewatch site remove south" in checked
    done = district.run("site", "remove", "south", "--json")
    assert json.loads(done.stdout) == {"site": "south", "sensors": 1, "people": ["south-ap"]}
    assert len([name for name in district.files() if name.startswith("removed/")]) == 1
    tokens, screens, hashed, *_ = district.facts()
    assert (tokens, screens, hashed) == ([frozenset({"North High"}), None], [], None)
    assert "interrupted" not in district.run("check").output
    assert district.run("site", "remove", "south", "--undo").exit_code == 0
    assert load(district.path).registry() == before
    killed(district, committed=committed)
    assert district.run("site", "remove", "south", "--undo").exit_code == 0
    assert load(district.path).registry() == before
    assert "interrupted" not in district.run("check").output


def in_one_file(district):
    """Write both schools into the main file."""
    for file in (district.path.parent / "sites").glob("*.toml"):
        file.unlink()
    more = '[[site]]\nid = "{0}"\nname = "{1} High"\n'
    sites = "".join(more.format(name, name.title()) for name in ("north", "south"))
    text = f'district = "Lincoln"\ntimezone = "America/New_York"\n\n# the schools\n{sites}'
    text += SCHOOL.format("north") + "\n# theirs\n" + SCHOOL.format("south") + DISTRICT
    district.path.write_text(text)


def test_a_school_of_the_main_file_is_removed_and_comes_back_in_a_file_of_its_own(district):
    in_one_file(district)
    before = load(district.path).registry()
    assert district.run("site", "remove", "south").exit_code == 0
    assert list(load(district.path).registry().sensors) == ["north-1"]
    text = district.path.read_text()
    assert "south" not in text
    assert "# the schools" in text
    assert district.facts()[2] is None
    assert len(district.files()) == 1
    assert district.run("site", "remove", "south", "--undo").exit_code == 0
    assert load(district.path).registry() == before
    assert district.files() == ["south.toml"]
    assert district.path.read_text() == text


def test_a_removal_that_was_killed_before_it_cut_the_main_file_leaves_nothing_behind(
    district, monkeypatch
):
    in_one_file(district)
    before = load(district.path).registry()
    with monkeypatch.context() as patch:
        patch.setattr(SiteChange, "_replace_main", kill)
        patch.setattr(SiteChange, "revert", lambda _: None)
        assert isinstance(district.run("site", "remove", "south").exception, KilledError)
    assert load(district.path).registry() == before
    district.now += 60.0
    assert district.run("site", "remove", "south").exit_code == 0
    assert "interrupted" not in district.run("check").output
    assert district.run("site", "remove", "south").exit_code == 2  # not once more
    assert district.run("site", "remove", "south", "--undo").exit_code == 0
    assert load(district.path).registry() == before


def test_nobody_else_can_read_a_private_main_file_while_it_is_written(district, monkeypatch):
    in_one_file(district)
    district.path.chmod(0o600)
    chmod, modes = Path.chmod, []

    def note(path, mode):
        if path.name.startswith(".plumewatch.toml"):
            modes.append(oct(path.stat().st_mode & 0o777))
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", note)
    assert district.run("site", "remove", "south").exit_code == 0
    assert modes == ["0o600"]


class KilledError(Exception):
    """The process ends here."""


def kill(*_):
    raise KilledError


def test_entries_that_name_a_school_of_the_main_file_are_reported_and_nothing_changes(district):
    in_one_file(district)
    text = district.path.read_text()
    text += '[[staff]]\nid = "nurse"\nname = "Nurse"\nsites = ["north", "south"]\n'
    district.path.write_text(text)
    refused = district.run("site", "remove", "south")
    assert refused.exit_code == 2
    assert "[[staff]] nurse: sites: 'south'" in refused.output
    assert (district.path.read_text(), district.files()) == (text, [])


def test_a_school_of_the_main_file_that_cannot_be_cut_out_says_what_to_do(district):
    in_one_file(district)
    text = district.path.read_text().replace("[[site]]\nid", "[[sites_]]\nid")
    head = 'site = [{ id = "north", name = "North High" }, { id = "south", name = "South High" }]\n'
    start, end = text.index("# the schools"), text.index("[[room]]")
    district.path.write_text(head + text[:start] + text[end:])
    refused = district.run("site", "remove", "south")
    assert refused.exit_code == 2
    assert f"move them into {district.path.parent}" in refused.output
    assert district.files() == []


def test_a_school_that_is_not_there_says_which_are_or_where_it_is(district):
    refused = district.run("site", "remove", "west").output
    assert "no site 'west'" in refused
    assert "north, south" in refused
    district.run("site", "remove", "south")
    again = district.run("site", "remove", "south").output
    assert "was removed" in again
    assert "--undo" in again
