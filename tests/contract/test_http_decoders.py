"""Test that HTTP decoders read the same over HTTP as in their golden cases."""

import asyncio
from zoneinfo import ZoneInfo

import httpx
import pytest

from alerts.secrets import Secret
from ingest.commit import GroupCommit
from ingest.decoders import DECODERS, HTTP_DECODERS
from ingest.decoding import Context
from ingest.http.server import HttpIngest
from ingest.http.sources import HttpSource
from ingest.intake import Intake, IntakeConfig
from ingest.topics import matches_topic
from tests.contract.test_decoders import RECEIVED, load, payload_of

TOKEN = "token-of-every-source"


def place_of(name):
    topics = DECODERS[name].topics
    return topics[0] if topics else "+"


def alone(name, case):
    """Return whether a case is one accepted message from one device, on its readings topic."""
    if DECODERS[name].topics and not matches_topic(place_of(name), case["topic"]):
        return False
    sensors = {reading["sensor"].split(":")[0] for reading in case.get("readings", ())}
    return len(sensors) == 1 and not case.get("before") and not case.get("retained")


CASES = [(name, case) for name in sorted(HTTP_DECODERS) for case in load(name) if alone(name, case)]


def test_every_decoder_has_a_case():
    assert {name for name, _ in CASES} == HTTP_DECODERS


@pytest.mark.parametrize(
    ("name", "case"), CASES, ids=[f"{name}: {case['case']}" for name, case in CASES]
)
async def test_posted(name, case):
    kept = []

    async def write(readings, _letters):
        kept.extend(readings)

    source = HttpSource(
        "all", name, token=Secret(TOKEN), accepts_unregistered=True, topic=place_of(name)
    )
    context = Context(zone=ZoneInfo(case.get("zone", "UTC")))
    commits = GroupCommit(write)
    ingest = HttpIngest(
        [source],
        Intake(IntakeConfig(context=context)),
        commits,
        clock=lambda: case.get("received", RECEIVED),
    )
    task = asyncio.create_task(commits.run())
    sensor = case["readings"][0]["sensor"]
    transport = httpx.ASGITransport(ingest.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as http:
        answer = await http.post(
            f"/ingest/{name}/{sensor}",
            content=payload_of(case),
            headers={"authorization": f"Bearer {TOKEN}"},
        )
    task.cancel()
    await asyncio.wait((task,))
    assert (answer.status_code, answer.json()["readings"]) == (200, len(case["readings"]))
    assert [(r.sensor, r.values, list(r.events)) for r in kept] == [
        (r["sensor"], pytest.approx(r.get("values", {})), r.get("events", []))
        for r in case["readings"]
    ]
