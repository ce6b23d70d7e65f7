"""Test schools, sensors, people and groups from CSV tables next to the configuration."""

import os

import pytest

from alerts.access.sign_in_rules import Rights
from plumewatch.config.faults import ConfigError
from plumewatch.config.load import load
from plumewatch.config.settings import build_sign_in_rules
from tests.support.two_schools import TWO

DISTRICT = """district = "Lincoln Schools"
timezone = "America/New_York"
[[staff]]
id = "tech"
name = "Technology director"
role = "admin"
sites = ["*"]
"""
HEAD = "id,name,role,sites\n"
PROVIDER = """
[sign_in]
issuer = "https://login.example"
client_id = "plumewatch"
client_secret_file = "secret"
groups_claim = "groups"
[[staff]]
id = "boss"
name = "Boss"
role = "admin"
sites = ["*"]
[[sign_in.group]]
"""


def write(folder, config=DISTRICT, **tables):
    path = folder / "plumewatch.toml"
    path.write_text(config)
    for name, text in tables.items():
        raw = text if isinstance(text, bytes) else text.encode()
        (folder / f"{name}.csv").write_bytes(raw)
    return path


def test_forty_schools_with_sensors_and_groups_are_three_tables(tmp_path):
    schools = [f"s{k:02},School {k},{'America/Denver' if k == 7 else ''}," for k in range(40)]
    schools[9] = "s09,School 9,,2026-11-30"
    sensors = [f"s{k // 8:02},s{k // 8:02}-{k},,{k % 3},Room {k // 2}" for k in range(320)]
    path = write(
        tmp_path,
        DISTRICT + PROVIDER.partition("[[sign_in.group]]")[0],
        schools="\n".join(["site,name,timezone,closed", *schools]),
        sensors="\n".join(["site,sensor,building,floor,room", *sensors]),
        groups="group;role;sites\npw-{site}-staff;staff;\npw-all;analyst;*\n",
    )
    config = load(path)
    assert (len(config.sites), len(config.sensor)) == (40, 320)
    assert str(config.get_zone("s07")) == "America/Denver"
    assert str(config.sites[9].closed) == "2026-11-30"
    assert config.build_registry().find_room("s00-0").full_name == "Room 0, floor 0, School 0"
    rules = build_sign_in_rules(config)
    assert rules.find_joining_rights(["pw-s39-staff"]) == Rights("staff", frozenset({"School 39"}))
    assert rules.find_joining_rights(["pw-all"]) == Rights("analyst", None)


@pytest.mark.parametrize(
    "provider",
    [
        ("https://login.example.org",),
        ("https://accounts.google.com", "--hosted-domain", "example.org"),
        ("https://login.microsoftonline.com/0a1b2c3d-0000-4000-8000-000000000000/v2.0",),
    ],
)
def test_one_command_and_two_tables_are_a_district_without_an_editor(call, tmp_path, provider):
    path, address = tmp_path / "plumewatch.toml", "https://p.example"
    given = ("--public-url", address, "--client-id", "c", "--issuer", *provider)
    ran = call("init", path, "--district", *given)
    assert "schools.csv and sensors.csv" in ran.stdout
    assert "secrets/sign-in" in ran.stdout
    write(
        tmp_path,
        path.read_text(),
        schools="site,name\nn,North\ns,South\n",
        sensors="site,sensor,room\nn,a,Boys\ns,b,Boys\n",
        groups="group,role\npw-{site},staff\n",
    )
    config = load(path)
    assert (len(config.sites), config.sign_in.group[0].group) == (2, "pw-{site}")


