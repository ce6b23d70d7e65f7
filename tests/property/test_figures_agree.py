"""Test that figures shown in several places agree: statistics, sensor health, summary, tables,
mail.

People are on duty in shifts, so that every figure is included.
"""

import asyncio
import re
from dataclasses import replace
from datetime import date, timedelta

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerts.engine import AlertEngine
from alerts.page.app import create_app
from plumewatch.config.load import load
from plumewatch.config.settings import build_alert_policy, build_school
from plumewatch.report_request import ReportRequest, gather_facts
from plumewatch.service.data_folder import open_series
from reports import tables
from reports.letter import write_letter
from reports.rows import State
from reports.summary import make_summary
from reports.view import view_summary, view_table
from reports.wording import format_value
from tests.support.config_entries import shift
from tests.support.school_year import config_text, fill_health, fill_state, moment
from tests.support.staff_page import page_settings

FIRST, ROOMS = date(2026, 9, 14), 3
SHIFT = shift("day", ["ap", "dean"], start="07:30", end="15:17")


async def pages(config, now, *paths):
    database = config.data_dir / "state.db"
    with open_series(config) as series:
        engine = AlertEngine(config.build_registry(), build_alert_policy(config))
        made = page_settings(engine=engine, database=database, series=series, clock=lambda: now)
        app = create_app(replace(made, school=build_school(config)))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return [(await client.get(path)).text for path in paths]


@settings(max_examples=4)
@given(seed=st.integers(0, 2**16), a_day=st.sampled_from((0.2, 0.6, 2.0)))
@example(seed=23197, a_day=0.2)  # no alerts
def test_every_figure_that_two_places_show_is_one(tmp_path_factory, seed, a_day):
    root = tmp_path_factory.mktemp("school")
    (root / "plumewatch.toml").write_text(config_text(ROOMS, more=SHIFT), encoding="utf-8")
    data = root / "plumewatch-data"
    data.mkdir()
    fill_state(data / "state.db", FIRST, 14, ROOMS, seed=seed, a_day=a_day)
    fill_health(data / "series.db", FIRST, 14, ROOMS, every_s=3600.0)
    config, now = load(root / "plumewatch.toml"), moment(FIRST + timedelta(days=14))
    facts = gather_facts(config, ReportRequest("summary", week="2026-W39"), now)
    made = make_summary(facts)
    statistics, health, board, listed = asyncio.run(
        pages(config, now, "/figures", "/sensors?span=week", "/", "/incidents")
    )

    by_key = {figure.key: format_value(figure) for figure in made.figures}
    shown = re.findall(r'data-figure="(\w+)">([^<]*)<', statistics)
    assert len(shown) > 30
    assert [(key, text) for key, text in shown if by_key[key] != text] == []
    labels = {figure.key: figure.label for figure in made.figures}
    named = re.findall(
        r'<(?:dt|th scope="row")>([^<]*)</\w+><\w+ [^>]*data-figure="(\w+)">', statistics
    )
    assert len(named) == len(shown)
    assert [(key, label) for label, key in named if label != labels[key]] == []
    printed = {row[0]: (row[1], row[-1]) for row in view_summary(made)["figures"]}
    assert all(printed[figure.label][0] == by_key[figure.key] for figure in made.figures)
    bases = dict(
        re.findall(
            r'data-figure="(\w+)">[^<]*</td>(?:<td[^>]*>[^<]*</td>)?<td[^>]*>([^<]*)</td>',
            statistics,
        )
    )
    assert bases.keys() >= labels.keys() - {
        "per_school_day"
    }  # which needs a complete previous week
    assert [key for key, basis in bases.items() if printed[labels[key]][1] != basis] == []
    assert float(by_key["notices_per_duty_hour"]) >= 0
    assert not re.search(r"\d\.\d\d of ", " ".join(bases.values()))
    soon = re.search(
        r"Someone responded within five minutes to (\d+) of (\d+)", write_letter(made)[1]
    )
    assert bases["responded_in_5_min"] == (f"{soon[1]} of {soon[2]}" if soon else "0 of 0")
    assert int(soon[2] if soon else 0) <= int(by_key["alerts"])
    counted = int(by_key["incidents"].replace(",", ""))
    noun = "incident" if counted == 1 else "incidents"
    assert re.search(rf"^{counted} {noun} \(\d school days?\)", write_letter(made)[1], re.MULTILINE)

    missed = board.partition('id="missed"')[2].partition("</section>")[0]
    more = re.search(r">(\d+) more<", missed)
    on_board = len(re.findall('class="row ', missed)) + int(more[1] if more else 0)
    earlier = re.search(r"Still unchecked: (\d+) earlier alert", write_letter(made)[1])
    in_week = sum(row.state is State.NOBODY_RESPONDED for row in facts.incidents)
    assert int(earlier[1] if earlier else 0) == on_board - in_week

    rows = view_table(facts, "incidents", tables.build_frame("incidents", facts))["rows"]
    clock = r'href="/incidents/([\w-]+)".*?<time [^>]*>(?:[^<]*, )?([^<]*)</time>'
    times = dict(re.findall(clock, listed, re.DOTALL))
    assert [(row[:2], times[row[0]]) for row in rows if not row[1].endswith(times[row[0]])] == []

    online = dict(tables.build_frame("sensors", facts).select("sensor", "availability").iter_rows())
    for sensor, share in online.items():
        row = re.search(rf"<tr>(?:(?!</tr>).)*/sensors/{sensor}/device.*?</tr>", health, re.DOTALL)[
            0
        ]
        assert f'data-name="Online">{100 * share:.0f}%' in row
