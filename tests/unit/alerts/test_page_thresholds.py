"""Test the thresholds page: expected false alarms, and adjustments from answers."""

import re

import pytest

from alerts.incidents import threshold_adjustments
from alerts.incidents.incident import Verdict
from detection.alert_rules import ThresholdReport
from storage import sqlite

RAISED = ThresholdReport(2.2, 1.0, 0.8, 0.25, 3.5)
OVER = ThresholdReport(3.3, 1.0, 4.0, 0.0, 3.5)
YOUNG = ThresholdReport(1.8, 1.0, None, 0.0, 0.1)


@pytest.fixture
def answered(open_page, make_event):
    """Open a page after an answer has adjusted a threshold."""

    def start(**given):
        page = open_page(**given)
        incident = page.incident(make_event)
        with sqlite.transaction(page.db) as tx:
            page.engine.record_feedback(
                tx, incident, "Ms. <Lee>", Verdict.FALSE_ALARM, page.now, cause="spray"
            )
        return page

    return start


async def test_a_threshold_and_what_it_costs(answered):
    thresholds = {}
    page = answered(thresholds=thresholds)
    text = (await page.client.get("/levels")).text
    assert text.count("No data yet") == 3
    thresholds.update(s1=RAISED, s2=OVER, s3=YOUNG)
    text = (await page.client.get("/levels")).text
    assert ">90%</td>" in text
    assert "+0.25" not in text
    assert re.search(r"raised from \d\d%", text)
    assert "4.0 <b>over the limit</b>" in text
    assert "learning" in text
    assert "Ms. &lt;Lee&gt;" in text
    assert "False alarm: spray" in text
    assert 'href="/levels"' in (await page.client.get("/sensors")).text


async def test_the_last_ten_adjustments_and_then_more(open_page, make_event):
    page = open_page()
    incident = page.incident(make_event)
    for k in range(12):
        found = ((Verdict.FALSE_ALARM, "spray"), (Verdict.CONFIRMED, ""))[k % 2]
        with sqlite.transaction(page.db) as tx:
            page.engine.record_feedback(tx, incident, "ap", found[0], page.now + k, cause=found[1])
    number = len(threshold_adjustments.list_adjustments(page.db, limit=99))
    assert number > 11
    await page.sign_in("fm")
    text = (await page.client.get("/levels")).text
    shown = text[text.index('id="moves"') :].count("<tr><th scope")
    assert (shown, text.count('id="more"')) == (10, 1)
    assert re.search(r"reverts no\. \d+: the answer was changed", text)
    more = (await page.client.get(re.search(r'id="more" href="([^"]+)"', text)[1])).text
    assert more[more.index('id="moves"') :].count("<tr><th scope") == number
    assert 'id="more"' not in more