def test_sensors_of_one_school_are_a_table_too(tmp_path):
    one = 'site = "North High"\ntimezone = "UTC"\n'
    text = "\ufeffSensor;Building;Floor; Room;Kind;Room_id;Interval_s;Model;Aliases\n"
    text += "n-1;Main;1;Boys;;;60;sen55;old-1 old-2\nn-2;Main;1;Boys;;;;;\n;;;;;;;;\n"
    text += "n-3;;;Gym locker;locker;gym;;;\n"
    config = load(write(tmp_path, one, sensors=text))
    first, second, third = config.sensor
    assert (first.interval_s, first.model, first.aliases) == (60.0, "sen55", ["old-1", "old-2"])
    assert [first.room, second.room, third.room] == ["main-1-boys", "main-1-boys", "gym"]
    assert [(room.building, room.kind) for room in config.room] == [
        ("Main", "restroom"),
        ("", "locker"),
    ]


def test_a_school_of_the_table_may_have_a_file_for_what_a_table_cannot_say(tmp_path):
    path = write(tmp_path, schools="site,name\nn,North\n", sensors="site,sensor,room\nn,a,Boys\n")
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/n.toml").write_text('[[term]]\nname = "Fall"\nfirst = 2026-09-01\n')
    with pytest.raises(ConfigError, match=r"sites/n.toml: \[\[term\]\] Fall: last: missing"):
        load(path)
    (tmp_path / "sites/n.toml").write_text('name = "North High"\n')
    with pytest.raises(ConfigError, match=r"'n' is already used by schools.csv: line 2, site"):
        load(path)


def test_every_fault_names_the_table_and_its_line(call, tmp_path):
    path = write(
        tmp_path,
        DISTRICT + PROVIDER.partition("[[sign_in.group]]")[0],
        schools="site,name,timezone,closed\nn,North,America/Chicgo,\nn,Other,,soon\n../w,West,,\n",
        sensors="site,sensor,room,interval_s,aliases\nn,a,Boys,,\nx,b,Boys,,\nn,a,Gym,fast,\n"
        "n,bad id!,Hall,,\nn,c,,,\nn,d,Hall,,a\nn,e,boys,,\nn,f,Hall,,,,more\n",
        people="id,name,role,sites\na,A,king,n\n\na,B,staff,moon\nc,C,staff,\n,D,staff,n\n",
        groups="group,role,sites\npw,chief,\npw-{sit},staff,\npw-{site},staff,n\n",
    )
    ran = call("check", "--config", path)
    assert ran.exit_code == 2
    for fault in (
        "schools.csv: line 2, timezone: 'America/Chicgo': must be a time zone of the IANA list",
        "schools.csv: line 3, site: 'n' is already used by schools.csv: line 2, site",
        "schools.csv: line 3, closed: 'soon': must be a date such as",
        "schools.csv: line 4, site: '../w': may contain only letters, digits",
        "sensors.csv: line 3, site: 'x': must be the id of a school: n",
        "sensors.csv: line 4, sensor: 'a' is already used by sensors.csv: line 2, sensor",
        "sensors.csv: line 4, interval_s: 'fast' is not a number",
        "sensors.csv: line 5, sensor: 'bad id!': may contain only letters, digits",
        "sensors.csv: line 6, room: '': must not be empty",
        "sensors.csv: line 7, aliases number 1: 'a': must not already be the id or alias",
        "sensors.csv: line 8, room_id: 'n-boys' is already used by sensors.csv: line 2, room_id",
        "sensors.csv: line 9: 7 cells: line 1 has 5; put a text with commas",
        "people.csv: line 2, role: 'king': must be one of",
        "people.csv: line 4, sites: 'moon': must be the id of a school",
        "people.csv: line 4, id: 'a' is already used by people.csv: line 2, id",
        "people.csv: line 5, sites: missing",
        "people.csv: line 6, id: missing: required",
        "groups.csv: line 2, role: 'chief': must be one of",
        "groups.csv: line 3, group: 'pw-{sit}': can't contain {sit}: only {site} is replaced",
        "groups.csv: line 4, sites: n: must be left out: {site} in the group already names",
    ):
        assert f"FAULT {fault}" in ran.stdout, fault
    assert "; did you mean 'America/Chicago'?" in ran.stdout
    assert "do: change people.csv: line 4, id\n" in ran.stdout
    assert "[[room]]" not in ran.stdout


