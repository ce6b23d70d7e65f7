"""Test readiness by part, what is visible without a token, and that metrics name nobody."""

from types import SimpleNamespace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from alerts.secrets import Secret
from plumewatch.service.alerting import Deliveries
from plumewatch.service.health import MAX_LAG_S, SAMPLES, STALLED_S, HealthPages
from plumewatch.service.meters import read_histogram
from storage.reading import Reading
from tests.support.health_parts import NOW, Parts
from tests.support.memory import assert_bounded


@pytest.fixture
def parts(tmp_path):
    return Parts(tmp_path)


def test_all_well(parts):
    assert parts.failing() == []
    assert parts.health.is_ready()
    names = [part.name for part in parts.health.check_parts()]
    assert names == ["broker", "canary", "clocks", "journal", "detector", "store"]


def test_a_subscription_that_is_refused(parts):
    parts.state.refused_topics = ("plumewatch/v1/+/reading",)
    assert parts.failing() == [("broker", "refuses plumewatch/v1/+/reading")]


def test_a_canary_that_is_missing(parts):
    parts.monotonic += 29
    parts.detection.beat = parts.monotonic
    assert parts.health.is_ready()
    parts.monotonic += 2
    parts.detection.beat = parts.monotonic
    assert parts.failing() == [("canary", "last returned 31 s ago (round trip 0.020 s)")]


def test_a_disk_that_refuses(parts):
    parts.commits.failing = "disk is full"
    parts.retrying.failing["incidents"] = "locked"
    assert parts.failing() == [("journal", "incidents: locked; journal: disk is full")]


def reading(sensor, flags=()):
    return Reading(sensor, NOW, NOW, {"pm25": 4.0}, flags=flags)


def test_a_clock_that_makes_everything_late(parts):
    """Late readings never alert, so the service must report if all of them are late."""
    tally, sensors = parts.intake.reading_counts, ("a", "b", "c")

    def minute(*late):
        for sensor in sensors:
            tally.add(reading(sensor, ("late",) if sensor in late else ()))
        parts.health.lateness.sample(sensors, tally)

    for _ in range(SAMPLES):
        minute("a", "b", "c")
    assert parts.failing() == []  # they could be the backlog of an outage
    minute("a", "b", "c")
    ((name, says),) = parts.failing()
    assert name == "clocks"
    assert says.startswith("3 of 3 sensors")
    minute("a")
    assert parts.failing() == []  # two sensors had a reading in time
    for _ in range(SAMPLES):
        minute("a")
    assert parts.failing() == []  # one late sensor is not enough


def test_lag(parts):
    parts.lag = (400, MAX_LAG_S - 1)
    assert parts.health.is_ready()
    parts.lag = (400, MAX_LAG_S + 1)
    assert parts.failing() == [("detector", "400 readings, 31.0 s behind")]


def test_a_detector_that_hangs(parts):
    parts.source.canary = None
    parts.monotonic += STALLED_S
    assert parts.health.is_moving()
    parts.monotonic += 1
    assert not parts.health.is_moving()
    assert [name for name, _ in parts.failing()] == ["detector"]


def beat(parts, seconds):
    """Advance the time in steps, with a working detector."""
    moves = True
    for _ in range(int(seconds / 5)):
        parts.monotonic += 5
        parts.detection.beat = parts.monotonic
        moves = parts.health.is_moving()
    return moves


def test_commits_that_hang(parts):
    parts.commits.waiting = 3
    assert beat(parts, STALLED_S)
    assert not beat(parts, 10)


def test_a_disk_that_refuses_needs_no_restart(parts):
    parts.commits.waiting, parts.commits.failing = 3, "disk is full"
    assert beat(parts, 10 * STALLED_S)


def test_queue_near_its_limit(parts):
    assert not parts.health.is_queue_near_limit()
    parts.state.broker_stored = 799
    assert not parts.health.is_queue_near_limit()
    parts.state.broker_stored = 800
    assert parts.health.is_queue_near_limit()


def outcome(error=None, *, final=False, incident="i"):
    return SimpleNamespace(error=error, final=final, incident=incident)


