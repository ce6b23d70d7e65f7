from __future__ import annotations

from datetime import date

import pytest

from language.messages import use_language
from plumewatch.config.load import load
from plumewatch.report_request import ReportRequest, gather_facts
from reports.summary import make_summary
from reports.view import view_summary
from tests.support.command import report as write_report
from tests.support.once import made_once
from tests.support.school_year import config_text, fill_health, fill_state, moment

FIRST, DAYS, ROOMS = date(2026, 10, 19), 21, 10  # clocks are set back on November 1
NAMES = {
    1: "=1+1|cmd",
    2: "<img src=x onerror=alert(1)>",
    3: "Restroom \u202ename\x07",
    4: "#let x = 1 *bold* $y$ \\",
}


@pytest.fixture(scope="session")
def school(tmp_path_factory):
    """Return a data folder with three weeks of data, and the arguments for a report."""
    return made_once(tmp_path_factory, "reports", _fill)[0]


def _fill(root):
    more = '[reports.state_codes]\nvape = "TBC"'
    text = config_text(ROOMS, more=more, names=lambda k: NAMES.get(k, f"Restroom {k // 6}"))
    (root / "plumewatch.toml").write_text(text, encoding="utf-8")
    data = root / "plumewatch-data"
    data.mkdir()
    fill_state(data / "state.db", FIRST, DAYS, ROOMS, seed=3, a_day=1.2)
    fill_health(data / "series.db", FIRST, DAYS, ROOMS, every_s=3600.0)


@pytest.fixture(scope="session")
def write(school):
    """Return a function that writes a report, only once per format, and returns its path."""
    made = {}

    def report(name, kind, **more):
        key = (name, kind, *sorted(more.items()))
        if key not in made:
            path = school / f"{name}-{len(made)}.{kind}"
            asked = {"now": moment(FIRST) + 40 * 86_400, "kind": kind, "out": path}
            asked |= more or {"start": FIRST, "end": "2026-11-08"}
            assert write_report(school / "plumewatch.toml", name, **asked).code == 0
            made[key] = path
        return made[key]

    return report


def view_of(config, now, **asked):
    """Return the view of a summary in English."""
    facts = gather_facts(load(config), ReportRequest("summary", **asked), now)
    with use_language("en"):
        return view_summary(make_summary(facts))
