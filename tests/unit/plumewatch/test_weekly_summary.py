"""Test the weekly summary: when it is due, its contents, and its delivery."""

import asyncio
import pkgutil
from contextlib import suppress
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from alerts.errors import NotifyReason, PermanentNotifyError
from plumewatch import weekly_summary
from plumewatch.config.load import load
from plumewatch.service import jobs
from plumewatch.service.data_folder import open_state
from plumewatch.weekly_summary import build_weekly_notice
from tests.support.school_year import config_text, fill_health, fill_state, moment

FIRST = date(2026, 9, 14)
ZONE = ZoneInfo("America/New_York")


def at(text, zone=ZONE):
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.fixture
def run_service(monkeypatch, tmp_path):
    """Run the scheduler for a period; return the time and school of each summary sent."""

    def run(config, *runs, refused=()):
        sent, now, end, refused = [], 0.0, 0.0, list(refused)

        async def run_job(_result, work, *order):
            return pkgutil.resolve_name(work)(*order)

        def send(_config, now, site, _language, _to):
            if site in refused:
                refused.remove(site)
                raise PermanentNotifyError(NotifyReason.REFUSED)
            sent.append((site, now))
            return "-"

        async def sleep(seconds):
            nonlocal now
            now += seconds
            if now >= end:
                raise asyncio.CancelledError

        async def run_until_stored(_name, work, *given):
            return work(*given)

        monkeypatch.setattr(jobs, "run_in_process", run_job)
        monkeypatch.setattr(jobs.asyncio, "sleep", sleep)
        monkeypatch.setattr(weekly_summary, "_send", send)
        path = tmp_path / "state.db"
        fill_state(path, FIRST, 0, 0)
        with open_state(path) as state:
            resources = SimpleNamespace(
                config=config, clock=lambda: now, state=state, run_until_stored=run_until_stored
            )
            for run in runs:
                now, end = run
                with suppress(asyncio.CancelledError):
                    asyncio.run(jobs.WeeklySummary(resources).run())
        return sent

    return run


@pytest.fixture
def load_text(tmp_path):
    def load_config(text):
        (tmp_path / "weekly").write_text("json://127.0.0.1:9")
        (tmp_path / "weekly").chmod(0o600)
        path = tmp_path / "plumewatch.toml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return load_config


@pytest.mark.parametrize(
    ("runs", "due"),
    [
        ([("2026-09-20 15:00", "2026-09-22 00:00")], ["2026-09-21 06:00"]),
        ([("2026-09-21 03:00", "2026-09-22 00:00")], ["2026-09-21 06:00"]),
        ([("2026-09-21 05:59", "2026-09-22 00:00")], ["2026-09-21 06:00"]),
        ([("2026-09-21 06:10", "2026-09-22 00:00")], []),  # started after this Monday's summary
        (
            [("2026-09-18 12:00", "2026-09-21 05:50"), ("2026-09-21 06:10", "2026-09-22 00:00")],
            ["2026-09-21 06:10"],
        ),
        (
            [("2026-09-18 12:00", "2026-09-21 07:00"), ("2026-09-21 07:10", "2026-09-29 00:00")],
            ["2026-09-21 06:00", "2026-09-28 06:00"],
        ),
        (
            [("2026-09-18 12:00", "2026-09-19 12:00"), ("2026-09-23 01:00", "2026-09-24 00:00")],
            ["2026-09-23 01:00"],
        ),
        ([("2026-10-31 12:00", "2026-11-03 00:00")], ["2026-11-02 06:00"]),  # clocks go back
        ([("2027-03-13 12:00", "2027-03-16 00:00")], ["2027-03-15 06:00"]),  # and forward
        ([("2027-01-02 12:00", "2027-01-05 00:00")], ["2027-01-04 06:00"]),
    ],
)
def test_the_summary_is_sent_on_monday_at_six(run_service, load_text, runs, due):
    config = load_text(config_text(1, more='[reports]\nweekly_file = "weekly"\n'))
    sent = run_service(config, *((at(start), at(end)) for start, end in runs))
    assert sent == [("", at(time)) for time in due]


@pytest.fixture
def three_schools(load_text):
    zones = {"east": "America/New_York", "west": "America/Los_Angeles", "isle": "Pacific/Honolulu"}
    text = config_text(3, more='[reports]\nweekly_to_staff = true\nweekly_file = "weekly"\n')
    text = text.replace('site = "Lincoln High"', 'district = "District 9"')
    for k, (site, zone) in enumerate(zones.items()):
        text = text.replace(f'id = "r{k}"', f'id = "r{k}"\nsite = "{site}"')
        text += f'[[site]]\nid = "{site}"\nname = "{site.title()}"\ntimezone = "{zone}"\n'
    for person, site in (("ap", "east"), ("dean", "west"), ("an", "isle"), ("fm", "*")):
        own = f'email = "{person}@example.org"\nsites = ["{site}"]'
        text = text.replace(f'id = "{person}"', f'id = "{person}"\n{own}')
    own = [(site, at("2026-09-21 06:00", ZoneInfo(zone))) for site, zone in zones.items()]
    return load_text(text), [("", at("2026-09-21 06:00")), *own]


def test_each_school_gets_its_summary_at_six_in_its_own_time_zone(run_service, three_schools):
    config, due = three_schools
    assert run_service(config, (at("2026-09-20 15:00"), at("2026-09-22 00:00"))) == due


def test_a_refused_mail_is_sent_again_and_no_other_twice(run_service, three_schools):
    config, due = three_schools
    runs = [("2026-09-20 15:00", "2026-09-21 06:04"), ("2026-09-21 06:30", "2026-09-28 03:00")]
    runs = [(at(start), at(end)) for start, end in runs]
    sent = run_service(config, *runs, refused=["east"] * 5)  # at least once after the restart
    late = next(time for site, time in sent if site == "east")
    assert sorted(sent) == sorted([*(one for one in due if one[0] != "east"), ("east", late)])
    assert at("2026-09-21 06:30") <= late < at("2026-09-21 08:00")
    sent = run_service(
        config, (at("2026-09-29 00:00"), at("2026-10-07 00:00")), refused=["east"] * 99
    )
    assert [site for site, _time in sent].count("east") == 0


@pytest.mark.parametrize(
    ("holiday", "a_day", "words"),
    [
        ("", 0.12, "No time of the week had more than one alert for vaping or smoke."),
        ("break", 1.0, "The week of September 14, 2026 had no school days to compare with."),
    ],
)
def test_the_mail_of_a_quiet_week_or_after_a_break_has_five_sentences_too(
    tmp_path, holiday, a_day, words
):
    more = '[reports]\nweekly_file = "weekly"\n'
    if holiday:
        more += '[[holiday]]\nname = "break"\nfirst = 2026-09-14\nlast = 2026-09-20\n'
    (tmp_path / "plumewatch.toml").write_text(config_text(4, more=more), encoding="utf-8")
    (tmp_path / "plumewatch-data").mkdir()
    fill_state(tmp_path / "plumewatch-data/state.db", FIRST, 14, 4, seed=5, a_day=a_day)
    fill_health(tmp_path / "plumewatch-data/series.db", FIRST, 14, 4, every_s=3600.0)
    now = moment(FIRST + timedelta(days=14)) + 6 * 3600
    text = build_weekly_notice(load(tmp_path / "plumewatch.toml"), now)[0].text
    found = text.partition("\n\n")[0].splitlines()
    assert len([line for line in found if "Still unchecked" not in line]) == 5, found
    assert words in found