def test_from_reading_to_notice():
    deliveries = Deliveries()
    deliveries.on_alert(SimpleNamespace(incident="i"), NOW)
    deliveries.on_alert(SimpleNamespace(incident="i"), NOW + 50)  # only the first one counts
    deliveries.on_delivery(outcome("timeout"), NOW + 1)
    deliveries.on_delivery(outcome(), NOW + 3)
    deliveries.on_delivery(outcome(), NOW + 9)  # to a second person
    deliveries.on_delivery(outcome("gone", final=True, incident="other"), NOW + 9)
    waits = read_histogram(deliveries.latency)
    assert (waits["count"], waits["sum"]) == (1, 3.0)
    assert deliveries.outcomes == {"retried": 1, "sent": 2, "failed": 1}


def test_alerts_whose_notices_never_arrive_take_no_memory():
    deliveries = Deliveries()
    alert = SimpleNamespace
    assert_bounded(deliveries, 2500, lambda k: deliveries.on_alert(alert(incident=str(k)), NOW))


# ---- over HTTP


def client(parts, *, token=None, on_loopback=True, base="http://127.0.0.1:8420"):
    async def inner(scope, receive, send):
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"page"})

    app = HealthPages(inner, parts.health, parts.meters, token, on_loopback=on_loopback)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base)


async def test_pages(parts):
    async with client(parts) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        answer = await http.get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["parts"]["store"] == {"ok": True, "detail": "written"}
        assert (await http.get("/sensors")).status_code == 299
        assert (await http.post("/metrics")).status_code == 405
        parts.writer.state.failing = "no route to db.internal"
        answer = await http.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["status"] == "not ready"
        assert (await http.get("/healthz")).status_code == 200


async def test_metrics(parts):
    parts.intake.counters["rejected", "bad_json", "native"] = 3
    parts.state.received = 7
    refused = Reading("s1", NOW, NOW, {"pm25": 4.0}, flags=("unread",))
    parts.intake.reading_counts.add(refused)
    async with client(parts) as http:
        answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answer.text))
    values = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
    assert (
        values.items()
        >= {
            ("plumewatch_messages_received_total",): 7,
            ("plumewatch_messages_total", "native", "rejected", "bad_json"): 3,
            ("plumewatch_dead_letters", "bad_json"): 2,
            ("plumewatch_readings_total", "unread"): 1,
            ("plumewatch_model_info", "plume-2"): 1,
            ("plumewatch_ready", "canary"): 1,
            ("plumewatch_journal_lag_readings", "detector"): 0,
            ("plumewatch_journal_bytes",): 4096,
            ("plumewatch_broker_dropped_messages_total",): 0,
            ("plumewatch_reading_to_notice_seconds_count",): 0,
        }.items()
    )
    assert all(family.name.startswith("plumewatch_") for family in families)


@pytest.mark.parametrize(
    ("options", "headers", "allowed"),
    [
        ({}, {}, True),
        ({"base": "http://localhost:8420"}, {}, True),
        ({"base": "http://[::1]:8420"}, {}, True),
        ({"base": "http://rebound.example:8420"}, {}, False),
        ({}, {"x-forwarded-for": "10.0.0.9"}, False),
        ({}, {"forwarded": "for=10.0.0.9"}, False),
        ({"on_loopback": False}, {}, False),
        ({"on_loopback": False}, {"authorization": "Bearer swordfish"}, True),
        ({"on_loopback": False}, {"authorization": "bearer swordfish"}, True),
        ({"on_loopback": False}, {"authorization": "Bearer other"}, False),
        ({"on_loopback": False}, {"authorization": "Bearer \xe9"}, False),
        ({"on_loopback": False}, {"authorization": "swordfish"}, False),
        ({"base": "http://pw.example"}, {"authorization": "Bearer swordfish"}, True),
    ],
)
async def test_who_may_see_numbers(parts, options, headers, allowed):
    parts.writer.state.failing = "no route to db.internal"
    raw = [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
    async with client(parts, token=Secret("swordfish"), **options) as http:
        metrics = await http.get("/metrics", headers=raw)
        ready = await http.get("/readyz", headers=raw)
    assert metrics.status_code == (200 if allowed else 401)
    assert ready.status_code == 503
    assert ("db.internal" in ready.text) == allowed
    assert ready.json()["parts"]["store"]["ok"] is False


async def test_without_a_token_no_token_opens(parts):
    async with client(parts, on_loopback=False) as http:
        answer = await http.get("/metrics", headers={"authorization": "Bearer "})
    assert answer.status_code == 401
