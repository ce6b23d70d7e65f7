"""Test how recorded refusals of InfluxDB 1.6.7, 1.12.4, 2.8.0 and 3 Core are classified."""

import json
from pathlib import Path

import pytest

from storage.timeseries.influx_answers import Meaning, classify_answer, find_code, find_message

FOLDER = Path(__file__).parents[2] / "support/influx_exchanges"
RECORDED = [
    exchange | {"server": path.stem}
    for path in sorted(FOLDER.glob("*.json"))
    for exchange in json.loads(path.read_text(encoding="utf-8"))
]
MEANINGS = {
    "without token": Meaning.TOKEN,
    "with a wrong token": Meaning.TOKEN,
    "write with a token that may only read": Meaning.NO_WRITE,
    "with a token that may only read": Meaning.NO_RIGHT,
    "query with a token that may only write": Meaning.NO_DATABASE,
    "query of a policy whose bucket the token may not read": Meaning.NO_POLICY,
    "query a policy that is not there": Meaning.NO_POLICY,
    "query of a database that is not there": Meaning.NO_DATABASE,
    "organization not found": Meaning.NO_ORG,
    "write to another org": Meaning.NO_ORG,
    "write without org": Meaning.ORG_NOT_NAMED,
    "bucket not found": Meaning.NO_BUCKET,
    "write after it was removed": Meaning.NO_BUCKET,
    "made twice": Meaning.EXISTS,
    "onboarding twice": Meaning.EXISTS,
    "write older than the retention": Meaning.TOO_OLD,
    "write nothing": Meaning.EMPTY,
    "write an empty line": Meaning.EMPTY,
    "types in conflict": Meaning.CONTENT,
    "whose types conflict": Meaning.CONTENT,
    "cannot be parsed": Meaning.CONTENT,
    "write not finite": Meaning.CONTENT,
    "write 60 MB": Meaning.CONTENT,
    "write v3 partial": Meaning.CONTENT,
    "database with a bad name": Meaning.CONTENT,
    "InfluxQL DELETE": Meaning.OTHER,
    "InfluxQL CREATE DATABASE": Meaning.OTHER,
    "InfluxQL CREATE RETENTION POLICY": Meaning.OTHER,
    "InfluxQL SELECT INTO": Meaning.OTHER,
    "two statements": Meaning.OTHER,
    "bucket with too short retention": Meaning.OTHER,
}
"""Expected meaning of each refusal, by the end of the request's name."""
OF_ONE_SERVER = {
    ("1.6.7", "write to a bucket that is not there"): Meaning.NO_DATABASE,
    ("1.12.4", "write to a bucket that is not there"): Meaning.NO_DATABASE,
    ("2.8.0", "write to a bucket that is not there"): Meaning.NO_BUCKET,
    ("1.12.4", "InfluxQL DELETE"): Meaning.CONTENT,  # contains a keyword, status 400
    ("3.7.0", "query that cannot be parsed"): Meaning.OTHER,  # 500
}
NO_JSON = {"query as CSV", "chunked", "Flux"}
AIMLESS = {"ping", "ping head", "health", "ready"}
"""Requests that version 3 refuses without a token (401) or for an unknown path (404)."""


def expected(server, name):
    if (server, name) in OF_ONE_SERVER:
        return OF_ONE_SERVER[server, name]
    ends = [words for words in MEANINGS if name.endswith(words)]
    return MEANINGS[max(ends, key=len)]


@pytest.mark.parametrize(
    "exchange",
    [exchange for exchange in RECORDED if exchange["name"] not in AIMLESS],
    ids=lambda exchange: f"{exchange['server']} {exchange['name']}",
)
def test_a_recorded_answer(exchange):
    message = find_message(exchange["answer"].encode())
    code = find_code(exchange["answer"].encode())
    assert code or exchange["server"] != "2.8.0" or exchange["status"] < 300
    meaning = classify_answer(exchange["status"], message, code)
    if exchange["status"] >= 300 or '"error"' in exchange["answer"]:
        assert meaning == expected(exchange["server"], exchange["name"])
    elif exchange["name"] not in NO_JSON:
        assert meaning is None
