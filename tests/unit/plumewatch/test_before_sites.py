"""A data folder and a configuration of the release that knew one school: all reads as it did then.

`upgrades/before_sites.json` is what that release itself made of them: `texts`, run by its program.
"""

from __future__ import annotations

import asyncio
import csv
import json
import re
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from alerts.access import api_tokens
from alerts.access.api_tokens import Scope
from alerts.engine import AlertEngine
from alerts.notify.notice import render
from alerts.notify.outbox import lease
from alerts.outbound.cap import cap_message
from alerts.outbound.grafana_annotations import incident_annotations
from alerts.outbound.room_states import discovery
from alerts.page import queries
from alerts.page.app import create_app
from alerts.page.settings import StaffPageSettings
from detection.events import ChannelEvidence, Event, EventKind, EventPhase
from plumewatch.config.load import load
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import alert_policy
from plumewatch.report_request import ReportRequest, make_report
from plumewatch.service.data_folder import open_and_repair_state, open_series
from storage.journal import Journal
from storage.sqlite import transaction
from tests.unit.plumewatch.test_upgrade import laid_out

UPGRADES = Path(__file__).parent / "upgrades"
AT = 1_795_654_240.0
CONFIG = """
site = "Lincoln High"
timezone = "America/New_York"
[web]
port = 8420
[[room]]
id = "r"
name = "Boys"
building = "North"
floor = "2"
[[room]]
id = "g"
name = "Girls"
building = "North"
[[sensor]]
id = "n2-boys-1"
room = "r"
[[sensor]]
id = "n1-girls-1"
room = "g"
[[staff]]
id = "ap"
name = "A. Principal"
notify = [{ url_env = "AP_URL" }]
[[silence]]
reason = "cleaning"
building = "North"
days = ["mon"]
start = "17:00"
end = "19:00"
"""
PAGES = ("/", "/rooms/r", "/incidents", "/incidents/20261126-001", "/silences", "/wall")


NAMES = re.compile(r"Boys|Girls|North|Lincoln|floor|20261126|site|school", re.IGNORECASE)


def text_of(html):
    """Return the lines of a page that name a place, a school or an incident."""
    body = re.sub(r"<(script|style|svg|head|nav|header)\b.*?</\1>", " ", html, flags=re.DOTALL)
    words = re.sub(r"<[^>]+>", "\n", body)
    return [" ".join(line.split()) for line in words.splitlines() if NAMES.search(line)]


class Series:
    """No readings."""

    def latest(self):
        return {}

    def window(self, *_asked):
        return [], {}


def event(sensor):
    return Event(
        sensor=sensor,
        kind=EventKind.VAPE,
        phase=EventPhase.ALERTED,
        onset=AT - 6.0,
        alerted=AT,
        peak_time=AT,
        end=None,
        confidence=0.9,
        probabilities={"vape": 0.9, "spray": 0.1},
        evidence={"pm25": ChannelEvidence(4.0, 176.0, 6.0, None)},
        model_version="m1",
    )


def page_settings(config, database, engine):
    return StaffPageSettings(
        database=database, engine=engine, series=Series(), school=config.site, clock=lambda: AT
    )


async def pages(config, database, engine):
    app = create_app(page_settings(config, database, engine))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return {path: text_of((await client.get(path)).text) for path in PAGES}


def texts(folder):
    """Open the folder with its configuration; return all that people and programs read."""
    path = folder / "plumewatch.toml"
    path.write_text(CONFIG)
    config = load(path)
    registry, paths = config.registry(), DataPaths(config.data_dir)
    engine = AlertEngine(registry, alert_policy(config))
    with Journal(paths.journal), open_series(config):
        pass
    found = {}
    with closing(open_and_repair_state(paths.state)) as db:
        with transaction(db) as tx:
            engine.on_events(tx, [event("n1-girls-1")], AT)
        rows = lease(db, AT + 999, owner="t", lease_s=60.0, limit=9, free=lambda _channel: 9)
        found["notices"] = [render(row.notice) for row in rows]
        incident = queries.incident(db, "20261126-001")
        zone, room = ZoneInfo("America/New_York"), registry.rooms["r"]
        found["cap"] = cap_message(
            incident, room, sender="x", school=config.site, zone=zone
        ).decode()
        found["annotations"] = [
            str(one) for one in incident_annotations(db, registry.rooms, "", 0.0)
        ]
        found["home assistant"] = discovery(registry)
        found["pages"] = asyncio.run(pages(config, paths.state, engine))
    found["files"], found["reports"] = [], {}
    for name in ("incidents", "summary", "response", "sensors"):
        for building in ("", "North"):
            kind = "json" if name != "incidents" else "csv"
            asked = ReportRequest(name, week="2026-W48", building=building, kind=kind)
            found["files"].append(str(asked.path()))
        if name != "incidents":
            continue  # of so few incidents there are none
        out = folder / str(asked.path())
        make_report(config, ReportRequest(name, week="2026-W48", kind=kind, out=out), AT)
        with out.open(newline="") as file:
            found["reports"][name] = list(csv.DictReader(file))
    return found


@pytest.fixture(autouse=True)
def address(monkeypatch):
    monkeypatch.setenv("AP_URL", "json://127.0.0.1:9/ap")


def test_all_that_people_and_programs_read_is_as_it_was(tmp_path):
    (tmp_path / "plumewatch-data").mkdir()
    laid_out(UPGRADES / "21.sql.gz", tmp_path / "plumewatch-data")
    before = json.loads((UPGRADES / "before_sites.json").read_text(encoding="utf-8"))
    now = json.loads(json.dumps(texts(tmp_path)))
    for name, rows in now["reports"].items():  # columns were added at the end since
        old = list(before["reports"][name][0])
        assert list(rows[0])[: len(old)] == old
        now["reports"][name] = [{key: row[key] for key in old} for row in rows]
    assert now == before
    assert before["notices"][0][0] == "Girls, North: Vapeo probable desde las 19:50:34"  # as chosen
    assert len(before["pages"]["/"]) > 5


def test_programs_find_the_same_identifiers(tmp_path):
    (tmp_path / "plumewatch-data").mkdir()
    laid_out(UPGRADES / "21.sql.gz", tmp_path / "plumewatch-data")
    texts(tmp_path)
    config = load(tmp_path / "plumewatch.toml")
    engine = AlertEngine(config.registry(), alert_policy(config))
    database = DataPaths(config.data_dir).state
    with closing(open_and_repair_state(database)) as db, transaction(db) as tx:
        token = api_tokens.make(tx, "sync", "ap", list(Scope), by="ap", days=9, now=AT)

    async def ids():
        app = create_app(page_settings(config, database, engine))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            found = {}
            for path in ("incidents", "rooms", "sensors"):
                answer = await client.get(
                    f"/api/v1/{path}", headers={"Authorization": f"Bearer {token}"}
                )
                found[path] = [one["id"] for one in answer.json()["items"]]
        return found

    assert asyncio.run(ids()) == {
        "incidents": ["20261125-001", "20261126-001"],
        "rooms": ["r", "g"],
        "sensors": ["n2-boys-1", "n1-girls-1"],
    }
