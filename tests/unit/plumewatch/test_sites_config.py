"""Several schools in one configuration: entries, a folder of files, and every fault of both."""

import tomllib
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from plumewatch.cli.main import app
from plumewatch.config.faults import ConfigError
from plumewatch.config.ingest_settings import intake_config
from plumewatch.config.load import load, parse
from plumewatch.config.model import PlumewatchConfig
from plumewatch.config.report_settings import school_of
from plumewatch.config.settings import alert_policy

COMMON = """
district = "Lincoln Schools"
timezone = "America/New_York"
[[site]]
id = "north"
name = "North High"
[[site]]
id = "south"
name = "South High"
timezone = "America/Denver"
"""
SCHOOL = """
[[room]]
id = "{0}-boys"
name = "Boys"
building = "Main"
floor = "2"
site = "{0}"
[[sensor]]
id = "{0}-1"
room = "{0}-boys"
[[staff]]
id = "{0}-ap"
name = "Assistant principal"
sites = ["{0}"]
"""
BELLS = """
[[bells]]
id = "usual"
days = ["mon", "tue", "wed"]
periods = [{ name = "1", start = "08:00", end = "09:00" }]
[[bells]]
id = "south"
days = ["mon", "tue", "wed"]
site = "south"
periods = [{ name = "1", start = "10:00", end = "11:00" }]
[[holiday]]
name = "all"
first = 2026-09-07
[[holiday]]
name = "south"
first = 2026-09-08
site = "south"
[[shift]]
id = "hall"
receiver = "staff"
people = ["south-ap"]
periods = ["*"]
site = "south"
[[shift]]
id = "north hall"
receiver = "staff"
people = ["north-ap"]
periods = ["*"]
site = "north"
"""
TWO = COMMON + SCHOOL.format("north") + SCHOOL.format("south")


def read(text):
    return parse(tomllib.loads(text.replace("north hall", "north-hall")), base=None)


def faults_of(text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value).splitlines()


def test_rooms_name_their_site_and_have_its_time_zone():
    registry = read(TWO).registry()
    assert [room.full_name for room in registry.rooms.values()] == [
        "Boys, floor 2, Main, North High",
        "Boys, floor 2, Main, South High",
    ]
    assert [r.zone for r in registry.rooms.values()] == ["America/New_York", "America/Denver"]
    assert [site.id for site in registry.sites.values()] == ["north", "south"]


def test_a_sensor_prints_the_time_of_its_site_however_its_id_is_written():
    text = TWO.replace("south-1", "00:0F:e5:01")
    assert text != TWO
    context = intake_config(read(text), dedupe_window=10).context
    for name in ("00:0F:E5:01", "000fe501"):
        assert str(context.zone_of(name)) == "America/Denver"
    assert str(context.zone_of("north-1")) == "America/New_York"


def test_one_site_is_never_named():
    one = 'site = "North High"\ntimezone = "UTC"' + SCHOOL.format("north")
    one = one.replace('site = "north"\n', "").replace('sites = ["north"]\n', "")
    (room,) = read(one).registry().rooms.values()
    assert (room.full_name, room.site, room.zone) == ("Boys, floor 2, Main", "North High", "UTC")


def test_a_site_alone_needs_no_site_in_its_entries():
    text = TWO[: TWO.index('[[site]]\nid = "south"')] + SCHOOL.format("north")
    text = text.replace('site = "north"\n', "").replace('sites = ["north"]\n', "")
    (room,) = read(text).registry().rooms.values()
    assert (room.site, room.full_name) == ("North High", "Boys, floor 2, Main")


def test_bells_holidays_and_shifts_are_those_of_the_site():
    roster = read(TWO + BELLS).roster()
    assert {site: [b.id for b in t.bells] for site, t in roster.timetables.items()} == {
        "North High": ["usual"],
        "South High": ["south"],
    }
    assert [len(t.holidays) for t in roster.timetables.values()] == [1, 2]
    at = datetime(2026, 9, 9, 16, 30, tzinfo=UTC)  # 10:30 in Denver, 12:30 in New York
    assert [one.person for one in roster.on_duty("staff", at)] == ["south-ap"]


def test_devices_print_the_time_of_their_school():
    context = intake_config(read(TWO), dedupe_window=1).context
    zones = [str(context.zone_of(name)) for name in ("north-1", "south-1", "unregistered")]
    assert zones == ["America/New_York", "America/Denver", "America/New_York"]


def test_nobody_is_notified_of_another_site():
    policy = alert_policy(read(TWO))
    for site in ("north", "south"):
        labels = {"site": f"{site.title()} High", "building": "Main", "kind": "vape"}
        (ring,) = policy.rings(labels, 0.0)
        assert [c.person for c in ring.people] == [f"{site}-ap"]


def test_the_children_of_the_service_read_the_same_sites():
    config = read(TWO)
    again = PlumewatchConfig.model_validate_json(config.model_dump_json(by_alias=True))
    assert again.registry() == config.registry()


