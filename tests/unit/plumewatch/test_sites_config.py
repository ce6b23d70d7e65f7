"""Test several schools in one configuration, as entries or as a folder of files, and all faults."""

import tomllib
from datetime import UTC, datetime

import pytest

from plumewatch.config.faults import ConfigError
from plumewatch.config.ingest_settings import build_intake_config
from plumewatch.config.load import load, parse
from plumewatch.config.model import PlumewatchConfig
from plumewatch.config.settings import build_alert_policy, build_school
from tests.support.config_entries import shift
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
"""
BELLS += shift("hall", ["south-ap"], periods=["*"], site="south")
BELLS += shift("north-hall", ["north-ap"], periods=["*"], site="north")


def read(text):
    return parse(tomllib.loads(text), base=None)


def faults_of(text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value).splitlines()


def test_rooms_name_their_site_and_have_its_time_zone():
    registry = read(TWO).build_registry()
    assert [room.full_name for room in registry.rooms.values()] == [
        "Boys, floor 2, Main, North High",
        "Boys, floor 2, Main, South High",
    ]
    assert [r.zone for r in registry.rooms.values()] == ["America/New_York", "America/Denver"]
    assert [site.id for site in registry.sites.values()] == ["north", "south"]


def test_a_sensor_prints_the_time_of_its_site_however_its_id_is_written():
    text = TWO.replace("south-1", "00:0F:e5:01")
    assert text != TWO
    context = build_intake_config(read(text), dedupe_window=10).context
    for name in ("00:0F:E5:01", "000fe501"):
        assert str(context.find_zone(name)) == "America/Denver"
    assert str(context.find_zone("north-1")) == "America/New_York"


def test_bells_holidays_and_shifts_are_those_of_the_site():
    roster = read(TWO + BELLS).build_roster()
    assert {site: [b.id for b in t.bells] for site, t in roster.timetables.items()} == {
        "North High": ["usual"],
        "South High": ["south"],
    }
    assert [len(t.holidays) for t in roster.timetables.values()] == [1, 2]
    at = datetime(2026, 9, 9, 16, 30, tzinfo=UTC)  # 10:30 in Denver, 12:30 in New York
    assert [one.person for one in roster.find_on_duty("staff", at)] == ["south-ap"]


def test_nobody_is_notified_of_another_site():
    policy = build_alert_policy(read(TWO))
    for site in ("north", "south"):
        labels = {"site": f"{site.title()} High", "building": "Main", "kind": "vape"}
        (ring,) = policy.plan_rings(labels, 0.0)
        assert [c.person for c in ring.people] == [f"{site}-ap"]


def test_the_children_of_the_service_read_the_same_sites():
    config = read(TWO)
    again = PlumewatchConfig.model_validate_json(config.model_dump_json(by_alias=True))
    assert again.build_registry() == config.build_registry()


def test_figures_of_all_schools_count_each_by_its_own_days():
    config = read(TWO + BELLS)
    school = build_school(config)
    monday, wednesday = (datetime(2026, 9, day, 17, tzinfo=UTC).timestamp() for day in (7, 9))
    spans = [*school.list_duty(monday - 86_400, wednesday + 86_400)]
    on = {(span.person, datetime.fromtimestamp(span.start, UTC).day) for span in spans}
    assert on == {("north-ap", 8), ("north-ap", 9), ("south-ap", 9)}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (('sites = ["south"]', 'sites = ["sout"]'), "[[staff]] south-ap: sites: 'sout'"),
        (('name = "South High"', 'name = "north high"'), "[[site]] south: name: 'north high' is"),
        (
            ('id = "south-ap"', 'id = "Service"'),
            "[[staff]] Service: id: 'Service': must be",
        ),
        (('id = "south"', 'id = ".."'), "[[site]] ..: id: '..': may contain only letters, digits"),
        (('id = "south"', 'id = "north"'), "[[site]] north: id: 'north' is already used by"),
        (('floor = "2"\nsite = "south"', ""), "[[room]] south-boys: site: missing"),
        (('floor = "2"\nsite = "south"', 'site = "x"'), "[[room]] south-boys: site: 'x'"),
        (('district = "Lincoln Schools"\n', ""), "district: missing"),
        (
            ("[[site]]", '[[sign_in.group]]\nrole = "staff"\n[[site]]'),
            "[[sign_in.group]] number 1: group: missing",
        ),
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
    assert config.build_registry() == read(TWO).build_registry()
    assert [person.sites for person in config.staff] == [["north"], ["south"]]


def test_faults_name_the_file_of_the_site_all_at_once(tmp_path):
    wrong = of_file("south").replace("south-1", "north-1").replace('name = "Boys"\n', "")
    path = write(
        tmp_path,
        north=of_file("north"),
        south=wrong + '[broker]\nhost = "x"\n',
        west='name = "West"\ntimezone = "Mars"\n[[staff]]\nid = "w"\nname = "W"\nsites = ["*"]\n'
        'email = "superintendent@example.org"\n',
        bad="name = ",
    )
    with pytest.raises(ConfigError) as caught:
        load(path)
    found = "\n".join(str(caught.value).splitlines())
    for fault in (
        "sites/bad.toml: Invalid value",
        "sites/south.toml: broker: not a key",
        "sites/south.toml: [[room]] south-boys: name: missing",
        "sites/south.toml: [[sensor]] north-1: id: 'north-1' is already used by",
        "is already used by sites/north.toml: [[sensor]] number 1: id",
        "sites/west.toml: timezone: 'Mars'",
        "sites/west.toml: [[staff]] w: sites: ['*']",
        "sites/west.toml: [[staff]] w: email: 'superintendent@example.org'",
    ):
        assert fault in found


def test_a_file_of_a_site_cannot_replace_a_receiver_of_all_sites(tmp_path):
    entry = '[[receiver]]\nid = "staff"\ncatch_all = ["north-ap"]\n'
    path = write(tmp_path, north=of_file("north") + entry, south=of_file("south"))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert "sites/north.toml: [[receiver]] staff: id: 'staff': must be" in str(caught.value)
