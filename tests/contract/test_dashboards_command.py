"""Test `plumewatch dashboards` with a server that has Grafana's documented endpoints."""

import copy
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from dashboards.build import _PROVISIONED, DASHBOARDS
from dashboards.queries import DATA_SOURCE_UID
from storage.timeseries.records import MEASUREMENTS
from storage.timeseries.rollup import LEVELS
from tests.support.command import plumewatch
from tests.support.fake_grafana import TOKEN, FakeGrafana
from tests.support.fake_server import FakeServer

NOW = 1_790_000_000.0
CONFIG = """
site = "Lincoln High"
timezone = "Europe/Berlin"
data_dir = "data"
[web]
public_url = "https://plumewatch.example/"
[timeseries]
url = "http://127.0.0.1:8086/"
database = "air"
[[room]]
id = "n2-boys"
name = "Boys' restroom, 2nd floor"
building = "North"
[[sensor]]
id = "s1"
room = "n2-boys"
"""


@pytest.fixture
def grafana():
    fake = FakeGrafana()
    with FakeServer(fake.answer) as server:
        fake.url = f"{server.url}/grafana/"
        yield fake


@pytest.fixture
def files(tmp_path):
    (tmp_path / "plumewatch.toml").write_text(CONFIG)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "reader").write_text("only-reads\n")
    (tmp_path / "data").mkdir()
    return tmp_path


def push(grafana, files, capsys, reader="reader"):
    options = ["--reader-file", files / reader] if reader else []
    ran = in_grafana("push", grafana.url, files, *options)
    return ran.code, ran.out.splitlines(), ran.err


def in_grafana(command, url, files, *options, now=NOW):
    where = ("--url", url, "--token-file", files / "token", "-c", files / "plumewatch.toml")
    return plumewatch("dashboards", command, *where, *options, now=now)


def test_push_makes_everything_and_again_changes_nothing(grafana, files, capsys):
    code, output, _ = push(grafana, files, capsys)
    assert code == 0
    assert output[:2] == ["data source: created", "folder: created"]
    assert output[2:] == [f"dashboard {name}: created" for name in DASHBOARDS]
    assert len(grafana.dashboards) == len(DASHBOARDS)
    now = grafana.dashboards["plumewatch-now"]
    assert now["timezone"] == "Europe/Berlin"
    source = grafana.sources[3]
    assert (source["uid"], source["user"], source["jsonData"]["dbName"]) == (
        DATA_SOURCE_UID,
        "air_reader",
        "air",
    )
    assert source["secureJsonData"] == {"password": "only-reads"}

    grafana.writes.clear()
    code, output, _ = push(grafana, files, capsys, reader="")
    assert code == 0
    assert all("unchanged" in line for line in output)
    assert grafana.writes == []


def test_what_differs_is_overwritten_in_the_folder_where_it_is(grafana, files, capsys):
    push(grafana, files, capsys)
    ours = copy.deepcopy(grafana.dashboards["plumewatch-now"])
    grafana.folders["facilities"] = {"uid": "facilities"}
    grafana.moved["plumewatch-now"] = "facilities"
    grafana.dashboards["plumewatch-now"]["refresh"] = "1h"
    grafana.writes.clear()
    _, output, _ = push(grafana, files, capsys, reader="")
    assert [line for line in output if "unchanged" not in line] == [
        "dashboard now: changed (refresh)"
    ]
    assert grafana.writes == [("POST", "/grafana/api/dashboards/db")]
    assert grafana.moved["plumewatch-now"] == "facilities"
    ours["version"] += 1
    assert grafana.dashboards["plumewatch-now"] == ours


@pytest.mark.parametrize(
    ("spoil", "code", "sentence"),
    [
        (lambda g, _: setattr(g, "status", 403), 1, "HTTP 403 not now"),
        (lambda g, _: setattr(g, "status", 412), 1, "not now"),
        (lambda g, _: setattr(g, "status", 429), 3, "not now"),
        (lambda g, _: setattr(g, "status", 500), 3, "HTTP 500"),
        (lambda g, _: setattr(g, "status", 302), 3, "redirects to another address"),
        (lambda _, f: (f / "token").write_text("other"), 1, "HTTP 401 Invalid API key"),
        (lambda _, f: (f / "token").write_text(""), 2, "token is empty"),
        (lambda _, f: (f / "token").unlink(), 2, "token: No such file or directory\n"),
        (lambda _, f: (f / "token").write_bytes(b"\xff"), 2, "token_file: unreadable"),
        (lambda _, f: (f / "plumewatch.toml").write_text("site = 3"), 2, "timezone"),
        (lambda g, _: setattr(g, "url", "ftp://grafana"), 2, "not the address of a Grafana server"),
        (lambda g, _: setattr(g, "url", "http://127.0.0.1:9/"), 3, "cannot be reached"),
        (lambda g, _: setattr(g, "url", "http://me:word@127.0.0.1:9/"), 2, "a name or password"),
    ],
)
def test_what_is_wrong_is_one_sentence(grafana, files, capsys, spoil, code, sentence):
    spoil(grafana, files)
    found, _, output = push(grafana, files, capsys)
    assert (found, len(output.strip().splitlines())) == (code, 1) or code == 2
    assert sentence in output
    assert found == code
    assert TOKEN not in output
    assert grafana.dashboards == {}


