"""``plumewatch backtest``: a page, a table, and faults in words."""

import csv
import json
import sqlite3
from contextlib import closing

import pytest

from plumewatch.service.data_folder import prepare_state
from scale.history import History, HistoryWriter
from storage.sqlite import connect, transaction
from tests.support.alert_records import add_incident
from tests.support.command import plumewatch
from tests.support.recorded import config_text, recorded


def run(*words):
    return plumewatch("backtest", *words)


def config_of(folder):
    path = folder / "plumewatch.toml"
    path.write_text(config_text())
    return path


def answered(folder, room, onset, verdict):
    data = folder / "plumewatch-data"
    data.mkdir()
    with closing(connect(data / "state.db")) as db:
        prepare_state(db)
        with transaction(db) as tx:
            begun = {"id": "i1", "room": room, "onset": onset, "opened_at": onset + 5.0}
            over = {"status": "resolved", "resolved_at": onset + 300.0, "verdict": verdict}
            add_incident(tx, **begun, **over, paged=True)


def test_the_page_shows_what_versions_would_have_alerted(gym_history, unlike, tmp_path):
    out, table = tmp_path / "page.html", tmp_path / "alerts.csv"
    first = run(gym_history, "--out", out, "--alerts", table, "--processes", 2)
    assert first.code == 0, first.err
    assert "readings by 1 versions in" in first.err
    with table.open() as file:
        shipped = list(csv.DictReader(file))
    assert {row["kind"] for row in shipped} == {"vape"}
    page = out.read_text()
    assert f"<td>{len(shipped)}</td>" in page
    assert "feedback from staff needs a configuration" in page

    config = config_of(tmp_path)
    row = next(r for r in shipped if not r["explained_by"])
    answered(tmp_path, row["room"], float(row["onset"]), "confirmed")
    words = ("--model", "shipped", "--model", unlike, "--config", config, "--json")
    second = run(gym_history, "--out", out, "--alerts", table, "--force", *words)
    assert second.code == 0, second.err
    assert json.loads(second.out)["versions"] == 2
    with table.open() as file:
        both = list(csv.DictReader(file))
    eager = sum(r["version"] == "eager" for r in both)
    assert eager > sum(r["version"] == "shipped" for r in both) > 0
    page = out.read_text()
    assert "eager against shipped" in page
    assert "only eager" in page
    assert "<td>1 of 1</td>" in page
    assert "America/New_York" in page
    assert "<svg" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--kind", "noise"), 2, "--kind noise: one of vape, smoke"),
        (("--budget", "0.001"), 2, "0.05 to 50"),
        (("--model", "none.npz"), 2, "--model none.npz: No such file"),
        (("--model", "README.md"), 1, "no model file"),
        (("--config", "none.toml"), 2, "none.toml"),
    ],
)
def test_faults_are_reported_before_anything_is_evaluated(history, tmp_path, words, code, message):
    found = run(history, "--out", tmp_path / "page.html", *words)
    assert (found.code, found.out) == (code, "")
    assert message in found.err
    assert not (tmp_path / "page.html").exists()


def test_files_that_are_there_stay(history, tmp_path):
    out = tmp_path / "page.html"
    out.write_text("mine")
    found = run(history, "--out", out)
    assert found.code == 2
    assert "choose another name, or --force" in found.err
    assert out.read_text() == "mine"
    assert run(history, "--out", tmp_path / "no" / "page.html").code == 2
    assert run(tmp_path, "--out", tmp_path / "other.html").code == 1


def test_a_history_without_a_judged_reading_is_refused(tmp_path):
    with HistoryWriter(tmp_path / "h", 1) as writer:
        from scale.history import Landed, frame_of

        writer.commit(frame_of([Landed(recorded()[0], ("",) * 5, judged=False)]), b"")
    assert History(tmp_path / "h").buckets
    assert run(tmp_path / "h", "--out", tmp_path / "p.html", "--processes", 1).code == 1


def test_an_unreadable_state_is_reported(history, tmp_path):
    config = config_of(tmp_path)
    assert run(history, "--out", tmp_path / "p.html", "-c", config).code == 3
    (tmp_path / "plumewatch-data").mkdir()
    with closing(sqlite3.connect(tmp_path / "plumewatch-data" / "state.db")):
        pass
    found = run(history, "--out", tmp_path / "p.html", "-c", config)
    assert found.code == 3