def test_a_report_of_one_site_has_its_days():
    school = school_of(read(TWO + BELLS), "south")
    assert str(school.zone) == "America/Denver"
    assert len(school.holidays) == 2


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (('sites = ["south"]\n', ""), "[[staff]] south-ap: sites: missing"),
        (('sites = ["south"]', 'sites = ["sout"]'), "[[staff]] south-ap: sites: 'sout'"),
        (('timezone = "America/New_York"\n', ""), "timezone: missing"),
        (('name = "South High"', 'name = "north high"'), "[[site]] south: name: 'north high'"),
        (('id = "south"', 'id = "north"'), "[[site]] north: id: 'north': must be unique"),
        (('floor = "2"\nsite = "south"', ""), "[[room]] south-boys: site: missing"),
        (('floor = "2"\nsite = "south"', 'site = "x"'), "[[room]] south-boys: site: 'x'"),
        (('district = "Lincoln Schools"\n', ""), "district: missing"),
        (
            ('name = "Assistant principal"\nsites = ["south"]', 'name = "A"\nsites = ["north"]'),
            "[[site]] south: id: 'south': must be in sites of a [[staff]]",
        ),
    ],
)
def test_what_is_wrong_with_sites(change, fault):
    assert change[0] in TWO
    before, _, after = TWO.rpartition(change[0])
    assert any(line.startswith(fault) for line in faults_of(before + change[1] + after))


def test_entries_of_a_site_need_a_site():
    one = 'site = "North High"\ntimezone = "UTC"' + SCHOOL.format("north")
    assert faults_of(one)[0].startswith("[[staff]] north-ap: sites: 'north': must be the id of")


def write(folder, **files):
    (folder / "sites").mkdir()
    (folder / "plumewatch.toml").write_text('site = "Lincoln"\ntimezone = "America/New_York"\n')
    for name, text in files.items():
        (folder / "sites" / f"{name}.toml").write_text(text)
    return folder / "plumewatch.toml"


def of_file(site):
    text = SCHOOL.format(site).replace(f'site = "{site}"\n', "")
    return f'name = "{site.title()} High"\n' + text.replace(f'sites = ["{site}"]\n', "")


def test_a_folder_of_sites_means_the_same_as_entries(tmp_path):
    south = of_file("south").replace("[[room]]", 'timezone = "America/Denver"\n[[room]]', 1)
    config = load(write(tmp_path, north=of_file("north"), south=south))
    assert config.registry() == read(TWO).registry()
    assert [person.sites for person in config.staff] == [["north"], ["south"]]


def test_faults_name_the_file_of_the_site_all_at_once(tmp_path):
    wrong = of_file("south").replace("south-1", "north-1").replace('building = "Main"\n', "")
    path = write(
        tmp_path,
        north=of_file("north"),
        south=wrong + '[broker]\nhost = "x"\n',
        west='name = "West"\ntimezone = "Mars"\n',
        bad="name = ",
    )
    with pytest.raises(ConfigError) as caught:
        load(path)
    found = "\n".join(str(caught.value).splitlines())
    for fault in (
        "sites/bad.toml: Invalid value",
        "sites/south.toml: broker: no key of a site",
        "sites/south.toml: [[room]] south-boys: building: missing",
        "sites/south.toml: [[sensor]] north-1: id: 'north-1': must be unique",
        "but is also sensor.0.id of sites/north.toml",
        "sites/west.toml: timezone: 'Mars'",
    ):
        assert fault in found


def test_an_entry_of_a_file_is_of_no_other_site(tmp_path):
    text = of_file("south").replace('floor = "2"', 'floor = "2"\nsite = "north"')
    with pytest.raises(ConfigError, match=r"sites/south.toml: \[\[room\]\] south-boys: site"):
        load(write(tmp_path, north=of_file("north"), south=text))


CSV = """sensor,building,floor,room,model,interval_s,aliases
west-1,Main,1,Boys,sen55,2,old-1 old-2
west-2,Main,1,Boys,sen55,,
west-3,Main,2,Girls,,,
"""


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def test_a_school_is_added_with_its_sensors_and_exported_again(tmp_path):
    path = write(tmp_path, north=of_file("north"), south=of_file("south"))
    (tmp_path / "west.csv").write_text(CSV)
    made = run(
        *("site", "add", "west", "--name", "West High", "--sensors", tmp_path / "west.csv"),
        *("--staff", "Assistant principal", "--config", path),
    )
    assert made.exit_code == 0, made.output
    registry = load(path).registry()
    assert {registry.room_of(f"west-{k}").full_name for k in (1, 2, 3)} == {
        "Boys, floor 1, Main, West High",
        "Girls, floor 2, Main, West High",
    }
    out = tmp_path / "out.csv"
    assert run("site", "export", "--site", "west", "--out", out, "--config", path).exit_code == 0
    assert out.read_text().splitlines()[1] == "west,west-1,Main,1,Boys,restroom,sen55,2,old-1 old-2"
    before = (tmp_path / "sites" / "west.toml").read_text()
    (tmp_path / "sites" / "west.toml").unlink()
    again = ("site", "add", "west", "--name", "West High", "--staff", "Assistant principal")
    assert run(*again, "--sensors", out, "--config", path).exit_code == 0
    assert tomllib.loads((tmp_path / "sites" / "west.toml").read_text())["sensor"] == (
        [{**s, "interval_s": s.get("interval_s", 5.0)} for s in tomllib.loads(before)["sensor"]]
    )


def test_a_csv_with_faults_changes_nothing_and_names_all(tmp_path):
    path = write(tmp_path, north=of_file("north"), south=of_file("south"))
    wrong = CSV.replace("west-2", "west-1").replace("west-3", "north-1").replace("Girls", "")
    (tmp_path / "west.csv").write_text(wrong)
    made = run(
        *("site", "add", "west", "--name", "north high", "--sensors", tmp_path / "west.csv"),
        *("--config", path),
    )
    assert made.exit_code == 2
    for fault in (
        "west.csv: line 3: sensor: 'west-1': must be unique, but is also in line 2",
        "west.csv: line 4: room: missing",
        "[[sensor]] north-1: id: 'north-1': must be unique",
        "sites/west.toml: name: 'north high': must be unique",
    ):
        assert fault in made.output
    assert not (tmp_path / "sites" / "west.toml").exists()
