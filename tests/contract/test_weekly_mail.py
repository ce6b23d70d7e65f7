"""Send the weekly summary through Apprise to a real SMTP server on this machine."""

from __future__ import annotations

import re
import zipfile
from contextlib import closing
from datetime import timedelta
from io import BytesIO

import pytest

from alerts.access.directory import DirectoryPerson, save_person
from plumewatch.config.load import load
from plumewatch.service import jobs
from plumewatch.weekly_summary import send_weekly
from storage.sqlite import connect, transaction
from tests.support.broker import free_port
from tests.support.in_process import running
from tests.support.school_year import config_text, fill_health, fill_state, moment
from tests.support.waiting import until
from tests.unit.plumewatch.test_weekly_summary import FIRST

FROM, TO = "plumewatch@school.example", "principal@school.example"
ALSO_TO = "dean@school.example"


@pytest.fixture
def school(tmp_path):
    def at(port, language):
        more = '[reports]\nweekly_file = "weekly"\n[alerts]\nallow_private_targets = true\n'
        text = f'language = "{language}"\n{config_text(4, more=more)}'
        (tmp_path / "plumewatch.toml").write_text(text, encoding="utf-8")
        (tmp_path / "plumewatch-data").mkdir()
        fill_state(tmp_path / "plumewatch-data/state.db", FIRST, 14, 4, seed=2, a_day=2.0)
        fill_health(tmp_path / "plumewatch-data/series.db", FIRST, 14, 4, every_s=3600.0)
        secret = tmp_path / "weekly"
        secret.write_text(
            f"mailto://user:pass@127.0.0.1:{port}?from=Plume%20Watch<{FROM}>&To={TO},{ALSO_TO}"
            "&mode=insecure&smtp=127.0.0.1"
        )
        secret.chmod(0o600)
        return load(tmp_path / "plumewatch.toml")

    return at


NOW = moment(FIRST + timedelta(days=14)) + 6 * 3600
WEEK = moment(FIRST + timedelta(days=7))
PROVIDER = """
[sign_in]
issuer = "http://127.0.0.1:9"
client_id = "plumewatch"
client_secret_file = "weekly"  # any text
groups_claim = "groups"
[[sign_in.group]]
group = "pw-{site}"
role = "staff"
"""


@pytest.mark.parametrize(
    ("language", "subject", "line"),
    [
        ("en", "Lincoln High: week of September 21, 2026", "Rooms with the most vaping and smoke:"),
        (
            "es",
            "Lincoln High: semana del 21 de septiembre de 2026",
            "Espacios con más vapeo y humo:",
        ),
    ],
)
def test_the_mail_arrives_with_subject_and_lines_in_the_schools_language(
    mail_server, school, language, subject, line
):
    inbox, port = mail_server()
    (done,) = send_weekly(school(port, language), 0.0, NOW).messages
    assert done.startswith("weekly summary sent to mailto-")
    (mail, other) = (mail for _, _, mail in inbox.mails)
    assert [(s, r) for s, r, _ in inbox.mails] == [(FROM, [TO]), (FROM, [ALSO_TO])]
    assert mail["Subject"] == other["Subject"] == subject
    text = mail.get_body(preferencelist=("plain", "html")).get_content()
    assert line in text
    assert "pass" not in mail.as_string().partition("\n\n")[0]
    (workbook,) = mail.iter_attachments()
    assert workbook.get_filename() == "summary.xlsx"
    with zipfile.ZipFile(BytesIO(workbook.get_content())) as book:
        assert "xl/workbook.xml" in book.namelist()


async def test_a_service_sends_each_school_a_mail_and_compares_them_with_the_week_before(
    mail_server, school, tmp_path
):
    inbox, port = mail_server()
    school(port, "en")
    path = tmp_path / "plumewatch.toml"
    text = path.read_text().replace('site = "Lincoln High"', 'district = "District 9"')
    for k in range(4):
        text = text.replace(f'id = "r{k}"', f'id = "r{k}"\nsite = "{("north", "south")[k % 2]}"')
    text = text.replace("weekly_file =", "weekly_to_staff = true\nweekly_file =")
    for name in ("North", "South"):
        text += f'[[site]]\nid = "{name.lower()}"\nname = "{name} High"\n'
    both = 'north", "south'
    for person, names in (("ap", "north"), ("dean", both), ("fm", "*"), ("an", "*")):
        own = f'email = "{person}@north.example"\nsites = ["{names}"]'
        own += '\nlanguage = "es"' if person == "dean" else ""
        text = text.replace(f'id = "{person}"', f'id = "{person}"\n{own}')
    text += '[[staff]]\nid = "glass"\nname = "Glass"\nrole = "admin"\nsites = ["*"]\n'
    path.write_text(
        f"{text}{PROVIDER}[broker]\nport = {free_port()}\n[web]\nport = {free_port()}\n"
    )
    with closing(connect(tmp_path / "plumewatch-data/state.db")) as db:
        with transaction(db) as tx:
            joined = DirectoryPerson("ap@south.example", "Joined", ("pw-south",), NOW)
            save_person(tx, joined)
        jobs._save(db, jobs.LastRun(NOW - 8 * 86_400))
        week = (
            "SELECT room IN ('r0', 'r2'), opened_at >= ?, count(*) FROM incident WHERE verdict"
            " IS NOT 'test' AND kind NOT IN ('offline', 'sensor_fault') GROUP BY 1, 2"
        )
        where = {(bool(n), bool(last)): k for n, last, k in db.execute(week, (WEEK,)).fetchall()}
    async with running(load(path), clock=lambda: NOW):
        await until(lambda: len(inbox.mails) >= 6)
    subjects = [mail["Subject"] for _, (to,), mail in inbox.mails if to == "dean@north.example"]
    assert sorted(text[:18] for text in subjects) == ["North High: semana", "South High: semana"]
    found = {to: mail for _, (to,), mail in inbox.mails}
    own = ("ap@north.example", "dean@north.example", joined.id)
    assert found.keys() == {TO, ALSO_TO, *own}
    texts = {
        to: mail.get_body(preferencelist=("plain", "html")).get_content()
        for to, mail in found.items()
    }
    assert {mail["From"] for mail in found.values()} == {f"Plume Watch <{FROM}>"}
    own = found["ap@north.example"]["Subject"]
    assert own.startswith("North High: week of ")
    assert "Restroom 0, floor 1, North" in texts["ap@north.example"]
    assert "South" not in texts["ap@north.example"]
    assert "North" not in texts[joined.id]
    assert not any("127.0.0.1" in text for text in texts.values())
    compared = re.findall(r"- (\w+) High: alerts (\d+) \([\d.]+; (\d+)\)", texts[TO])
    assert compared == [
        (name, str(where[is_north, True]), str(where[is_north, False]))
        for name, is_north in (("North", True), ("South", False))
    ]


def test_a_server_that_refuses_the_recipient_is_reported(mail_server, school):
    inbox, port = mail_server(refuses=True)
    (said,) = send_weekly(school(port, "en"), 0.0, NOW).messages
    assert said.startswith("no weekly summary was sent: ")
    assert inbox.mails == []
