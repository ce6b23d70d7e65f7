"""Fixtures for tests of commands."""

from __future__ import annotations

from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from alerts.consumer.detection_consumer import DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents.incident import Verdict
from alerts.policy import AlertPolicy
from ingest.validation import may_alert
from plumewatch.cli.main import app
from plumewatch.config.load import load
from plumewatch.service.data_folder import prepare_state, record_start
from storage.sqlite import connect, transaction
from storage.timeseries.sqlite import SqliteSeries
from tests.support.in_process import one_room
from tests.support.plumes import START, readings_of_puff
from tests.support.school_year import config_text

NOW = START + 86_400.0
NOTE = "=cmd <b>\u202eloud</b>"


@pytest.fixture
def config(tmp_path):
    return one_room(tmp_path)


@pytest.fixture
def site(tmp_path):
    """Return a site with one incident from the production path, answered by staff."""
    with one_incident(tmp_path) as made:
        yield made


@contextmanager
def one_incident(folder):
    path = folder / "plumewatch.toml"
    path.write_text(config_text(1, names=lambda _: "Boys <#1> room"))
    config = load(path)
    data = folder / "plumewatch-data"
    data.mkdir()
    readings = readings_of_puff("pw-0")
    with closing(connect(data / "state.db")) as db, SqliteSeries(data / "series.db") as series:
        prepare_state(db)
        record_start(db, config, START)
        engine = AlertEngine(config.build_registry(), AlertPolicy())
        consumer = DetectionConsumer(db, engine, may_alert)
        found = []
        for k in range(0, len(readings), 7):
            batch = readings[k : k + 7]
            found += consumer.process(batch, k + len(batch), now=batch[-1].received).alerts
        series.write(readings, len(readings))
        (alert,) = found
        with transaction(db) as tx:
            engine.acknowledge(tx, alert.incident, "ap", alert.alerted + 40, channel="ntfy")
            engine.record_feedback(
                tx, alert.incident, "ap", Verdict.CONFIRMED, alert.alerted + 90, cause="", note=NOTE
            )
        yield SimpleNamespace(path=path, id=alert.incident, db=db, readings=readings, config=config)


@pytest.fixture
def call():
    def call(*arguments, **more):
        result = CliRunner().invoke(app, list(map(str, arguments)), **more)
        assert result.exception is None or isinstance(result.exception, SystemExit), (
            result.exception
        )
        return result

    return call
