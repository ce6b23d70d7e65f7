"""Test the week of shifts: who is on duty, gaps in red, swaps in two taps, overnight shifts."""

import re
from datetime import datetime
from html import unescape

import pytest

from plumewatch.config.load import parse
from plumewatch.config.settings import build_alert_policy
from tests.unit.alerts.test_page_settings import (  # noqa: F401 - a fixture
    TEXT,
    saved,
    send,
    setup,
    tree,
)


def day(text, name):
    """Return the text shown for a day."""
    return re.search(rf'<section class="day" id="{name}">(.*?)</section>', text, re.DOTALL)[1]


@pytest.fixture
def week(setup):  # noqa: F811
    """Show a configuration's week at 10:05 AM on Monday, September 7."""

    def start(text=TEXT):
        setup.path.write_text(text)
        policy = build_alert_policy(parse(tree(setup), base=setup.path.parent))
        staff = tuple(m for m in policy.staff if m.targets)
        setup.engine.use_policy(policy)
        return setup, staff

    return start


async def test_a_week_shows_who_is_on_duty_and_gaps_in_red(week):
    page, _ = week(TEXT.replace('people = ["fm"]', 'people = ["fm"]\ndays = ["mon"]'))
    await page.sign_in("ap")
    shown = (await page.client.get("/duty/week")).text
    monday, tuesday, sunday = (day(shown, f"2026-09-{k:02}") for k in (7, 8, 13))
    assert "F. Manager" in monday
    assert "7:00 AM – 4:00 PM" in monday
    assert 'class="gap"' not in monday
    assert "A. Principal instead (no notification address)<" in monday
    gap = " ".join(re.sub(r"<[^>]+>", " ", tuesday[tuesday.index('class="gap"') :]).split())
    reason = "A. Principal: no notification address"
    hours = "8:00 AM – 9:00 AM"
    assert gap.startswith(f'class="gap"> Nobody on duty can be reached {hours}: all rooms {reason}')
    assert 'class="gap"' not in sunday  # without class periods
    week(TEXT.replace('people = ["fm"]', 'people = ["fm"]\ndays = ["wed"]'))
    both = (await page.client.get("/duty/week")).text
    assert both.count('class="gap"') == 2
    assert both.count(reason) == 1, "columns are narrow, so a repeated reason is above them"
    assert reason in both.partition('<div class="week">')[0]
    routes = """
        [routing]
        receiver = "staff"
        [[routing.routes]]
        matchers = ['room="n2-boys"', 'kind="vape"']
        receiver = "facilities"
        """
    week(TEXT.replace('people = ["fm"]', 'people = ["fm"]\ndays = ["mon"]') + routes)
    some = day((await page.client.get("/duty/week")).text, "2026-09-08")
    assert "<summary>1 room</summary>Girls N1 <span" in " ".join(some.split())
    week(TEXT.replace('start = "07:00"', 'start = "00:00"').replace('"16:00"', '"00:00"'))
    assert ">all day</span>" in day((await page.client.get("/duty/week")).text, "2026-09-08")
    assert 'href="/duty/week?from=2026-09-14"' in shown
    later = (await page.client.get("/duty/week?from=2026-09-14")).text
    assert "F. Manager" in day(later, "2026-09-14")
    week(TEXT.partition("[[shift]]")[0])
    assert "No shifts this week." in (await page.client.get("/duty/week")).text
    for asked in ("soon", "0001-01-01", "9999-12-31"):
        assert (await page.client.get(f"/duty/week?from={asked}")).status_code == 200


async def press(page, shown, shift, words):
    """Press a button on Monday's shift; the first tap opened the shift."""
    monday = day(shown, "2026-09-07")
    entry = re.search(rf'<details[^>]*data-shift="{shift}".*?</details>', monday, re.DOTALL)[0]
    forms = re.findall(r"<form.*?</form>", entry, re.DOTALL)
    (form,) = (unescape(f) for f in forms if words in f)
    fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form))
    path = re.search(r'action="([^"]+)"', form)[1]
    return await page.client.post(path, data=fields)


async def test_a_shift_is_swapped_in_two_taps(week):
    page, _ = week()
    await page.sign_in("ap")
    shown = (await page.client.get("/duty/week")).text
    answer = await press(page, shown, "hall", "Swap with F. Manager")
    assert answer.headers["location"] == "/duty/week?from=2026-09-07&saved=1"
    saved = (await page.client.get(answer.headers["location"])).text
    assert "Saved. The shifts change within seconds." in saved
    assert '&amp;saved=2" hx-trigger="every 3s"' in saved
    assert "every 3s" in (await page.client.get("/duty/week?saved=8")).text  # a slow restart
    assert "every 3s" not in (await page.client.get("/duty/week?saved=9")).text
    assert "No shifts this week." not in saved
    start, end = datetime(2026, 9, 7, 7), datetime(2026, 9, 7, 16)  # noqa: DTZ001
    times = {"start": start, "end": end}
    assert tree(page)["override"] == [
        {"shift": "hall", "remove": "ap", "add": "fm", **times},
        {"shift": "door", **times, "add": "ap", "remove": "fm"},
    ]
    week(page.path.read_text())
    entry = day((await page.client.get("/duty/week")).text, "2026-09-07")
    assert re.search(r'data-shift="door".*?A\. Principal', entry, re.DOTALL)


async def test_who_may_not_change_duty_sees_no_buttons(week):
    page, _ = week(TEXT.replace('role = "admin"', 'role = "analyst"'))
    await page.sign_in("ad")
    assert "Swap with" not in (await page.client.get("/duty/week")).text


async def test_an_end_before_the_start_asks_whether_it_is_on_the_next_day(setup):  # noqa: F811
    await setup.sign_in("ad")
    form, typed = "/settings/shifts/new", {"receiver": "staff", "people": ["ap"]}
    typed |= {"start": "22:00", "end": "06:00"}
    assert "_next_day" not in (await setup.client.get(form)).text
    answer = await send(setup, form, **typed)
    assert answer.status_code == 400
    assert "It ends before it starts. Does it end the next day?" in answer.text
    assert 'name="_next_day"' in answer.text
    assert (await send(setup, form, **typed, _next_day="yes")).status_code == 303
    (entry,) = saved(setup)
    assert "_next_day" not in setup.path.read_text() + entry.detail
    number = len(tree(setup)["shift"]) - 1
    again = await send(setup, f"{form[:-4]}/{number}", **typed, days=["mon"])
    assert again.status_code == 303  # the question was already asked


async def test_a_shift_of_staff_can_be_made_before_anybody_has_that_role(setup):  # noqa: F811
    setup.path.write_text(
        TEXT.replace('name = "A. Principal"', 'name = "A. Principal"\nrole = "admin"').replace(
            'receiver = "staff"', 'receiver = "facilities"'
        )
    )
    await setup.sign_in("ad")
    form = {"receiver": "staff", "people": ["ap"], "start": "07:00", "end": "16:00"}
    assert (await send(setup, "/settings/shifts/new", **form)).status_code == 303
    new = tree(setup)["shift"][-1]
    assert (new["id"], new["receiver"]) == ("ap", "staff")
    setup.path.write_text('routing.receiver = "facilities"\n' + setup.path.read_text())
    assert 'value="facilities" selected' in (await setup.client.get("/settings/shifts/new")).text
