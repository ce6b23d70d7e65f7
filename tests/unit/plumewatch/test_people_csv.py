"""People from a CSV beside the configuration, and groups that stand for schools."""

import tomllib

import pytest

from alerts.access.sign_in_rules import Rights
from plumewatch.config.faults import ConfigError
from plumewatch.config.load import load
from plumewatch.config.settings import sign_in_rules
from tests.support.two_schools import TWO

HEAD = "id,name,role,sites\n"
PROVIDER = """
[sign_in]
issuer = "https://login.example"
client_id = "plumewatch"
client_secret_env = "SECRET"
groups_claim = "groups"
local = ["boss"]
[[staff]]
id = "boss"
name = "Boss"
role = "admin"
sites = ["*"]
[[sign_in.group]]
"""


@pytest.fixture
def district(tmp_path):
    def read(text="", people=None):
        (tmp_path / "plumewatch.toml").write_text(TWO + text)
        if people is not None:
            (tmp_path / "people.csv").write_bytes(people.encode("utf-8-sig"))
        return load(tmp_path / "plumewatch.toml")

    return read


def test_people_of_a_csv_are_staff(district):
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
    assert "aide" in found.roster().everyone
    semicolons = district(people=(HEAD + rows).replace(",", ";").replace("name", "Name"))
    assert semicolons.staff[-1] == tech


@pytest.mark.parametrize(
    ("people", "words"),
    [
        ("id,name,phone\na,A,1\n", "people.csv: columns"),
        ("name\nA\n", "people.csv: columns"),
        (HEAD + "a,A,king,north\n", "people.csv: line 2, role"),
        (HEAD + "a,A,staff,moon\n", "people.csv: line 2, sites"),
        (HEAD + "a,A,staff,\n", "people.csv: line 2, sites"),
        (HEAD + "north-ap,A,staff,north\n", "north-ap"),
        (HEAD + '"a', "people.csv"),
    ],
)
def test_faults_of_a_csv_name_it(district, people, words):
    with pytest.raises(ConfigError) as error:
        district(people=people)
    assert words in str(error.value)


def test_check_says_what_to_change_in_which_file(call, tmp_path):
    (tmp_path / "plumewatch.toml").write_text(TWO)
    (tmp_path / "people.csv").write_text(HEAD + "a,A,staff,north\n\na,B,staff,north\n")
    result = call("check", "--config", tmp_path / "plumewatch.toml")
    assert result.exit_code == 2
    assert "people.csv: line 4, id: 'a' is already used by people.csv: line 2, id" in result.stdout
    assert "do: change people.csv: line 4, id\n" in result.stdout


def test_one_mapping_stands_for_the_groups_of_all_schools(district):
    rules = sign_in_rules(district(f'{PROVIDER}group = "pw-{{site}}"\nrole = "staff"\n'))
    assert rules.joining(["pw-south"]) == Rights("staff", frozenset({"South High"}))
    both = rules.joining(["pw-south", "pw-north"])
    assert both == Rights("staff", frozenset({"South High", "North High"}))
    assert rules.joining(["pw-moon", "pw-{site}"]) is None


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ('sites = ["north"]', Rights("staff", frozenset({"North High"}))),
        ('sites = ["*"]', Rights("staff", None)),
        ("", None),
    ],
)
def test_a_group_makes_people_of_the_schools_that_it_names(district, group, expected):
    rules = sign_in_rules(district(f'{PROVIDER}group = "g"\nrole = "staff"\n{group}\n'))
    assert rules.joining(["g"]) == expected
    assert rules.rights("staff", ["g"]) is not None  # of a person with a [[staff]] block


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
    assert tomllib.loads(path.read_text())


def test_a_shift_may_name_a_person_of_the_directory(district):
    shift = '[[shift]]\nid = "s"\nreceiver = "staff"\npeople = ["a@school.example"]\n'
    hours = 'start = "08:00"\nend = "09:00"\n'
    mapped = f'{PROVIDER}group = "pw-{{site}}"\nrole = "staff"\n'
    assert district(mapped + shift + hours).shift[0].people == ["a@school.example"]
    with pytest.raises(ConfigError, match="a@school"):
        district(shift + hours)
