"""Compare the stand-ins for 2.x and 3 with recorded answers of a real 2.8.0 and 3 Core (3.7.0).

The tests compare status, error code and message for every recorded request that the stand-ins
support. `tests.unit.storage.test_influx_answers` tests the meaning of all recorded answers.
"""

import json
import re
import time
from pathlib import Path

import httpx
import pytest

from tests.support.fake_server import FakeServer
from tests.support.influx import Influxd
from tests.support.influx_standin import InfluxDb2, InfluxDb3

FOLDER = Path(__file__).parents[1] / "support/influx_exchanges"
UNKNOWN = {
    "2.8.0": {
        "ready", "write gzip", "write 1.x path", "write 60 MB", "Flux",
        "Flux that cannot be parsed", "task that cannot be parsed",
    },
    "3.7.0": {"SQL", "SQL as JSON lines", "query with username and password"},
}  # fmt: skip
"""Requests that the client never makes, or that were recorded without their body."""
STORED = {"SHOW MEASUREMENTS", "SHOW TAG VALUES", "SHOW FIELD KEYS"}
"""Requests that show which lines 2.8.0 stored from partly refused batches.

It stores no line if one cannot be parsed, and all other lines if one has a type conflict."""
OLD_PATHS = {"/write", "/api/v2/write"}
"""Requests to version 3 for which the client uses ``/api/v3/write_lp`` instead."""
MASKS = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"point \S+ at", "point P at"),
    (r"\b[0-9a-f]{16}\b", "ID"),
)


def exchanges(version):
    found = json.loads((FOLDER / f"{version}.json").read_text(encoding="utf-8"))
    old = OLD_PATHS if version[0] == "3" else set()
    return [e for e in found if e["name"] not in UNKNOWN[version] and e["path"] not in old]


def masked(text):
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text)
    return text


def outcome(name, status, headers, body):
    """Return the parts that identify a refusal, or the status and stored data of other answers."""
    if status < 300 and '"error"' not in body:
        return (status, body) if name in STORED else (status,)
    try:
        found = json.loads(body)
    except ValueError:
        found = body
    return status, headers.get("x-platform-error-code", ""), masked(json.dumps(found))


def token(name, made):
    if "without token" in name or name in ("ping", "ping head", "health", "ready"):
        return {}
    found = next((t for words, t in made.items() if words in name), "secret")
    return {"Authorization": f"Token {found}"}


@pytest.mark.parametrize(("version", "kind"), [("2.8.0", InfluxDb2), ("3.7.0", InfluxDb3)])
def test_it_answers_as_recorded(tmp_path, version, kind):
    made, shift = {"wrong token": "wrong"}, None
    with Influxd(tmp_path) as server, FakeServer(kind(server.url)) as stub:
        httpx.post(f"{server.url}/query", params={"q": 'DROP DATABASE "air"'}, timeout=60)
        ids = {}
        for exchange in exchanges(version):
            name = exchange["name"]
            if shift is None and (base := re.search(r"\b(17\d{8})\d{9}\b", exchange["body"])):
                shift = int(time.time()) - int(base[1])

            def now(text):
                for recorded, mine in ids.items():
                    text = text.replace(recorded, mine)
                return re.sub(
                    r"\b(1[78]\d{8})(\d{9})\b",
                    lambda m: f"{int(m[1]) + (shift or 0)}{m[2]}",  # noqa: B023
                    text,
                )

            answer = httpx.request(
                exchange["method"],
                stub.url + now(exchange["path"]),
                params={key: now(text) for key, text in exchange["query"].items()},
                headers=exchange["sent"] | token(name, made),
                content=now(exchange["body"]).encode(),
                timeout=30,
            )
            if version == "3.7.0" and name in STORED:
                continue  # data written through the old paths
            expected = outcome(
                name, exchange["status"], exchange["headers"], now(exchange["answer"])
            )
            found = outcome(name, answer.status_code, answer.headers, answer.text)
            assert found == expected, name
            if name in ("bucket made", "second bucket made"):
                ids[json.loads(exchange["answer"])["id"]] = answer.json()["id"]
            if name in ("read-only token made", "write-only token made"):
                made[f"may only {name.split('-')[0]}"] = answer.json()["token"]
                made["the token may not read"] = made["may only read"]
