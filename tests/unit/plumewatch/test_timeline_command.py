from __future__ import annotations

import pytest

from tests.support.command import plumewatch

SCHOOL = """
site = "Northfield"
timezone = "America/New_York"
[alerts]
escalate_after_s = 120
{alerts}
[[room]]
id = "N2-boys"
name = "Boys' restroom"
building = "North"
floor = "2nd floor"
[[sensor]]
id = "s"
room = "N2-boys"
[[staff]]
id = "ap"
name = "Ms. Lee"
notify = [{{ url_file = "first" }}, {{ url_file = "second" }}]
quiet_hours = [{{ start = "17:00", end = "07:00", days = ["mon"] }}]
"""


@pytest.fixture
def school(tmp_path):
    """Write a configuration with additional entries; return its path."""
    (tmp_path / "first").write_text("ntfys://ntfy.example/lee")
    (tmp_path / "second").write_text("ntfys://other.example/lee")

    def write(alerts=""):
        path = tmp_path / "school.toml"
        path.write_text(SCHOOL.format(alerts=alerts))
        return path

    return write


def printed(path, **asked):
    words = [word for name, value in asked.items() for word in (f"--{name}", value)]
    ran = plumewatch("timeline", "--config", path, *words)
    return ran.code, ran.out


LONG = "If it lasts over two minutes, or is the third within an hour"


def test_each_severity_and_the_settings_show_in_the_timeline(school):
    path = school("acknowledged_for_s = 900")
    code, text = printed(path, room="N2-boys", at="2026-09-07T10:05")
    assert code == 0
    who = [
        "            receiver staff: no route matches: default receiver",
        "      0:00  nearest: Ms. Lee",
        "            Ms. Lee: staff, always on duty",
        "      0:10  Ms. Lee: second channel, if the first has not delivered",
    ]
    again = [
        "     10:00  nearest: Ms. Lee (round 2)",
        "     20:00  nearest: Ms. Lee (round 3)",
    ]
    assert text.splitlines() == [
        "vape alert in Boys' restroom, severity warning. If nobody responds:",
        *who,
        *again,
        "     22:00  recorded: nobody responded",
        "Below 70%, it is info. If nobody responds:",
        *who,
        "      8:00  recorded: nobody responded",
        f"{LONG}, it is critical. If nobody responds:",
        *who,
        *again,
        "     21:00  recorded: nobody responded",
        "If somebody acknowledges:",
        "      0:00  nobody else is notified; those notified learn who is responding",
        "     15:00  no answer: the responder is reminded",
        "     20:00  still no answer: all of the above again, from the first step",
    ]


def test_quiet_hours_and_who_is_asked_instead(school):
    _, text = printed(school(), room="N2-boys", at="2026-09-07T18:00")
    assert "Ms. Lee: quiet hours until Tue 7:00 AM, notified then\n" in text
    _, critical = printed(school(), room="N2-boys", kind="smoke", at="2026-09-07T18:00")
    assert "quiet hours" not in critical.partition("Below 70%")[0]


def test_what_is_asked_for_wrongly_is_named_at_once(school, capsys):
    assert printed(school(), room="x", kind="spray", at="tomorrow") == (2, "")
    output = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in output] == ["--room", "--kind", "--at"]
