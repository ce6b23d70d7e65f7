"""Incidents reach a Grafana by themselves, once, and never at the cost of an alert."""

import time

import pytest

from alerts.incidents.incident import Verdict
from alerts.outbound.grafana_annotations import Annotator, incident_annotations
from dashboards.grafana import Grafana
from plumewatch.config.faults import ConfigError
from plumewatch.config.load import parse
from plumewatch.config.settings import check_settings
from storage.sqlite import transaction
from tests.support import alert_records as stored
from tests.support.fake_grafana import TOKEN, FakeGrafana
from tests.support.in_process import running, state_database, store, until
from tests.support.influx import FakeServer
from tests.support.plumes import readings_of_puff


@pytest.fixture
def grafana():
    fake = FakeGrafana()
    with FakeServer(fake.answer) as server:
        fake.url = f"{server.url}/grafana/"
        yield fake


@pytest.fixture
def annotated(config, grafana, tmp_path, monkeypatch):
    """A configuration whose incidents go to the Grafana, without the pauses of production."""
    monkeypatch.setattr(
        Annotator.__init__, "__kwdefaults__", {"first_pause_s": 0.05, "pace_s": 0.01}
    )
    (tmp_path / "token").write_text(TOKEN)
    outbound = {"grafana": {"token_file": str(tmp_path / "token")}}
    raw = config.model_dump(mode="json", by_alias=True) | {"outbound": outbound}
    raw["web"] |= {"grafana_url": grafana.url}
    return parse(raw, base=tmp_path)


async def test_incidents_are_annotated_and_brought_up_to_date(annotated, grafana):
    async with running(annotated) as service:
        await store(service, readings_of_puff(start=time.time() - 300))
        await until(lambda: grafana.annotations)
        (first,) = grafana.annotations.values()
        (incident,) = [t.partition(":")[2] for t in first["tags"] if t.startswith("incident:")]
        assert f"/incidents/{incident}" in first["text"]
        assert "(no feedback)" in first["text"]
        with state_database(service) as db, transaction(db) as tx:
            stored.change_incidents(tx, incident, verdict=Verdict.CONFIRMED)
        service.alerting.changes.notify()
        await until(lambda: "(confirmed)" in grafana.annotations[1]["text"])
        await until(lambda: service.alerting.annotation_counters.annotations_waiting == 0)
        assert service.alerting.annotation_counters.annotations >= 2
        assert len(grafana.annotations) == 1
        rooms, url = annotated.registry().rooms, annotated.web.url
        with state_database(service) as db, transaction(db) as tx:
            found = incident_annotations(tx, rooms, url, 0.0)
    grafana.writes.clear()
    server = Grafana(grafana.url, TOKEN)  # as `dashboards push` does beside it
    assert [c.outcome for c in server.annotate(found, 0.0, time.time())] == ["unchanged"]
    async with running(annotated) as service:  # and a service that begins anew
        await until(lambda: service.alerting.changes.count >= 0 and service.ready.is_set())
        service.alerting.changes.notify()
        await service.monitoring.maintenance.measure()
        assert grafana.writes == []


async def test_a_grafana_that_is_away_delays_nothing_and_gets_all_of_it(annotated, grafana, caplog):
    grafana.status = 500
    async with running(annotated) as service:
        await store(service, readings_of_puff(start=time.time() - 300))
        await until(lambda: service.alerting.notifier.sent)
        await until(lambda: service.alerting.annotation_counters.annotation_failures >= 3)
        counters = service.monitoring.pipeline().counters
        assert counters["failing: annotations"] == 1
        assert counters["Incidents not written into the Grafana yet"] == 1
        assert service.monitoring.health.ready() is False  # there is no broker
        assert [p.name for p in service.monitoring.health.parts() if not p.ok] == [
            "broker",
            "canary",
        ]
        assert caplog.text.count("incidents are not annotated") == 1
    assert grafana.annotations == {}
    grafana.status = 200
    async with running(annotated) as service:
        await until(
            lambda: grafana.annotations and service.alerting.annotation_counters.annotations
        )
        assert service.alerting.annotation_counters.annotations_failing == ""
    assert len(grafana.annotations) == 1
    assert TOKEN not in caplog.text


async def test_what_was_written_before_a_crash_is_found(annotated, grafana):
    async with running(annotated) as service:
        await store(service, readings_of_puff(start=time.time() - 300))
        await until(lambda: service.alerting.annotation_counters.annotations)
        with state_database(service) as db, transaction(db) as tx:
            tx.execute("DELETE FROM annotation")  # as if neither was stored
            tx.execute("DELETE FROM change_cursor WHERE reader = 'annotations'")
        service.alerting.changes.notify()
        await until(lambda: service.alerting.annotation_counters.annotations == 2)
    assert len(grafana.annotations) == 1


