"""Several schools in one configuration: entries, a folder of files, and every fault of both."""

import shlex
import tomllib
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from plumewatch.cli.main import app
from plumewatch.config.faults import ConfigError
from plumewatch.config.ingest_settings import intake_config
from plumewatch.config.load import load, parse
from plumewatch.config.model import PlumewatchConfig
from plumewatch.config.settings import alert_policy, school_of
from tests.support.two_schools import SCHOOL, TWO

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


ONE = f'site = "North High"\ntimezone = "UTC"{SCHOOL.format("north")}'.replace(
    'site = "north"\n', ""
).replace('sites = ["north"]\n', "")


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


def test_figures_of_all_schools_count_each_by_its_own_days():
    config = read(TWO + BELLS)
    school, shifts = school_of(config), config.roster().shifts
    monday, wednesday = (datetime(2026, 9, day, 17, tzinfo=UTC).timestamp() for day in (7, 9))
    tuesday = (monday + wednesday) / 2
    taught = {
        room: [school.has_school(at, room) for at in (monday, tuesday, wednesday)]
        for room in ("north-boys", "south-boys", "unknown")
    }
    assert taught == {
        "north-boys": [False, True, True],
        "south-boys": [False, False, True],
        "unknown": [False, True, True],
    }
    spans = [*school.duty(shifts, monday - 86_400, wednesday + 86_400)]
    on = {(span.person, datetime.fromtimestamp(span.start, UTC).day) for span in spans}
    assert on == {("north-ap", 8), ("north-ap", 9), ("south-ap", 9)}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (('sites = ["south"]\n', ""), "[[staff]] south-ap: sites: missing"),
        (('sites = ["south"]', 'sites = ["sout"]'), "[[staff]] south-ap: sites: 'sout'"),
        (('timezone = "America/New_York"\n', ""), "timezone: missing"),
        (('name = "South High"', 'name = "north high"'), "[[site]] south: name: 'north high' is"),
        (
            ('name = "South High"', 'name = "North  High "'),
            "[[site]] south: name: 'North  High",
        ),
        (('id = "south"', 'id = ".."'), "[[site]] ..: id: '..': must be letters, digits"),
        (('id = "south"', 'id = "north"'), "[[site]] north: id: 'north' is already used by"),
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
        "sites/south.toml: [[sensor]] north-1: id: 'north-1' is already used by",
        "is already used by sites/north.toml: [[sensor]] number 1: id",
        "sites/west.toml: timezone: 'Mars'",
    ):
        assert fault in found


CSV = """sensor,building,floor,room,model,interval_s,aliases
west-1,Main,1,Boys,sen55,2,old-1 old-2
west-2,Main,1,Boys,sen55,,
west-3,Main,2,Girls,,,
"""


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def test_a_school_is_added_with_its_sensors(tmp_path):
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


DISTRICT = """district = "Lincoln Schools"
timezone = "America/New_York"
[[staff]]
id = "tech"
name = "Technology director"
role = "admin"
sites = ["*"]
"""


@pytest.mark.parametrize("site", ["..", ".west", "../west", "a/west", "west ", ""])
def test_the_id_of_a_school_is_the_name_of_a_file_in_its_folder(tmp_path, site):
    folder = tmp_path / "district"
    folder.mkdir()
    path = write(folder, north=of_file("north"), south=of_file("south"))
    (folder / "west.toml").write_text("")
    (tmp_path / "west.csv").write_text(CSV)
    before = sorted(tmp_path.rglob("*.toml"))
    added = ("--name", "West High", "--sensors", tmp_path / "west.csv")
    made = run("site", "add", site, *added, "--config", path)
    assert (made.exit_code, made.output.count("\n")) == (2, 1)
    assert made.output.startswith(f"id of the school: {site!r}: must be letters, digits")
    assert sorted(tmp_path.rglob("*.toml")) == before


@pytest.mark.parametrize("text", [DISTRICT, DISTRICT.replace("district =", "site =")])
def test_a_district_without_a_school_says_so_and_what_to_do_next(tmp_path, text):
    path = tmp_path / "plumewatch.toml"
    path.write_text(text)
    checked = run("check", "--config", path)
    assert checked.exit_code == 2
    assert checked.output == (
        "FAULT schools: the district has no school yet\n"
        "      do: add the first with its rooms and sensors:"
        " `plumewatch site add ID --name NAME --sensors FILE.csv`\n"
    )


def test_the_first_school_without_sensors_is_refused_with_the_command_that_works(tmp_path):
    path = tmp_path / "district.toml"
    path.write_text(DISTRICT)
    words = ("site", "add", "north", "--name", "North High")
    made = run(*words, "--config", path)
    assert made.exit_code == 2
    assert "--sensors: missing: no school has rooms and sensors yet" in made.output
    command = shlex.join(("plumewatch", *words, "--sensors", "north.csv", "--config", str(path)))
    assert made.output.splitlines()[-1] == f"  {command}"
    (tmp_path / "north.csv").write_text("sensor,room\nn-1,Boys\n")
    assert run(*words, "--config", path, "--sensors", tmp_path / "north.csv").exit_code == 0
    assert run("site", "add", "east", "--name", "East", "--config", path).exit_code == 0


