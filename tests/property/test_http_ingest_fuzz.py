"""Test that HTTP ingest answers every request, and never with 500."""

import asyncio
import base64
import json
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.secrets import Secret
from ingest.commit import GroupCommit
from ingest.decoders import DECODERS
from ingest.http.server import HttpIngest, HttpIngestSettings
from ingest.http.sources import HttpSource
from ingest.intake import Intake

pytestmark = pytest.mark.attack

TOKEN = "token-of-the-fuzzer"
SOURCES = [
    HttpSource("v", "verkada", signature=Secret("secret-of-the-fuzzer"), rate_per_s=1e9),
    *(
        HttpSource(name, name, token=Secret(TOKEN), accepts_unregistered=True, rate_per_s=1e9)
        for name in DECODERS
        if name != "verkada"
    ),
]
ANSWERS = {200, 400, 401, 403, 404, 413, 415, 422, 429}

printable = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)
header = printable | st.sampled_from(
    [
        f"Bearer {TOKEN}",
        "Basic " + base64.b64encode(f"g:{TOKEN}".encode()).decode(),
        "Basic " + base64.b64encode(b"\xff").decode(),
        "application/json",
        "1790000000|" + "0" * 64,
        "99999999999999999999",
    ]
)
headers = st.dictionaries(
    st.sampled_from(
        [
            "authorization",
            "content-type",
            "content-encoding",
            "verkada-signature",
            "x-forwarded-for",
        ]
    ),
    header,
)
level = st.sampled_from([*DECODERS, "b2"]) | st.text(max_size=30)
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
body = (
    st.binary(max_size=300)
    | st.recursive(plain, lambda x: st.lists(x) | st.dictionaries(st.text(), x)).map(
        lambda value: json.dumps(value).encode()
    )
    | st.sampled_from([b"7" * 70_000, b"[" * 60_000, b'{"pm25": 1e999}', b'{"pm25": 7}'])
    | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
)


async def post(path, headers, body):
    letters = []

    async def write(_readings, more):
        letters.extend(more)

    commits = GroupCommit(write)
    ingest = HttpIngest(SOURCES, Intake(), commits, HttpIngestSettings(wrong_token_s=0.0))
    task = asyncio.create_task(commits.run())
    scope_headers = [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
    transport = httpx.ASGITransport(ingest.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as http:
        request = http.build_request("POST", path, content=body)
        request.headers = httpx.Headers([*request.headers.raw, *scope_headers])
        answer = await http.send(request)
    task.cancel()
    await asyncio.wait((task,))
    return answer, letters


@settings(max_examples=300)
@given(st.lists(level, min_size=1, max_size=3), headers, body, st.booleans())
def test_always_an_answer(levels, headers, body, known):
    """Every decoder gets requests with and without its source's token."""
    if known:
        headers |= {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    path = "/ingest/" + "/".join(quote(text, safe="", errors="replace") for text in levels)
    answer, letters = asyncio.run(post(path, headers, body))
    assert answer.status_code in ANSWERS
    assert answer.json()["outcome"] in {"accepted", "duplicate", "rejected", "refused"}
    assert TOKEN not in answer.text
    for letter in letters:
        assert letter.topic.isprintable()
        assert letter.reason != "decoder_failed"
