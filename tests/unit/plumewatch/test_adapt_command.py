"""``plumewatch adapt`` over a school's folder: tried, used, undone, and refused with a reason."""

import json
import time
from contextlib import closing

import msgspec
import pytest

from alerts.consumer.detection_consumer import DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents import adaptations
from alerts.incidents.incident import Verdict
from alerts.policy import AlertPolicy
from detection.model import Model
from ingest.validation import may_alert
from plumewatch.config.load import load
from plumewatch.service.data_folder import prepare_state, record_start
from storage import audit
from storage.sqlite import connect, transaction
from storage.timeseries.sqlite import SqliteSeries
from tests.support.command import plumewatch
from tests.support.plumes import START
from tests.support.school_year import config_text
from tests.unit.plumewatch.test_adaptation import APART_S, MODEL, cycle

PLUMES = 40


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Give a configuration whose sensor saw plumes of two kinds, and the function that answers."""
    monkeypatch.setattr(Model, "shipped", staticmethod(lambda: MODEL))
    path, data = tmp_path / "plumewatch.toml", tmp_path / "plumewatch-data"
    path.write_text(config_text(1))
    data.mkdir()
    config, ago = load(path), round(time.time()) - START - PLUMES * APART_S
    readings = [
        msgspec.structs.replace(r, sensor="pw-0", time=r.time + ago, received=r.received + ago)
        for k in range(PLUMES)
        for r in cycle(k, is_vaping=bool(k % 2))
    ]
    with closing(connect(data / "state.db")) as db, SqliteSeries(data / "series.db") as series:
        prepare_state(db)
        record_start(db, config, START + ago)
        engine = AlertEngine(config.registry(), AlertPolicy())
        consumer = DetectionConsumer(db, engine, may_alert)
        series.write(readings, len(readings))

        def answer(plumes):
            """Let the detector read so many plumes; then all alerts are answered rightly."""
            part = readings[: plumes * len(readings) // PLUMES]
            alerts = []
            for k in range(0, len(part), 20):
                batch = part[k : k + 20]
                alerts += consumer.process(batch, k + len(batch), now=batch[-1].received).alerts
            for alert in alerts:
                is_vaping = int((alert.alerted - ago - START) // APART_S) % 2
                found = (Verdict.CONFIRMED, "") if is_vaping else (Verdict.FALSE_ALARM, "spray")
                with transaction(db) as tx:
                    now = part[-1].received
                    engine.feedback(tx, alert.incident, "ap", found[0], now, cause=found[1])

        yield path, db, answer


def adapt(path, *options):
    return plumewatch("adapt", "--config", path, *options)


def test_too_few_answers_are_no_fault_but_cannot_be_applied(folder):
    path, db, answer = folder
    answer(4)
    tried = adapt(path)
    assert tried.code == 0
    assert "no adaptation yet" in tried.out
    assert "30 are needed" in tried.out
    refused = adapt(path, "--apply")
    assert refused.code != 0
    assert "30 are needed" in refused.err
    assert adaptations.active_number(db) is None


def test_a_better_adaptation_is_shown_then_used_then_undone_with_names(folder):
    path, db, answer = folder
    answer(PLUMES)
    shown = adapt(path, "--json")
    assert shown.code == 0, shown.err
    result = json.loads(shown.out.splitlines()[0])
    assert result["ready"], result
    assert result["false_gone"] > 0
    assert adaptations.active_number(db) is None, "it is only shown"
    used = adapt(path, "--apply", "--reason", "a new cleaning agent")
    assert used.code == 0, used.err
    assert adaptations.active_model(db, MODEL).version == f"{MODEL.version}+adapted-1"
    assert adapt(path, "--undo").code == 2, "a reason is needed"
    undone = adapt(path, "--undo", "--reason", "not on weekends")
    assert undone.code == 0, undone.err
    assert adaptations.active_number(db) is None
    listed = adapt(path, "--history").out
    assert "a new cleaning agent" in listed
    assert "not on weekends" in listed
    kinds = [entry.kind for entry in audit.entries(db)]
    assert kinds.count(audit.AuditKind.ADAPTATION) == 2
    assert adapt(path, "--undo", "--reason", "again").code != 0


def test_options_that_exclude_each_other_are_refused(folder):
    result = adapt(folder[0], "--apply", "--undo")
    assert result.code == 2
    assert "exclude each other" in result.err