def test_a_csv_with_faults_changes_nothing_and_names_all(tmp_path):
    path = write(tmp_path, north=of_file("north"), south=of_file("south"))
    lines = [f"west-{k},Main,1,Room {k // 3},,5,," for k in range(300)]
    wrong = {
        5: "west-2,Main,1,Room 1,,,,",
        10: "bad id!,Main,1,Room 3,,,,",
        20: "west-20,Main,1,,,,,",
        30: "west-30,Main,1,Room 10,,fast,,",
        40: "west-40,Main,1,Room 13,,,west-1,",
        50: "north-1,Main,1,Room 16,,,,",
        60: "west-60,Main,1,Room 20,,,,south",
        70: "west-70,Main,1,Room 23,,,,,more",
        80: f"west-80,{'B' * 99},1,Room 26,,,,",
    }
    lines = [wrong.get(k, line) for k, line in enumerate(lines)]
    header = "sensor,building,floor,room,model,interval_s,aliases,site"
    (tmp_path / "west.csv").write_text("\n".join([header, "", *lines]))
    words = ("--name", "north high", "--sensors", tmp_path / "west.csv", "--config", path)
    made = run("site", "add", "west", *words)
    assert made.exit_code == 2
    for line, fault in {
        8: ", id: 'west-2' is already used by west.csv: line 5, id",
        13: ", id: 'bad id!': must be letters, digits",
        23: ": room: missing: must be given",
        33: ", interval_s: 'fast' is not a number",
        43: ", aliases number 1: 'west-1': must not be the id or alias",
        53: ", id: 'north-1' is already used by sites/north.toml: [[sensor]] number 1: id",
        63: ": site: 'south': must be 'west', or left out",
        73: ": too many cells: as in line 1",
        83: ", building: ",
    }.items():
        assert f"west.csv: line {line}{fault}" in made.output
    assert "sites/west.toml: name: 'north high' is already used by north" in made.output
    (tmp_path / "west.csv").write_text("sensr,romm\nwest-1,Boys\n")
    made = run("site", "add", "west", *words)
    assert "west.csv: line 1: sensor: missing: columns: site, sensor" in made.output
    assert "west.csv: line 1: room: missing" in made.output
    assert not (tmp_path / "sites" / "west.toml").exists()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"sensor,room,interval\nw-1,Boys,60\n", "line 1: 'interval': unknown: columns: site"),
        (b"sensor,room\n", "west.csv: no line after the first: must have lines below it"),
        (b"sensor,room\nw-1,Boys\nw-2,Ni\xf1os\n", "west.csv: line 3 is not UTF-8; save"),
        (b'sensor,room\nw-1,"' + b"x" * 200_000, "west.csv: line 2: field larger than"),
        (None, "west.csv: No such file or directory"),
    ],
)
def test_a_table_that_cannot_be_read_says_where_and_what_to_do(tmp_path, content, fault):
    path = write(tmp_path, north=of_file("north"), south=of_file("south"))
    if content is not None:
        (tmp_path / "west.csv").write_bytes(content)
    words = ("--name", "West", "--sensors", tmp_path / "west.csv", "--config", path)
    made = run("site", "add", "west", *words)
    assert made.exit_code == 2
    assert fault in made.output
    assert not (tmp_path / "sites" / "west.toml").exists()


def test_a_table_as_spreadsheets_save_it_is_read(tmp_path):
    path = write(tmp_path, north=of_file("north"), south=of_file("south"))
    text = "\ufeffSensor;Building;Floor; Room;Interval_s\nw-1;Main;1;Boys;60\n"
    (tmp_path / "west.csv").write_text(text)
    words = ("--sensors", tmp_path / "west.csv", "--staff", "AP", "--config", path)
    made = run("site", "add", "west", "--name", "West", *words)
    assert made.exit_code == 0, made.output
    (sensor,) = (one for one in load(path).sensor if one.id == "w-1")
    assert sensor.interval_s == 60.0


def test_the_rooms_of_one_school_do_not_become_those_of_the_next(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(ONE)
    made = run("site", "add", "west", "--name", "West", "--staff", "AP", "--config", path)
    assert made.exit_code == 2
    assert "has rooms of North High, which would become rooms of West" in made.output
    assert not (tmp_path / "sites").exists()


def test_forty_schools_from_two_csvs(tmp_path):
    config = tmp_path / "plumewatch.toml"
    config.write_text(DISTRICT)
    schools = [f"s{k:02},School {k},{'America/Denver' if k == 7 else ''}" for k in range(40)]
    sensors = [f"s{k // 8:02},s{k // 8:02}-{k},Main,{k % 3},Room {k}" for k in range(320)]
    (tmp_path / "schools.csv").write_text("\n".join(["site,name,timezone", *schools]))
    (tmp_path / "sensors.csv").write_text("\n".join(["site,sensor,building,floor,room", *sensors]))
    words = ("site", "import", tmp_path / "schools.csv", tmp_path / "sensors.csv")
    made = run(*words, "--config", config)
    assert made.exit_code == 0, made.output
    assert "wrote 40 schools: 320 rooms, 320 sensors" in made.output
    found = load(config)
    assert (len(found.sites), len(found.sensor)) == (40, 320)
    assert str(found.zone("s07")) == "America/Denver"
    assert run(*words, "--config", config).exit_code == 2  # they are there already


def test_faults_of_many_schools_name_their_lines_and_nothing_is_written(tmp_path):
    config = tmp_path / "plumewatch.toml"
    config.write_text(DISTRICT)
    (tmp_path / "schools.csv").write_text("site,name\nn,North\nn,Other\ns,\nw,North\n")
    (tmp_path / "sensors.csv").write_text("site,sensor,room\nn,a,Boys\nx,b,Boys\ns,a,Gym\n")
    words = ("site", "import", tmp_path / "schools.csv", tmp_path / "sensors.csv")
    made = run(*words, "--config", config)
    assert made.exit_code == 2
    for fault in (
        "schools.csv: line 3: site is there twice",
        "schools.csv: line 4: name: missing: must be given",
        "sensors.csv: line 3: site: 'x': must be 'n', 's', 'w'",
        "sensors.csv: line 4, id: 'a' is already used by sensors.csv: line 2, id",
    ):
        assert fault in made.output
    assert not (tmp_path / "sites").exists()
