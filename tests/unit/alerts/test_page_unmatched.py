"""Test the list of unmatched topics on the sensors page."""

import json
from functools import partial

import pytest

from alerts.page.settings import PipelineStatus
from ingest.intake import Intake
from ingest.validation import Message
from tests.unit.alerts.test_page import NOW

NASTY = "</pre><script>alert(1)</script>\u202e"


@pytest.fixture
def start(open_page):
    intake = Intake()
    payload = json.dumps({"pm25": 7, NASTY: NASTY}).encode()
    intake.on_message(Message("site/<b>7/state", payload, NOW - 60))
    intake.on_message(Message("void/1", b"\x00\x01\xff", NOW - 10))
    intake.on_message(Message("w" * 900, b"?", NOW - 8))
    unmatched = [*reversed(intake.unmatched.values())]
    return partial(open_page, pipeline=lambda: PipelineStatus(unmatched=unmatched))


@pytest.mark.parametrize(("person", "shown"), [("fm", True), ("ap", False)])
async def test_the_sensors_page_lists_them_newest_first_with_their_last_message(
    start, person, shown
):
    page = start()
    await page.sign_in(person)
    text = (await page.client.get("/sensors")).text
    assert "site/&lt;b&gt;7/state" in text
    assert "w" * 79 + "…</th>" in text
    assert text.index("void/1") < text.index("site/&lt;b")
    assert ("&lt;/pre&gt;&lt;script&gt;" in text) == shown
    assert "\u202e" not in text


async def test_nothing_is_shown_where_nothing_is_unread(start):
    text = (await start(pipeline=PipelineStatus).client.get("/sensors")).text
    assert "<h2>Unknown formats" not in text