def opened(service, *incidents):
    """Put incidents into the state, one after another, and say so."""
    start = time.time() - 600.0
    with state_database(service) as db, transaction(db) as tx:
        for k, incident in enumerate(incidents):
            due = {"suppressed_by": "silence", "resolve_due": 1e11}
            stored.add_incident(tx, id=incident, room=incident, onset=start + k, **due)
    service.alerting.changes.notify()


def written(grafana):
    """Incidents that the Grafana has, in the order of their coming."""
    return [
        tag.removeprefix("incident:")
        for one in grafana.annotations.values()
        for tag in one["tags"]
        if tag.startswith("incident:")
    ]


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
async def test_what_is_refused_for_good_is_set_aside_and_the_others_go_on(
    annotated, grafana, caplog, status
):
    grafana.refused["i2"] = status, f"bad text, said Bearer {TOKEN}"
    async with running(annotated) as service:
        opened(service, "i1", "i2", "i3")
        await until(lambda: service.alerting.annotation_counters.annotations == 2)
        await until(lambda: service.alerting.annotation_counters.annotations_set_aside == 1)
        assert written(grafana) == ["i1", "i3"]
        counters = service.monitoring.pipeline().counters
        assert counters["Incidents not written into the Grafana yet"] == 0
        assert counters["Incidents whose last annotation it refused, until they change"] == 1
        assert counters["Attempts to annotate that failed"] == 0
        assert "failing: annotations" not in counters
        exposed = service.monitoring.meters.exposition()
        assert "plumewatch_annotations_refused_total 1" in exposed
        assert "plumewatch_annotations_set_aside 1" in exposed
    logged = f"annotation of incident i2: refused ({grafana.url}: bad text, said Bearer ****)"
    assert caplog.text.count(logged) == 1
    assert TOKEN not in caplog.text
    grafana.writes.clear()
    async with running(annotated) as service:  # a service that begins anew knows
        await until(lambda: service.alerting.annotation_counters.annotations_set_aside == 1)
        opened(service, "i4")
        await until(lambda: service.alerting.annotation_counters.annotations == 1)
        assert len(grafana.writes) == 1
        assert service.alerting.annotation_counters.annotations_refused == 0
        del grafana.refused["i2"]
        with state_database(service) as db, transaction(db) as tx:
            stored.change_incidents(tx, "i2", verdict=Verdict.CONFIRMED)
        service.alerting.changes.notify()
        await until(lambda: service.alerting.annotation_counters.annotations == 2)
        await until(lambda: service.alerting.annotation_counters.annotations_set_aside == 0)
    assert written(grafana) == ["i1", "i3", "i4", "i2"]


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 503])
async def test_what_it_may_take_later_is_waited_for_in_order(annotated, grafana, caplog, status):
    grafana.refused |= {"i1": (400, "bad text"), "i3": (status, "not now")}
    async with running(annotated) as service:
        opened(service, "i1", "i2", "i3", "i4")
        await until(lambda: service.alerting.annotation_counters.annotation_failures >= 3)
        assert written(grafana) == ["i2"]
        assert service.alerting.annotation_counters.annotations_failing
        assert service.alerting.annotation_counters.annotations_waiting == 2
        del grafana.refused["i3"]
        await until(lambda: service.alerting.annotation_counters.annotations == 3)
        assert written(grafana) == ["i2", "i3", "i4"]
        assert service.alerting.annotation_counters.annotations_refused == 1
    assert caplog.text.count("annotation of incident i1: refused") == 1


@pytest.mark.parametrize(
    ("outbound", "sentence"),
    [
        ({"url": "http://127.0.0.1:3000"}, "needs token_file or token_env"),
        ({"token_file": "nowhere"}, r"\[outbound\.grafana\] token_file"),
        ({"token_file": "token"}, "needs url, or web.grafana_url"),
        ({"token_file": "token", "url": "http://me:pw@h"}, "no name and password"),
    ],
)
def test_faults_are_reported_at_start(config, tmp_path, outbound, sentence):
    (tmp_path / "token").write_text(TOKEN)
    raw = config.model_dump(mode="json", by_alias=True) | {"outbound": {"grafana": outbound}}
    with pytest.raises(ConfigError, match=sentence) as caught:
        check_settings(parse(raw, base=tmp_path))
    assert TOKEN not in str(caught.value)
