"""Test the thresholds page: expected false alarms, and reverting an adjustment once, by role."""

import re

import pytest

from alerts.incidents import threshold_adjustments
from alerts.incidents.incident import Verdict
from alerts.policy import AlertPolicy, StaffMember
from detection.alert_rules import ThresholdReport
from storage import sqlite

RAISED = ThresholdReport(2.2, 1.8, 1.0, 0.8, 0.25, 3.5)
OVER = ThresholdReport(3.3, 1.8, 1.0, 4.0, 0.0, 3.5)
YOUNG = ThresholdReport(1.8, 1.8, 1.0, None, 0.0, 0.1)


@pytest.fixture
def answered(open_page, policy, make_event):
    """Open a page after an answer has adjusted a threshold."""

    def start(staff=None):
        page = open_page(policy if staff is None else AlertPolicy(staff=staff))
        incident = page.incident(make_event)
        with sqlite.transaction(page.db) as tx:
            page.engine.record_feedback(
                tx, incident, "Ms. <Lee>", Verdict.FALSE_ALARM, page.now, cause="spray"
            )
        return page

    return start


def save(page, **reports):
    with sqlite.transaction(page.db) as tx:
        threshold_adjustments.save_thresholds(tx, reports.items())


async def undo(page, seq=1, reason="a drill", **form):
    return await page.act(f"/levels/moves/{seq}/undo", "/levels", reason=reason, **form)


async def test_a_threshold_and_what_it_costs(answered):
    page = answered()
    text = (await page.client.get("/levels")).text
    assert text.count("No data yet") == 3
    save(page, s1=RAISED, s2=OVER, s3=YOUNG)
    text = (await page.client.get("/levels")).text
    assert ">90%</td>" in text
    assert "+0.25" not in text
    assert re.search(r"less sensitive: alerts at 90% instead of \d\d%", text)
    assert "4.0 <b>over the limit</b>" in text
    assert "learning" in text
    assert "Ms. &lt;Lee&gt;" in text
    assert "False alarm: spray" in text
    assert "Take back" not in text
    assert 'href="/levels"' in (await page.client.get("/sensors")).text


async def test_the_last_ten_adjustments_and_one_field_for_a_reason(open_page, make_event):
    page = open_page()
    incident = page.incident(make_event)
    for k in range(12):
        found = ((Verdict.FALSE_ALARM, "spray"), (Verdict.CONFIRMED, ""))[k % 2]
        with sqlite.transaction(page.db) as tx:
            page.engine.record_feedback(tx, incident, "ap", found[0], page.now + k, cause=found[1])
    number = len(threshold_adjustments.latest(page.db, limit=99))
    assert number > 11
    await page.sign_in("fm")
    text = (await page.client.get("/levels")).text
    rows = re.findall(r'formaction="/levels/moves/(\d+)/undo"', text)
    shown = text[text.index('id="moves"') :].count("<tr><th scope")
    assert (shown, text.count('name="reason"'), text.count('id="more"')) == (10, 1, 1)
    assert rows
    more = (await page.client.get(re.search(r'id="more" href="([^"]+)"', text)[1])).text
    assert more[more.index('id="moves"') :].count("<tr><th scope") == number
    assert 'id="more"' not in more


async def test_an_adjustment_is_reverted_once_with_a_reason(answered):
    page = answered()
    await page.sign_in("fm")
    assert "Revert" in (await page.client.get("/levels")).text
    answer = await undo(page, reason="  ")
    assert answer.status_code == 400
    assert "Please give a reason" in answer.text
    assert (await undo(page)).status_code == 303
    assert page.wakes.count == 2
    newest = threshold_adjustments.latest(page.db)[0]
    assert (newest.who, newest.undoes, newest.reason) == ("fm", 1, "a drill")
    text = (await page.client.get("/levels")).text
    assert "reverted" in text
    assert "reverts no. 1: a drill" in text
    again = await undo(page, form_token=await page.form_token("/levels"))
    assert again.status_code == 409
    assert "Adjustment 1 was undone before." in again.text
    assert (await undo(page, seq=77)).status_code == 409
    assert len(threshold_adjustments.latest(page.db)) == 2


async def test_without_sign_in_token_or_role_nothing_is_reverted(answered):
    staff = (StaffMember("a", "Principal", "staff"), StaffMember("b", "Keeper", "facilities"))
    page = answered(staff)
    assert (await page.client.post("/levels/moves/1/undo")).status_code == 303
    await page.sign_in("a")
    assert "Take back" not in (await page.client.get("/levels")).text
    assert (await undo(page)).status_code == 403
    await page.sign_in("b")
    assert (await undo(page, form_token="wrong")).status_code == 403
    assert len(threshold_adjustments.latest(page.db)) == 1
    assert (await undo(page)).status_code == 303
