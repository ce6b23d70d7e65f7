"""Test that the example in docs/integrations.md runs and its table of scopes matches the code."""

import re
import threading
from pathlib import Path

import pytest
import uvicorn

from alerts.access import api_tokens
from alerts.access.api_tokens import NEEDS, Scope
from alerts.access.roles import list_roles_with
from alerts.engine import AlertEngine
from alerts.page.app import create_app
from alerts.policy import AlertPolicy, StaffMember
from plumewatch.service.data_folder import prepare_state
from storage import sqlite
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.sqlite import SqliteSeries
from tests.support.broker import free_port
from tests.support.events import make_event
from tests.support.staff_page import page_settings

PAGE = (Path(__file__).parents[2] / "docs/integrations.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def served(tmp_path):
    """Serve a staff page with an incident; return its address and a token."""
    import time

    now = time.time()
    registry = Registry.build([Room("r0", "Boys", "2", "North", "High")], [Sensor("s0", "r0")])
    engine = AlertEngine(registry, AlertPolicy(staff=(StaffMember("ap", "A. P.", "staff"),)))
    db = sqlite.connect(tmp_path / "state.db")
    prepare_state(db)
    with sqlite.transaction(db) as tx:
        engine.on_events(tx, [make_event(now, "s0")], now)
        token = api_tokens.make(tx, "docs", "ap", Scope, by="ap", days=1, now=now)
    series = SqliteSeries(tmp_path / "series.db")
    series.open()
    series.write([Reading("s0", now - 60, now, {"pm25": 7.5})])
    app = create_app(page_settings(database=tmp_path / "state.db", engine=engine, series=series))
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}", token
    server.should_exit = True
    thread.join()
    series.close()
    db.close()


def test_the_example_is_short_and_runs(served, capsys):
    assert len(EXAMPLE.splitlines()) <= 20
    url, token = served
    code = compile(EXAMPLE, "docs/integrations.md", "exec")
    exec(code, {"URL": url, "TOKEN": token})  # noqa: S102 - what the page shows
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Boys vape 20")
    assert [re.sub(" .* ", " ", line) for line in lines[1:]] == ["s0 7.5"]
    exec(code, {"URL": url, "TOKEN": token})  # noqa: S102 - what the page shows
    assert capsys.readouterr().out.splitlines() == lines[1:]


def test_the_scopes_are_those_of_the_code():
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE))
    assert set(rows) == {*Scope}
    assert rows["reports"] == list_roles_with(NEEDS[Scope.REPORTS]).replace(" and ", ", ")
