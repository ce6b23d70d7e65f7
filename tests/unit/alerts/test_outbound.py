"""Room states and webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import replace

import pytest

from alerts.engine import AlertEngine
from alerts.errors import NotifyReason, PermanentNotifyError, TransientNotifyError
from alerts.incidents import repository, silences
from alerts.incidents.incident_json import build_incident_json
from alerts.notify.notice import KIND_WORDS, Notice, NoticeReason
from alerts.outbound import webhooks
from alerts.outbound.room_states import (
    load_room_states,
)
from alerts.outbound.webhooks import (
    Webhooks,
    enqueue,
    find_secret_fault,
)
from alerts.policy import AlertPolicy, Webhook
from alerts.secrets import Secret, make_target_id
from detection.events import EventKind
from storage import sqlite
from tests.support import alert_records as stored
from tests.support.provider import Provider, answer

VAPE = KIND_WORDS["vape"]

NOW = 1_788_789_900.0
KEY = base64.b64encode(b"k" * 32).decode()
SECRET = Secret(f"whsec_{KEY}")
NASTY = "<b>&\x00]]>\u202e\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")


def hook(url="https://hooks.example/x", name="vms", kinds=()):
    return Webhook(name, Secret(url), SECRET, frozenset(kinds))


@pytest.fixture
def engine(registry, policy):
    return AlertEngine(registry, replace(policy, webhooks=(hook(),)))


@pytest.fixture
def db(database):
    connection = sqlite.connect(database)
    yield connection
    connection.close()


def happen(engine, db, event, now=NOW):
    with sqlite.transaction(db) as tx:
        return engine.on_events(tx, [event], now)


# room states


def test_a_room_is_clear_open_taken_and_clear_again(engine, db, registry, make_event):
    def state():
        return json.loads(load_room_states(db, registry)["n2-boys"])

    assert state()["state"] == "clear"
    (record,) = happen(engine, db, make_event(NOW - 5))
    assert state() == {
        "state": "open",
        "kinds": ["vape"],
        "id": record.incident,
        "kind": "vape",
        "status": "open",
        "severity": state()["severity"],
        "confidence": state()["confidence"],
        "onset": "2026-09-07T14:04:49+00:00",
        "room": {
            "id": "n2-boys",
            "name": "Boys N2",
            "floor": "2",
            "building": "North",
            "site": registry.rooms["n2-boys"].site_id,
            "site_name": registry.rooms["n2-boys"].site,
        },
    }
    with sqlite.transaction(db) as tx:
        engine.acknowledge(tx, record.incident, "ap", NOW)
    assert state()["state"] == "taken"
    happen(engine, db, make_event(NOW, kind=EventKind.TAMPER))
    both = state()
    assert (both["state"], both["kind"], both["kinds"]) == ("open", "tamper", ["tamper", "vape"])
    for incident in stored.incidents(db, "id"):
        with sqlite.transaction(db) as tx:
            engine.resolve(tx, incident, "ap", NOW)
    assert state()["state"] == "clear"
    assert set(load_room_states(db, registry)) == {"n2-boys", "n1-girls"}


def test_states_name_no_person_and_what_is_silenced_stays_inside(engine, db, registry, make_event):
    with sqlite.transaction(db) as tx:
        silences.add(
            tx,
            labels={"room": "n2-boys"},
            owner="ap",
            reason="paint",
            starts_at=NOW - 60,
            ends_at=NOW + 600,
            now=NOW - 60,
        )
    happen(engine, db, make_event(NOW - 5))
    assert json.loads(load_room_states(db, registry)["n2-boys"])["state"] == "clear"
    assert put_out(engine, db) == 0
    happen(engine, db, make_event(NOW - 5, sensor="s3"))
    (incident,) = stored.incidents(db, "id", paged=True)
    with sqlite.transaction(db) as tx:
        engine.acknowledge(tx, incident, "ap", NOW)
    states = "".join(load_room_states(db, registry).values())
    assert "ap" not in json.loads(load_room_states(db, registry)["n1-girls"]).values()
    assert "Principal" not in states


# what of webhooks goes into the outbox


def rows_of(db):
    return [
        (n.reason, n.person, json.loads(n.notice.text))
        for n in stored.notices(db)
        if n.person.startswith("webhook/")
    ]


def put_out(engine, db, now=NOW):
    with sqlite.transaction(db) as tx:
        return enqueue(tx, engine.policy, engine.registry, "North", now)


def test_every_change_is_put_out_once(engine, db, make_event):
    (record,) = happen(engine, db, make_event(NOW - 5))
    assert put_out(engine, db) == 1
    assert put_out(engine, db) == 0
    with sqlite.transaction(db) as tx:
        engine.acknowledge(tx, record.incident, "ap", NOW + 1)
        engine.acknowledge(tx, record.incident, "fm", NOW + 2)
        engine.resolve(tx, record.incident, "ap", NOW + 3)
    assert put_out(engine, db) == 2
    bodies = [json.loads(note["body"]) for _, _, note in rows_of(db)]
    assert [b["type"] for b in bodies] == [
        "incident.opened",
        "incident.acknowledged",
        "incident.resolved",
    ]
    assert bodies[0]["timestamp"] == "2026-09-07T14:04:55+00:00"
    data = bodies[0]["data"]
    row = db.execute("SELECT * FROM incident").fetchone()
    found = build_incident_json({**row, "status": "notified"}, engine.registry.rooms["n2-boys"])
    assert {**data, "status": "notified"}.items() >= found.items()
    assert len({note["id"] for _, _, note in rows_of(db)}) == 3
    assert "Principal" not in json.dumps(bodies)
    assert set(stored.notices(db, "person")) == {"ap", "webhook/vms"}


def test_only_the_kinds_that_are_wanted(registry, policy, db, make_event):
    hooks = (hook(name="a", kinds=("smoke",)), hook("https://b.example/", "b"))
    engine = AlertEngine(registry, replace(policy, webhooks=hooks))
    happen(engine, db, make_event(NOW - 5))
    put_out(engine, db)
    assert [person for _, person, _ in rows_of(db)] == ["webhook/b"]


def test_without_webhooks_nothing_piles_up(registry, policy, db, make_event):
    engine = AlertEngine(registry, policy)
    happen(engine, db, make_event(NOW - 5))
    assert put_out(engine, db) == 0
    assert repository.read_changes(db, webhooks.READER) == []


def test_rows_name_no_address_and_a_webhook_that_is_gone_is_not_called(engine, db, make_event):
    happen(engine, db, make_event(NOW - 5))
    put_out(engine, db)
    assert "hooks.example" not in "\n".join(db.iterdump())
    target = make_target_id(hook().url)
    assert engine.policy.find_target("webhook/vms", target) == hook().url
    assert replace(engine.policy, webhooks=()).find_target("webhook/vms", target) is None


# what webhooks send


@pytest.fixture
def provider():
    server = Provider()
    yield server
    server.close()


def changed(body='{"type": "incident.opened"}', number="msg_1"):
    note = json.dumps({"id": number, "body": body})
    return Notice("i", NoticeReason.CHANGED, "vape", "R", "", "", NOW, text=note)


async def send(url, notice=None, *, allow_private=True, clock=time.time):
    policy = AlertPolicy(webhooks=(hook(url),))
    hooks = Webhooks(policy, allow_private=allow_private, clock=clock)
    await hooks.send(Secret(url), notice or changed())


async def test_it_is_signed_by_the_standard(provider):
    await send(f"http://127.0.0.1:{provider.port}/in?x=1", clock=lambda: 1_614_265_330.7)
    path, headers, body = provider.requests[0]
    assert path == "/in?x=1"
    assert headers["webhook-id"] == "msg_1"
    assert headers["webhook-timestamp"] == "1614265330"
    mac = hmac.new(b"k" * 32, b"msg_1.1614265330." + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
    assert json.loads(body) == {"type": "incident.opened"}
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (204, None, None),
        (302, TransientNotifyError, NotifyReason.SERVER_ERROR),
        (401, TransientNotifyError, NotifyReason.SERVER_ERROR),
        (410, PermanentNotifyError, NotifyReason.REFUSED),
        (429, TransientNotifyError, NotifyReason.RATE_LIMITED),
        (503, TransientNotifyError, NotifyReason.SERVER_ERROR),
    ],
)
async def test_what_answers_mean(provider, status, error, reason):
    headers = [("Retry-After", "7"), ("Location", f"http://127.0.0.1:{provider.port}/other")]
    provider.answers = [answer(status, b"", headers)]
    url = f"http://127.0.0.1:{provider.port}/"
    if error is None:
        await send(url)
    else:
        with pytest.raises(error) as refused:
            await send(url)
        assert refused.value.reason is reason
        if error is TransientNotifyError:
            assert refused.value.retry_after_s == 7.0
        assert str(provider.port) not in str(refused.value)
    assert len(provider.requests) == 1  # no redirect is followed


async def test_a_header_cannot_be_injected(provider):
    with pytest.raises(PermanentNotifyError):
        await send(f"http://127.0.0.1:{provider.port}/", changed(number="a\r\nX-Evil: 1"))
    assert provider.requests == []


@pytest.mark.parametrize(
    ("secret", "fine"),
    [
        (f"whsec_{KEY}", True),
        (KEY, False),
        ("whsec_", False),
        ("whsec_!!!", False),
        ("whsec_" + base64.b64encode(b"x" * 23).decode(), False),
        ("whsec_" + base64.b64encode(b"x" * 65).decode(), False),
    ],
)
def test_signing_secrets(secret, fine):
    fault = find_secret_fault(secret)
    assert (fault == "") is fine
    assert KEY not in fault