def test_a_fault_of_many_lines_is_said_once(tmp_path):
    rows = "".join(f"nrth,s{k},Room {k}\n" for k in range(320))
    rows += "soth,t1,Hall 1\nsoth,t2,Hall 2\n" + "".join(f"n,bad {k},Hall\n" for k in range(40))
    path = write(tmp_path, schools="site,name\nn,North\n", sensors=f"site,sensor,room\n{rows}")
    with pytest.raises(ConfigError) as refused:
        load(path)
    said = str(refused.value).splitlines()
    said = sorted(said, key=lambda line: int(line.split()[2].strip(",:")))
    assert len(said) == 3, said
    assert said[0].startswith("sensors.csv: line 2, site: 'nrth': must be the id of a school")
    assert said[0].endswith("(also line 3 and 318 more lines)")
    assert said[1].startswith("sensors.csv: line 322, site: 'soth'")
    assert said[1].endswith("(also line 323)")
    assert said[2].startswith("sensors.csv: line 324, sensor: 'bad 0': may contain only letters")
    assert said[2].endswith("(also line 325 and 38 more lines)")


@pytest.mark.parametrize(
    ("schools", "head", "fault"),
    [
        ("site,nmae", "site,sensor,room", "schools.csv: line 1: 'nmae'"),
        ("site,name", "site,sensor,room,intervall_s", "sensors.csv: line 1: 'intervall_s'"),
    ],
)
def test_a_misspelled_column_is_the_only_fault(tmp_path, schools, head, fault):
    rows = "".join(f"n,s{k},Room {k}\n" for k in range(320))
    path = write(tmp_path, schools=f"{schools}\nn,North\n", sensors=f"{head}\n{rows}")
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert {line.partition(": columns")[0] for line in str(refused.value).splitlines()} <= {
        fault,
        "schools.csv: line 1: no name",
    }


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "sensors.csv: line 1: no sensor: columns are sensor, room, site"),
        (b"sensor,raum\na,Boys", "sensors.csv: line 1: 'raum': columns are sensor, room"),
        (b"sensor,rooms\na,Boys", "'rooms': columns are .*; did you mean 'room'"),
        (b"sensor,room\na,Boys\nb,M\xe4dchen", "sensors.csv: line 3: not UTF-8: save it as CSV"),
        (b'sensor,room\na,"Boys', "sensors.csv: unexpected end of data"),
        (b"#" * 4_000_001, "sensors.csv: too large: must be at most 4 MB"),
    ],
)
def test_a_table_that_cannot_be_read_says_where_and_what_to_do(tmp_path, content, fault):
    with pytest.raises(ConfigError, match=fault):
        load(write(tmp_path, TWO, sensors=content))


@pytest.mark.attack
@pytest.mark.parametrize("name", ["people.csv", "sites/north.toml", "plumewatch.toml"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_is_refused_without_reading_it(tmp_path, name, kind):
    path = write(tmp_path, TWO)
    odd = tmp_path / name
    odd.parent.mkdir(exist_ok=True)
    odd.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match=f"{odd.name}: not a file: must be a regular file"):
        load(path)


SENSORS = "FAULT sensor: missing: there must be at least one: [[sensor]], or a line of sensors.csv"


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"schools": b"site,name\nn,North\n"},
        {"schools": b"site,name\nn,North\n", "sensors": b"sensor,room\n"},
    ],
)
def test_a_district_without_schools_or_sensors_says_what_to_do(call, tmp_path, tables):
    ran = call("check", "--config", write(tmp_path, DISTRICT, **tables))
    assert ran.exit_code == 2
    assert SENSORS in ran.stdout
    assert "next to it (docs/district.md)" in ran.stdout