@pytest.mark.parametrize("command", ["push", "build"])
def test_without_an_influxdb_every_command_says_what_to_do(grafana, files, command):
    (files / "plumewatch.toml").write_text(CONFIG.replace('url = "http:', "#"))
    if command == "build":
        options = ("--out", files / "made", "-c", files / "plumewatch.toml")
        ran = plumewatch("dashboards", "build", *options)
    else:
        ran = in_grafana(command, grafana.url, files)
    assert ran.code == 2
    assert "Grafana needs InfluxDB" in ran.err
    assert "plumewatch storage setup" in ran.err
    assert grafana.writes == []
    assert not (files / "made").exists()


def test_without_the_extra_push_names_what_to_install(grafana, files, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "dashboards.grafana", None)
    code, _, error = push(grafana, files, capsys)
    assert (code, "plumewatch[dashboards]" in error) == (2, True)


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"{}", b"[1]", b"<h1>\x1b[31mhello</h1>", b"", b'{"message": 7}']
)
def test_another_server_is_not_taken_for_grafana(files, capsys, status, body):
    with FakeServer(lambda *_: (status, {}, body)) as server:
        pushed = in_grafana("push", server.url, files, "--reader-file", files / "reader")
    assert pushed.code == 3
    assert len(pushed.err.splitlines()) == 1
    assert "the server there is not Grafana" in pushed.err
    assert "\x1b" not in pushed.err
    assert pushed.out == ""


def test_without_a_data_source_nothing_is_written(grafana, files, capsys):
    code, _, output = push(grafana, files, capsys, reader="")
    assert code == 1
    assert "there is no data source" in output
    assert grafana.writes == []


def test_build_writes_for_the_school_and_lists_what_it_wrote(files, capsys):
    out = files / "made"
    for expected in ("written", "unchanged"):
        ran = plumewatch("dashboards", "build", "--out", out, "-c", files / "plumewatch.toml")
        assert ran.code == 0
        lines = ran.out.splitlines()
        assert lines[:-1] == [f"{out / name}.json: {expected}" for name in DASHBOARDS]
        assert lines[-1] == (
            "days and hours in Europe/Berlin time; links to https://plumewatch.example"
        )
    assert json.loads((out / "alerts.json").read_text())["timezone"] == "Europe/Berlin"
    (files / "file").write_text("")
    ran = plumewatch("dashboards", "build", "--out", files / "file")
    assert ran.code == 2
    assert "file" in ran.err


def database_of(measurement):
    """Return the id of the data source that has a measurement."""
    levels = {level.measurement: level for level in LEVELS}
    kept = (
        MEASUREMENTS[measurement].kept if measurement in MEASUREMENTS else levels.get(measurement)
    )
    return f"{DATA_SOURCE_UID}-{kept.name}" if kept else DATA_SOURCE_UID


def test_each_database_of_an_influxdb_3_is_asked_through_a_data_source_of_its_own(grafana, files):
    """InfluxDB 3 returns nothing for a measurement name with a retention policy."""
    options = ("--reader-file", files / "reader", "--influxdb3")
    output = in_grafana("push", grafana.url, files, *options).out.splitlines()
    assert output[:3] == [f"data source{policy}: created" for policy in ("", " m1", " m15")]
    made = {source["uid"]: source["jsonData"]["dbName"] for source in grafana.sources.values()}
    policies = {f"{DATA_SOURCE_UID}-{policy}": f"air/{policy}" for policy in ("m1", "m15")}
    assert made.items() >= {DATA_SOURCE_UID: "air", **policies}.items()
    asked = 0
    for body in grafana.dashboards.values():
        for panel in body["panels"]:
            queries = [query for query in panel.get("targets", ()) if "query" in query]
            uids = {query["datasource"]["uid"] for query in queries}
            assert not uids or panel["datasource"]["uid"] in (*uids, "-- Mixed --")
            assert len(uids) < 2 or panel["datasource"]["uid"] == "-- Mixed --"
            variables = [v for v in body["templating"]["list"] if v["type"] == "query"]
            for query in [*queries, *variables, *body["annotations"].get("list", ())]:
                assert '"."' not in query.get("query", "")
                for measurement in re.findall(r'FROM "([a-z0-9_]+)"', query.get("query", "")):
                    assert query["datasource"]["uid"] == database_of(measurement)
                    asked += 1
    assert asked > 80
    again = in_grafana("push", grafana.url, files, "--influxdb3").out.splitlines()
    assert [line for line in again if not line.endswith(": unchanged")] == []
    out = files / "made"
    plumewatch("dashboards", "build", "--out", out, "--influxdb3")
    found = yaml.safe_load((out / "datasources-influxdb3.yaml").read_text())["datasources"]
    names = {source["uid"]: source["jsonData"]["dbName"] for source in found}
    variable = "${PLUMEWATCH_INFLUX_DATABASE}"
    assert names == {
        DATA_SOURCE_UID: variable,
        **{uid: name.replace("air", variable) for uid, name in policies.items()},
    }


def test_provisioning_has_the_data_source_of_the_code_and_the_folder_of_build():
    files = Path(__file__).parents[2] / "dashboards" / "provisioning"
    found = yaml.safe_load((files / "datasources" / "plumewatch.yaml").read_text())
    (source,) = found["datasources"]
    assert source.items() >= {**_PROVISIONED.to_json(""), "editable": False}.items()
    found = yaml.safe_load((files / "dashboards" / "plumewatch.yaml").read_text())
    (provider,) = found["providers"]
    assert provider["options"]["path"] == "/etc/plumewatch/dashboards"
