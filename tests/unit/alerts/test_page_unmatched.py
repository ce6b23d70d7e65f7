"""The page that suggests a mapping for a topic that nothing reads."""

import json
import re
from functools import partial
from html import unescape

import pytest

from alerts.page.settings import PipelineStatus
from ingest.intake import Intake, IntakeConfig
from ingest.validation import Message
from plumewatch.service.monitoring import suggestion_for, unmatched_topics
from tests.unit.alerts.test_page import NOW

TOPIC = "site/<b>7/state"
NASTY = "</textarea><script>alert(1)</script>\u202e"


@pytest.fixture
def intake():
    intake = Intake(IntakeConfig(sample_bytes=400))
    payload = json.dumps({"pm25": 7, NASTY: NASTY}).encode()
    intake.on_message(Message(TOPIC, payload, NOW - 60))
    intake.on_message(Message(TOPIC, payload, NOW - 30))
    intake.on_message(Message("door/1", b'{"wifi": -5, "rco2": 600}', NOW - 20))
    intake.on_message(Message("void/1", b"\x00\x01\xff", NOW - 10))
    intake.on_message(Message("w" * 900, b"?", NOW - 8))
    intake.on_message(Message("long/1", b'{"pm25": 7, "x": "' + b"y" * 900 + b'"}', NOW - 5))
    return intake


@pytest.fixture
def start(open_page, intake):
    return partial(
        open_page,
        suggest_mapping=lambda topic: suggestion_for(intake, topic),
        pipeline=lambda: PipelineStatus(unmatched=unmatched_topics(intake)),
    )


async def signed_in(page, name="F. Manager"):
    await page.sign_in(name)
    return page


async def shown(page, topic):
    return await page.client.get("/unmatched", params={"topic": topic})


async def test_the_sensors_page_lists_them_newest_first(start):
    text = (await start().client.get("/sensors")).text
    assert "Unknown formats" in text
    assert "site/&lt;b&gt;7/state" in text
    assert "<b>7" not in text
    assert "w" * 79 + "…</th>" in text
    assert text.index("long/1") < text.index("void/1") < text.index("door/1")
    found = await (await signed_in(start())).client.get(
        unescape(re.search(r'href="(/unmatched\?topic=site[^"]+)"', text)[1])
    )
    assert found.status_code == 200


async def test_nothing_is_shown_where_nothing_is_unread(start):
    text = (await start(pipeline=PipelineStatus).client.get("/sensors")).text
    assert "<h2>Unknown formats" not in text


async def test_the_suggestion_is_text_to_copy(start, intake):
    response = await shown(await signed_in(start()), TOPIC)
    assert response.status_code == 200
    assert "<script>" not in response.text
    assert "\u202e" not in response.text
    area = re.search(r"<textarea[^>]*readonly[^>]*>(.*?)</textarea>", response.text, re.DOTALL)[1]
    assert unescape(area) == suggestion_for(intake, TOPIC).mapping
    assert 'quantity = "pm25"' in unescape(area)
    assert "default-src 'none'" in response.headers["content-security-policy"]


async def test_a_decoder_that_reads_it_is_offered_as_a_route(start):
    page = await signed_in(start())
    text = unescape((await shown(page, "door/1")).text)
    assert '[[route]]\ntopic = "door/1"\ndecoder = "airgradient"' in text


def test_a_decoder_that_reads_any_telling_name_is_not_offered():
    intake = Intake()
    intake.on_message(Message("a/b7/c", b'{"pm": {"2.5": 7}, "hum": "41 %"}', NOW))
    found = suggestion_for(intake, "a/b7/c")
    assert found.route == ""
    assert found.mapping


async def test_a_missing_suggestion_is_explained(start):
    response = await shown(await signed_in(start()), "long/1")
    assert response.status_code == 200
    assert "No suggestion" in response.text
    assert "only the beginning of the payload" in response.text
    assert "<textarea" not in response.text


async def test_a_frame_of_bytes_gets_a_skeleton_to_fill(start):
    text = unescape((await shown(await signed_in(start()), "void/1")).text)
    assert re.search(r"<textarea[^>]*readonly[^>]*>.*offset", text, re.DOTALL), text


@pytest.mark.parametrize("topic", ["", "never/heard", "x" * 2000])
async def test_a_topic_that_was_not_received(start, topic):
    assert (await shown(await signed_in(start()), topic)).status_code == 404


async def test_signing_in_comes_first_and_leads_back(start):
    page = start()
    response = await shown(page, "door/1")
    assert response.status_code == 303
    assert response.headers["location"] == "/sign-in?next=/unmatched%3Ftopic%3Ddoor%252F1"
    form = await page.client.get(response.headers["location"])
    after = unescape(re.search(r'name="after" value="([^"]+)"', form.text)[1])
    signed = await page.sign_in("fm", after=after)
    assert (await page.client.get(signed.headers["location"])).status_code == 200