@pytest.fixture
def district(tmp_path):
    def read(text="", people=None):
        (tmp_path / "plumewatch.toml").write_text(TWO + text)
        if people is not None:
            (tmp_path / "people.csv").write_bytes(people.encode("utf-8-sig"))
        return load(tmp_path / "plumewatch.toml")

    return read


def test_people_of_a_table_are_staff(district):
    rows = "aide,Hall aide,staff,north south\ntech;x,Tech,facilities,*\n".replace(";x", "")
    found = district(people=HEAD + rows)
    aide, tech = found.staff[-2:]
    assert (aide.id, aide.name, aide.role, aide.sites) == (
        "aide",
        "Hall aide",
        "staff",
        ["north", "south"],
    )
    assert tech.sites == ["*"]
    assert "aide" in found.build_roster().everyone
    semicolons = district(people=(HEAD + rows).replace(",", ";").replace("name", "Name"))
    assert semicolons.staff[-1] == tech


def test_people_of_a_table_use_a_password_beside_the_provider(district):
    own = '[[staff]]\nid = "ap2"\nname = "AP"\nsites = ["*"]\nemail = "ap2@x.example"\n'
    provider = PROVIDER.removesuffix("[[sign_in.group]]\n") + own
    rows = "id,name,sites,email\naide,Aide,north,aide@x.example\nguard,Guard,*,\n"
    rules = build_sign_in_rules(district(provider, rows))
    assert [rules.may_use_password(p) for p in ("aide", "guard", "boss", "ap2")] == [True] * 3 + [
        False
    ]


def test_one_mapping_stands_for_the_groups_of_all_schools(district):
    rules = build_sign_in_rules(district(f'{PROVIDER}group = "pw-{{site}}"\nrole = "staff"\n'))
    assert rules.find_joining_rights(["pw-south"]) == Rights("staff", frozenset({"South High"}))
    both = rules.find_joining_rights(["pw-south", "pw-north"])
    assert both == Rights("staff", frozenset({"South High", "North High"}))
    assert rules.find_joining_rights(["pw-moon", "pw-{site}"]) is None


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ('sites = ["north"]', Rights("staff", frozenset({"North High"}))),
        ('sites = ["*"]', Rights("staff", None)),
        ("", None),
    ],
)
def test_a_group_makes_people_of_the_schools_that_it_names(district, group, expected):
    rules = build_sign_in_rules(district(f'{PROVIDER}group = "g"\nrole = "staff"\n{group}\n'))
    assert rules.find_joining_rights(["g"]) == expected
    assert (
        rules.find_rights("staff", ["g"]) is not None
    )  # belongs to a person with a [[staff]] block


def test_a_mapped_group_watches_schools_without_a_block_of_staff(district, tmp_path):
    text = f'{PROVIDER}group = "pw-{{site}}"\nrole = "staff"\n'
    only = "\n".join(block for block in TWO.split("[[staff]]")[:1])
    rooms = TWO.split("[[room]]")
    schools = only.split("[[room]]")[0] + "".join(
        f"[[room]]{part.split('[[staff]]')[0]}" for part in rooms[1:]
    )
    path = tmp_path / "plumewatch.toml"
    text = text.replace('sites = ["*"]', 'sites = ["north"]')
    path.write_text(schools + text)
    assert len(load(path).staff) == 1
    path.write_text(schools + text.replace('"pw-{site}"', '"pw-admins"'))
    with pytest.raises(ConfigError, match="south"):
        load(path)


def test_a_shift_may_name_a_person_of_the_directory(district):
    shift = '[[shift]]\nid = "s"\nreceiver = "staff"\npeople = ["a@school.example"]\n'
    hours = 'start = "08:00"\nend = "09:00"\n'
    mapped = f'{PROVIDER}group = "pw-{{site}}"\nrole = "staff"\n'
    assert district(mapped + shift + hours).shift[0].people == ["a@school.example"]
    with pytest.raises(ConfigError, match="a@school"):
        district(shift + hours)
