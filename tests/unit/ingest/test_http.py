"""Test HTTP ingest: every status, what is stored, and that 200 means durable."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
from dataclasses import replace

import httpx
import pytest

from alerts.secrets import Secret
from ingest.commit import GroupCommit
from ingest.decoding import Context
from ingest.http.server import HttpIngest, HttpIngestSettings
from ingest.http.sources import HttpSource
from ingest.intake import Intake, IntakeConfig, OutcomeKind
from ingest.validation import Message
from storage.errors import StorageUnavailableError
from storage.registry import Registry, Room, Sensor
from tests.support.halo import message as halo
from tests.support.waiting import until

NOW = 1_790_000_000.0
REGISTRY = Registry.build(
    [Room("r", "Room", "2", "North", "Site")],
    [
        Sensor("1C8259000001", "r", decoder="halo"),
        Sensor("b2", "r"),
        Sensor("b3", "r"),
        Sensor("JQ9E-R9CG-RF6X", "r", decoder="verkada"),
    ],
)
TOKENS = {"halo": "halo-token-000000", "native": "native-token-0000", "any": "generic-token-00"}
SOURCES = [
    HttpSource("halo", "halo", frozenset({"1C8259000001"}), Secret(TOKENS["halo"])),
    HttpSource(
        "diy",
        "native",
        frozenset({"b2"}),
        Secret(TOKENS["native"]),
        accepts_unregistered=True,
        rate_per_s=9e3,
        topic="plumewatch/v1/+/reading",
    ),
    HttpSource("any", "generic", frozenset({"b2", "b3"}), Secret(TOKENS["any"])),
    HttpSource("slow", "airgradient", token=Secret("air-token-0000000"), rate_per_s=0.1),
    HttpSource(
        "cloud", "verkada", frozenset({"JQ9E-R9CG-RF6X"}), signature=Secret("shared-secret-00")
    ),
    HttpSource(
        "both",
        "unifi",
        frozenset({"b3"}),
        token=Secret("unifi-token-00000"),
        signature=Secret("other-secret-000"),
    ),
]
PATIENT = HttpIngestSettings(body_s=60.0, commit_s=60.0, wrong_token_s=0.0, max_waiting=3)
QUICK = replace(PATIENT, body_s=0.2, commit_s=0.5)


class World:
    """HTTP ingest with a journal in memory that fails while `full` and hangs while `stalled`."""

    def __init__(self, settings=PATIENT):
        self.settings = settings
        self.full = False
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.readings = []
        self.letters = []
        self.now = NOW
        self.monotonic = 0.0
        self.intake = Intake(IntakeConfig(context=Context(registry=REGISTRY)))
        self.commits = GroupCommit(self.write, first_retry_s=0.001)
        self.ingest = self.ingest_with()

    def ingest_with(self, **options):
        clocks = {"clock": lambda: self.now, "monotonic": lambda: self.monotonic}
        return HttpIngest(SOURCES, self.intake, self.commits, self.settings, **clocks, **options)

    def become_patient(self):
        self.settings = PATIENT
        self.ingest = self.ingest_with()

    async def write(self, readings, letters):
        await self.go_on.wait()
        if self.full:
            raise StorageUnavailableError("disk full")
        self.readings += readings
        self.letters += letters

    def post(self, path, content=b"", *, token=None, headers=None, client="10.0.0.7"):
        headers = dict(headers or {})
        if token:
            headers["authorization"] = f"Bearer {token}"
        transport = httpx.ASGITransport(self.ingest.app, client=(client, 1))

        async def post():
            async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as http:
                return await http.post(path, content=content, headers=headers)

        return asyncio.create_task(post())

    async def native(self, seq=1, sensor="b2", **more):
        content = json.dumps({"time": self.now, "seq": seq, "pm25": 7.1}).encode()
        return await self.post(f"/ingest/native/{sensor}", content, token=TOKENS["native"], **more)


@contextlib.asynccontextmanager
async def opened(settings=PATIENT):
    world = World(settings)
    task = asyncio.create_task(world.commits.run())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.wait((task,))


@pytest.fixture
async def world():
    async with opened() as world:
        yield world


@pytest.fixture
async def hasty():
    """Return an HTTP ingest that waits neither for a body nor for the disk."""
    async with opened(QUICK) as world:
        yield world


async def test_accepted_then_duplicate(world):
    first = await world.post("/ingest/halo", halo(), token=TOKENS["halo"])
    assert (first.status_code, first.json()) == (200, {"outcome": "accepted", "readings": 1})
    (reading,) = world.readings
    assert reading.sensor == "1C8259000001"
    assert reading.time == NOW
    assert reading.events == ("vendor_vape",)
    again = await world.post("/ingest/halo?x=1", halo(), token=TOKENS["halo"])
    assert (again.status_code, again.json()["outcome"]) == (200, "duplicate")
    assert len(world.readings) == 1
    assert world.intake.counters["accepted", "", "halo"] == 1
    assert world.ingest.answers == {("halo", 200): 2}


async def test_sensor_from_the_path(world):
    assert (await world.native()).status_code == 200
    assert world.readings[0].sensor == "b2"
    plain = await world.post("/ingest/generic/b3", b"pm25=8.5", token=TOKENS["any"])
    assert plain.status_code == 200
    assert (world.readings[1].sensor, world.readings[1].values) == ("b3", {"pm25": 8.5})
    nobody = await world.post("/ingest/generic", b"pm25=8.5", token=TOKENS["any"])
    assert (nobody.status_code, nobody.json()["reason"]) == (422, "bad_id")
    assert nobody.json()["hint"].endswith("/ingest/generic/<sensor>")


@pytest.mark.parametrize(
    ("path", "content", "status", "reason"),
    [
        ("/ingest/generic/b2", b'{"pm25": ', 400, "malformed"),
        ("/ingest/generic/b2", b"{}", 422, "no_measurement"),
        ("/ingest/generic/b2", b"", 400, "malformed"),
        ("/ingest/generic/b2", b"[" * 100, 422, "too_deep"),
        ("/ingest/generic/b4", b'{"pm25": 1}', 403, "not_allowed"),
        ("/ingest/generic", b'{"sensor": "JQ9E-R9CG-RF6X", "pm25": 1}', 403, "not_allowed"),
        ("/ingest/generic/b2", b'{"sensor": "b3", "pm25": 1}', 403, "not_allowed"),
        ("/ingest/generic/b2", b'{"pm25": 1, "time": "2012-01-01T00:00:00Z"}', 422, "bad_time"),
    ],
)
async def test_refused_by_the_decoder_is_a_dead_letter(world, path, content, status, reason):
    answer = await world.post(path, content, token=TOKENS["any"])
    assert answer.status_code == status
    assert answer.json()["outcome"] == "rejected"
    assert answer.json()["reason"] == reason
    (letter,) = world.letters
    assert (letter.reason, letter.decoder, letter.payload) == (reason, "generic", content)
    assert letter.topic == f"POST {path} by any"
    assert world.readings == []
    assert world.intake.counters["rejected", reason, "generic"] == 1


async def test_an_unregistered_sensor_of_an_open_source_is_quarantined(world):
    assert (await world.native(sensor="new-1")).status_code == 200
    assert world.readings[0].flags == ("unknown_sensor",)
    assert "new-1" in world.intake.quarantine
    other = await world.native(sensor="b3")
    assert other.json()["reason"] == "not_allowed"


async def test_what_is_none_of_our_business_is_not_kept(world):
    body = halo(EID="Gunshot", SOURCE="GUN1", NAME="Office of J. Doe")
    answer = await world.post("/ingest/halo", body, token=TOKENS["halo"])
    assert (answer.status_code, answer.json()["reason"]) == (422, "no_measurement")
    (letter,) = world.letters
    assert (letter.payload, letter.size) == (b"", len(body))
    assert "Doe" not in repr(letter)


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({}, "a token is needed"),
        ({"authorization": "Bearer wrong-token-00000"}, "wrong token"),
        ({"authorization": f"Bearer {TOKENS['native']}"}, "wrong token"),
        ({"authorization": b"Basic \xe9"}, "wrong token"),
        ({"authorization": "Bearer " + "x" * 5_000}, "a token is needed"),
        ({"verkada-signature": "1790000000|" + "0" * 64}, "a token is needed"),
    ],
)
async def test_no_token_no_trace(world, headers, detail):
    answer = await world.post("/ingest/halo", halo(), headers=headers)
    assert answer.status_code == 401
    assert detail in answer.json()["detail"]
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert (world.readings, world.letters) == ([], [])
    assert sum(world.intake.counters.values()) == 0
    assert world.ingest.answers == {("", 401): 1}


async def test_guessing_makes_the_address_wait_and_no_other(world, caplog):
    caplog.set_level(logging.WARNING)
    guesses = [b"Bearer guess-number-%d" % k for k in range(6)] + [b"Basic \xe9"] * 6
    statuses = [
        (await world.post("/ingest/halo", halo(), headers={"authorization": guess})).status_code
        for guess in guesses
    ]
    assert statuses == [401] * 10 + [429] * 2
    locked = await world.post("/ingest/halo", halo(), token=TOKENS["halo"])
    assert locked.status_code == 429
    assert int(locked.headers["retry-after"]) == 60
    other = await world.post("/ingest/halo", halo(), token=TOKENS["halo"], client="10.0.0.8")
    assert other.status_code == 200
    world.monotonic = 61.0
    later = await world.post("/ingest/halo", halo(), token=TOKENS["halo"])
    assert later.status_code == 200
    output = [r.getMessage() for r in caplog.records]
    assert output == ["HTTP: wrong token or signature from 10.0.0.7"]


async def test_a_guesser_behind_the_same_router_silences_nobody(world):
    assert (await world.native(seq=1)).status_code == 200
    for k in range(30):
        await world.post("/ingest/halo", halo(), token=f"guess-number-{k}")
    assert (await world.native(seq=2)).status_code == 200


async def test_nothing_else_is_here(world):
    assert (await world.post("/ingest/tasmota", b"{}")).status_code == 404
    assert (await world.post("/")).status_code == 404
    assert (await world.post("/ingest/halo/x/y")).status_code == 404
    transport = httpx.ASGITransport(world.ingest.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as http:
        answer = await http.get("/ingest/halo")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["outcome"] == "refused"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json; charset=utf-8"}, 200),
        ({"content-type": "application/vnd.x+json"}, 200),
        ({"content-type": "application/x-www-form-urlencoded"}, 200),
        ({"content-type": "text/plain"}, 200),
        ({"content-encoding": "identity"}, 200),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-type": "image/png"}, 415),
        ({"content-encoding": "gzip"}, 415),
    ],
)
async def test_types(world, headers, status):
    assert (await world.native(headers=headers)).status_code == status
    assert len(world.readings) == (status == 200)


async def test_too_large_by_its_length_and_by_itself(world):
    token = TOKENS["native"]
    by_length = await world.post("/ingest/native/b2", b"7" * 65_537, token=token)

    async def drip():
        for _ in range(70):
            yield b"7" * 1_000

    by_itself = await world.post("/ingest/native/b2", drip(), token=token)
    assert (by_length.status_code, by_itself.status_code) == (413, 413)
    assert world.letters == []
    most = await world.post("/ingest/native/b2", b"7" * 65_536, token=token)
    assert most.json()["reason"] == "wrong_type"


async def test_a_body_that_does_not_come(hasty):
    async def stall():
        yield b"{"
        await asyncio.sleep(5)

    answer = await hasty.post("/ingest/native/b2", stall(), token=TOKENS["native"])
    assert answer.status_code == 408
    assert answer.headers["connection"] == "close"


async def test_rate_of_a_source(world, caplog):
    token = "air-token-0000000"
    answers = [await world.post("/ingest/airgradient/b9", b"{}", token=token) for _ in range(5)]
    assert [a.status_code for a in answers] == [422, 422, 429, 429, 429]
    assert answers[2].headers["retry-after"] == "20"
    assert (await world.native()).status_code == 200  # other senders do not wait
    world.monotonic = 20.0
    assert (await world.post("/ingest/airgradient/b9", b"{}", token=token)).status_code == 422
    assert sum("slow sends more than 0.1/s" in r.getMessage() for r in caplog.records) == 1


async def test_no_answer_before_it_is_durable(world):
    world.go_on.clear()
    first = world.native(seq=1)
    task = asyncio.create_task(first)
    await asyncio.sleep(0.02)
    again = asyncio.create_task(world.native(seq=1))
    await asyncio.sleep(0.02)
    assert not task.done()
    assert not again.done()  # a duplicate of a message that is not durable yet
    world.go_on.set()
    assert (await task).json()["outcome"] == "accepted"
    assert (await again).json()["outcome"] == "duplicate"
    assert len(world.readings) == 1


async def test_unknown_outcome_is_503_and_the_repetition_is_stored_once(hasty):
    hasty.go_on.clear()
    late = await hasty.native(seq=1)
    assert late.status_code == 503
    assert late.headers["retry-after"] == "5"
    hasty.go_on.set()
    hasty.become_patient()
    again = await hasty.native(seq=1)
    assert (again.status_code, again.json()["outcome"]) == (200, "duplicate")
    assert [r.seq for r in hasty.readings] == [1]


async def test_a_full_disk(hasty):
    hasty.full = True
    assert (await hasty.native(seq=1)).status_code == 503
    assert hasty.commits.failing == "disk full"
    refused = await hasty.native(seq=2)
    assert refused.status_code == 503
    assert "disk" in refused.json()["detail"]
    assert hasty.intake.counters["accepted", "", "native"] == 1  # the second was not accepted
    hasty.full = False
    hasty.become_patient()
    await until(lambda: not hasty.commits.failing)
    answers = [(await hasty.native(seq=k)).json()["outcome"] for k in (1, 2)]
    assert answers == ["duplicate", "accepted"]
    assert [r.seq for r in hasty.readings] == [1, 2]


async def test_too_many_waiting_are_held_back(hasty):
    hasty.go_on.clear()
    tasks = [asyncio.create_task(hasty.native(seq=k)) for k in range(6)]
    answers = await asyncio.gather(*tasks)
    assert [a.status_code for a in answers] == [503] * 6
    assert hasty.commits.waiting == QUICK.max_waiting
    assert hasty.intake.counters["accepted", "", "native"] == QUICK.max_waiting


async def test_stopping_answers_who_waits():
    async with opened() as world:
        world.go_on.clear()
        task = asyncio.create_task(world.native(seq=1))
        await asyncio.sleep(0.02)
    answer = await task
    assert answer.status_code == 503


async def test_what_came_over_mqtt_is_a_duplicate_here(world):
    world.go_on.clear()
    content = json.dumps({"time": NOW, "seq": 1, "pm25": 7.1}).encode()
    outcome = world.intake.on_message(Message("plumewatch/v1/b2/reading", content, NOW))
    assert outcome.kind is OutcomeKind.ACCEPTED
    over_mqtt = world.commits.enqueue(outcome.readings)
    task = asyncio.create_task(world.native(seq=1))
    await asyncio.sleep(0.02)
    assert not task.done()
    world.go_on.set()
    await over_mqtt
    assert (await task).json()["outcome"] == "duplicate"
    assert len(world.readings) == 1


def alert(**data):
    data = {
        "start_time": NOW - 2,
        "end_time": None,
        "most_extreme_value": 38.7,
        "reading": "vape_index",
        "device_serial": "JQ9E-R9CG-RF6X",
    } | data
    return json.dumps({"webhook_type": "sensor_alert", "data": data}).encode()


def signed(body, secret="shared-secret-00", at=NOW):  # noqa: S107 - made up
    stamp = str(int(at))
    digest = hmac.new(secret.encode(), body + b"|" + stamp.encode(), hashlib.sha256)
    return {"verkada-signature": f"{stamp}|{digest.hexdigest()}"}


async def test_signed_webhook(world):
    body = alert()
    answer = await world.post("/ingest/verkada", body, headers=signed(body))
    assert answer.status_code == 200
    (reading,) = world.readings
    assert (reading.sensor, reading.events) == ("JQ9E-R9CG-RF6X", ("vendor_vape",))
    assert reading.values == {"vape_index": 38.7}
    assert world.ingest.answers == {("cloud", 200): 1}


@pytest.mark.parametrize(
    "change",
    [
        {"secret": "another-secret-0"},
        {"at": NOW - 301},
        {"at": NOW + 301},
    ],
)
async def test_signature_that_does_not_count(world, change):
    body = alert()
    answer = await world.post("/ingest/verkada", body, headers=signed(body, **change))
    assert answer.status_code == 401
    assert (world.readings, world.letters) == ([], [])


async def test_a_replay_is_a_duplicate_even_without_a_time_of_its_own(world):
    rows = b'[{"device_serial": "JQ9E-R9CG-RF6X", "pm_2_5": 3.0}]'
    for _ in range(3):
        assert (await world.post("/ingest/verkada", rows, headers=signed(rows))).status_code == 200
    assert len(world.readings) == 1
    world.now = NOW + 1
    fresh = await world.post("/ingest/verkada", rows, headers=signed(rows, at=world.now))
    assert fresh.json()["outcome"] == "accepted"


async def test_token_and_signature_where_both_are_asked_for(world):
    body = b'{"mac": "b3", "airQuality": {"pm2p5": {"value": 4}}}'
    token = {"authorization": "Bearer unifi-token-00000"}
    sign = signed(body, "other-secret-000")
    statuses = [
        (await world.post("/ingest/unifi", body, headers=headers)).status_code
        for headers in (token, sign, token | sign)
    ]
    assert statuses == [401, 401, 200]


async def test_a_slash_at_the_end_is_no_redirect(world):
    answer = await world.post("/ingest/halo/", halo(), token=TOKENS["halo"])
    assert answer.status_code == 200
    assert (await world.post("/ingest/halo/x/", halo())).status_code == 404


async def test_what_authentic_senders_send_is_shown_while_the_disk_refuses(world):
    seen = []

    def on_unstored(message, decoder, permits):
        seen.append((message.payload, decoder, permits("b2", "b2")))

    world.ingest = world.ingest_with(on_unstored=on_unstored)
    world.full = True
    first = asyncio.create_task(world.native())
    await until(lambda: world.commits.failing)
    assert (await world.native(2)).status_code == 503
    assert (await world.post("/ingest/native/b2", b"{}", token="wrong")).status_code == 401
    assert [(json.loads(p)["seq"], decoder, may) for p, decoder, may in seen] == [
        (2, "native", True)
    ]
    assert world.commits.waiting == 1
    world.full = False
    assert (await first).status_code in (200, 503)
    await until(lambda: not world.commits.failing)
    assert (await world.native(2)).status_code == 200
    assert len(seen) == 1
