"""Test that editing the configuration changes only the entry, and writes only valid files."""

import stat
import tomllib
from datetime import datetime

import pytest

from alerts.errors import ConfigFaultsError, ConfigFileError
from alerts.page.config_file import Edit
from plumewatch.config.editor import ConfigEditor

TEXT = """\
# the school
site = "Lincoln High"   # its name
timezone = "America/New_York"

[[room]]          # north
id = "a"
name = "Boys"     # as people say
building = "North"

[[sensor]]
id = "s1"
room = "a"
# the gym; [[room]] in a comment is none
[[room]]
id = "b"
name = '''Locker
[[room]]
room'''
building = "Gym"

[[staff]]
id = "lee"
name = "Ms. Lee"
[[staff.quiet_hours]]
start = "22:00"
end = "06:00"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


@pytest.fixture
def editor(file, tmp_path):
    return ConfigEditor(file, tmp_path / "history", lambda: None)


def save(editor, *edits):
    change = editor.prepare(editor.read().hash, edits)
    editor.commit(change)
    return change


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (
            Edit("room", 0, {"id": "a", "name": 'The "boys"', "building": "North"}),
            'name = "Boys"     # as people say',
            'name = "The \\"boys\\""     # as people say',
        ),
        (
            Edit("room", 1, {"id": "b", "name": "Locker", "building": "Gym"}),
            "name = '''Locker\n[[room]]\nroom'''",
            'name = "Locker"',
        ),
        (
            Edit("room", 0, {"id": "a", "name": "Boys", "building": "North", "floor": "2"}),
            'building = "North"\n',
            'building = "North"\nfloor = "2"\n',
        ),
        (
            Edit("staff", 0, {"id": "lee", "name": "Ms. Lee"}),
            '[[staff.quiet_hours]]\nstart = "22:00"\nend = "06:00"\n',
            "",
        ),
        (
            Edit("room", None, {"id": "c", "name": "Staff", "building": "Gym"}),
            'building = "Gym"\n',
            'building = "Gym"\n\n[[room]]\nid = "c"\nname = "Staff"\nbuilding = "Gym"\n',
        ),
        (
            Edit("holiday", None, {"name": "Fall", "first": datetime(2026, 10, 12).date()}),  # noqa: DTZ001
            'end = "06:00"\n',
            'end = "06:00"\n\n[[holiday]]\nname = "Fall"\nfirst = 2026-10-12\n',
        ),
    ],
)
def test_only_the_entry_changes(editor, file, edit, before, after):
    save(editor, edit)
    assert file.read_text() == TEXT.replace(before, after, 1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_an_entry_is_removed_and_its_neighbors_stay(editor, file):
    save(editor, Edit("room", 1, None))
    assert "Locker" not in file.read_text()
    assert "# the gym" in file.read_text()
    assert [r["id"] for r in tomllib.loads(file.read_text())["room"]] == ["a"]


def test_entries_in_one_array_are_changed_by_hand(editor, file):
    file.write_text('holiday = [{ name = "Fall", first = 2026-10-12 }]\n' + TEXT)
    with pytest.raises(ConfigFileError, match="change it in the file on the server"):
        save(editor, Edit("holiday", 0, None))


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (Edit("room", 0, {"id": "a", "name": "", "building": "North"}), "room.0.name"),
        (Edit("room", 0, None), "sensor.0.room"),
        (Edit("sensor", 0, {"id": "s1", "room": "nowhere"}), "sensor.0.room"),
        (Edit("staff", 0, {"id": "lee", "name": "x", "role": "king"}), "staff.0.role"),
        (Edit("staff", 0, {"id": "lee", "name": "x", "notify": [{"url_file": "no"}]}), "staff.0"),
    ],
)
def test_what_the_check_of_the_file_refuses_is_not_written(editor, file, edit, path):
    with pytest.raises(ConfigFaultsError) as error:
        save(editor, edit)
    assert error.value.faults[0].path.startswith(path)
    assert "[[" not in str(error.value.faults)
    assert file.read_text() == TEXT


def test_a_person_of_the_table_is_changed_in_its_line(editor, file, tmp_path):
    table = tmp_path / "people.csv"
    table.write_bytes('\ufeffID;Name\r\nkim;"Kim; aide"\r\n\r\npat;Pat\r\n'.encode())
    version = editor.read()
    index = [entry["id"] for entry in version.whole["staff"]].index("pat")
    new = {"id": "pat", "name": "Pat P.", "email": "pat@x.example"}
    change = editor.prepare(version.hash, [Edit("staff", index, new)])
    table.write_bytes(table.read_bytes() + b"lou;Lou\r\n")
    with pytest.raises(ConfigFileError, match="has changed since"):
        editor.commit(change)
    before = table.read_bytes()
    save(editor, Edit("staff", index, new))
    expected = before.replace(b"ID;Name\r", b"ID;Name;email\r").replace(
        b"pat;Pat\r", b"pat;Pat P.;pat@x.example\r"
    )
    assert table.read_bytes() == expected
    assert file.read_text() == TEXT
    assert [kept.read_bytes() for kept in (tmp_path / "history").iterdir()] == [before]
    with pytest.raises(ConfigFaultsError, match="email"):
        save(editor, Edit("staff", index, {**new, "email": "no address"}))


def test_a_file_that_changed_underneath_is_left_alone(editor, file):
    seen = editor.read().hash
    file.write_text(TEXT + "\n# somebody was here\n")
    with pytest.raises(ConfigFileError, match="has changed since you opened this page"):
        editor.prepare(seen, [Edit("room", 0, {})])
    change = editor.prepare(
        editor.read().hash, [Edit("staff", 0, {"id": "lee", "name": "Mr. Lee"})]
    )
    file.write_text(TEXT)
    with pytest.raises(ConfigFileError, match="has changed since"):
        editor.commit(change)
    assert file.read_text() == TEXT


def test_a_file_that_may_not_be_written_is_reported_first_and_refused(editor, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "permission to write" in editor.read().problem
    with pytest.raises(ConfigFileError, match="permission to write"):
        editor.prepare(editor.read().hash, [Edit("room", 0, {})])


def test_a_broken_file_is_not_touched(editor, file):
    file.write_text("[[room]")
    with pytest.raises(ConfigFileError, match="not valid TOML right now"):
        editor.read()


def test_a_link_to_the_file_stays_a_link(tmp_path):
    (tmp_path / "etc").mkdir()
    real = tmp_path / "etc/plumewatch.toml"
    real.write_text(TEXT)
    link = tmp_path / "plumewatch.toml"
    link.symlink_to(real)
    editor = ConfigEditor(link, tmp_path / "history", lambda: None)
    save(editor, Edit("room", 0, {"id": "a", "name": "X", "building": "North"}))
    assert link.is_symlink()
    assert 'name = "X"' in real.read_text()
