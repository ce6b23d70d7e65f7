"""Test what people look for first: whether the system works, and why it alerted."""

import re

import pytest

from alerts.access import action_tokens
from alerts.access.action_tokens import Action
from alerts.page.settings import PipelineStatus, SensorStatus
from storage.sqlite import transaction


def health(text):
    line = re.search(r'<p class="fine" id="health">(.*?)</p>', text, re.DOTALL)[1]
    return " ".join(re.sub(r"<[^>]+>", "", line).split())


async def test_the_first_page_says_that_sensors_report_and_pushes_arrive(open_page, make_event):
    states = ["alive"] * 3

    def pipeline():
        found = zip(("s1", "s2", "s3"), states, strict=True)
        return PipelineStatus(sensors={s: SensorStatus(state, page.now, 5.0) for s, state in found})

    page = open_page(pipeline=pipeline)
    shown = (await page.client.get("/")).text
    assert health(shown) == "All sensors reporting, no notice delivered yet, page updated just now"
    page.incident(make_event)
    with transaction(page.db) as tx:
        tx.execute("UPDATE outbox SET status = 'sent', finished_at = ?", (page.now,))
    states[1] = "silent"
    page.now += 60
    assert re.fullmatch(
        r"2 of 3 sensors reporting, last notice delivered [\d: APM]+, page updated just now",
        health((await page.client.get("/")).text),
    )


@pytest.mark.parametrize(("action", "status"), [(Action.ACKNOWLEDGE, 200), (None, 403)])
async def test_the_page_behind_a_push_draws_the_evidence(opened, action, status):
    page, incident = opened
    token = "guessed"
    if action:
        with transaction(page.db) as tx:
            token = action_tokens.issue(tx, incident, "ap", action, page.now)
    answer = await page.client.post("/answer/evidence", data={"token": token})
    assert answer.status_code == status
    assert answer.text.startswith("<svg") == (status == 200)
    assert (await page.client.get("/answer/evidence")).status_code == 405
    assert "/answer/evidence" in (await page.client.get("/static/answer.js")).text
