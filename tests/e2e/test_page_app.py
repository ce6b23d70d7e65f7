"""Test settings, the wall view and the installed app in a real browser."""

import contextlib
import json
import threading
import time
import tomllib
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from plumewatch.config.editor import ConfigEditor
from tests.e2e.test_staff_page import (
    ROOMS,
    Site,
    browser,
    browser_of_size,
    find,
    fits,
    judged_by_axe,
    on_a_desktop,
    on_a_phone,
    pytestmark,
    settle,
    sign_in,
    wait_for,
)

__all__ = ["browser", "browser_of_size", "pytestmark"]

TEXT = """\
site = "Lincoln High School"
timezone = "America/New_York"

# keep in step with the office
[[staff]]
id = "lee"
name = "Ms. Lee"
role = "admin"
[[staff]]
id = "fox"
name = "Mr. Fox"
role = "facilities"

[[shift]]
id = "hall"
receiver = "admin"
people = ["lee"]
start = "07:00"
end = "16:00"
""" + "".join(
    f'\n[[room]]\nid = "{room.id}"\nname = "{room.name}"\nbuilding = "{room.building}"\n'
    f'\n[[sensor]]\nid = "pw-{n}"\nroom = "{room.id}"\n'
    for n, room in enumerate(ROOMS)
)


@pytest.fixture
def site(tmp_path):
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc/plumewatch.toml"
    path.write_text(TEXT)
    config = ConfigEditor(path, tmp_path / "history", lambda: None)
    key = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
    site = Site(tmp_path, config=config, push_key=key, help_phone="555-0100")
    site.config = path
    yield site
    site.close()


def press(browser, css):
    """Press a button and wait for the next page."""
    browser.execute_script("window.left = false")
    find(browser, css).click()
    wait_for(browser, lambda: browser.execute_script("return window.left === undefined"))


def test_settings_and_wall_are_sane_for_keyboards_and_screen_readers(site, browser):
    browser.get(f"{site.url}/sign-in")
    sign_in(browser)
    found = {}
    for path in (
        "/settings",
        "/settings/people",
        "/settings/people/0",
        "/settings/duty/new",
        "/settings/rooms/0",
        "/settings/sensors/0",
        "/settings/bells/new",
        "/wall",
        "/tokens",
        "/account",
        "/sign",
        "/welcome",
    ):
        browser.get(site.url + path)
        found[path] = judged_by_axe(browser)
        assert fits(browser), path
    assert {path: serious for path, serious in found.items() if serious} == {}
    assert "Ask the person who gave you the link. Call 555-0100." in find(browser, "main").text
    browser.get(f"{site.url}/sign")
    browser.execute_script("window.print = () => { window.printed = true; }")
    find(browser, "button.print").click()
    wait_for(browser, lambda: browser.execute_script("return window.printed"))


@on_a_phone
def test_a_substitute_is_arranged_in_four_taps(site, browser):
    browser.get(f"{site.url}/sign-in?next=/settings/duty/new")
    sign_in(browser)
    for field, value in (("shift", "hall"), ("remove", "lee"), ("add", "fox")):
        find(browser, f"#f-{field} option[value={value}]").click()
    press(browser, "#entry button.primary")
    wait_for(browser, lambda: "Mr. Fox instead of Ms. Lee" in find(browser, "main").text)
    (made,) = tomllib.loads(site.config.read_text())["override"]
    assert made["add"] == "fox"


def test_a_screen_with_its_link_shows_rooms_live_and_no_names(site, browser):
    browser.get(f"{site.url}/sign-in?next=/tokens")
    sign_in(browser)
    find(browser, "input[name=name]").send_keys("Front office")
    find(browser, "input[name='scope.wall']").click()
    press(browser, "form.stack button.primary")
    link = find(browser, "#link").get_attribute("value")
    for field in ("#token", "#link"):
        assert find(browser, field).rect["width"] > 250, "wide enough to read"
    find(browser, "#link + button").click()
    assert find(browser, "#link + button").text == "Copied"
    browser.delete_all_cookies()
    browser.get(link.replace("http://127.0.0.1:8420", site.url))
    wait_for(browser, lambda: browser.current_url == f"{site.url}/wall")
    needing = int(find(browser, "#wall h1").get_attribute("data-needing"))
    assert needing > 0
    browser.execute_script("document.querySelector('#wall .tile').remove()")
    tiles = "return document.querySelectorAll('#wall .tile').length"
    wait_for(browser, lambda: browser.execute_script(tiles) == len(ROOMS))
    assert "Ms. Lee" not in find(browser, "body").text
    settle(browser)
    browser.get(f"{site.url}/account")
    assert "/sign-in" in browser.current_url


@on_a_phone
def test_the_page_can_be_installed_and_a_push_has_a_button(site, browser):
    granted = {"permissions": ["notifications"], "origin": site.url}
    browser.execute_cdp_cmd("Browser.grantPermissions", granted)
    browser.get(site.url)
    run = browser.execute_async_script
    run("navigator.serviceWorker.ready.then(arguments[0])")
    assert browser.execute_cdp_cmd("Page.getInstallabilityErrors", {}) == {
        "installabilityErrors": []
    }
    kept = "caches.keys().then(k => Promise.all(k.map(n => caches.open(n).then(c => c.keys()))))"
    kept = run(f"{kept}.then(r => arguments[0](r.flat().map(x => new URL(x.url).pathname)))")
    assert kept
    assert [path for path in kept if not path.startswith("/static/")] == ["/offline"]
    notice = {
        "title": "Boys N2: Vaping likely",
        "body": "PM2.5 rose",
        "link": "/answer#x",
        "token": "x",
        "take": "I'm responding",
        "taken": "You're responding.",
        "tag": "1",
        "loud": True,
    }
    browser.execute_cdp_cmd("ServiceWorker.enable", {})
    for number in range(60):  # guess registration ids; the protocol reports them only in events
        push = {"origin": site.url, "registrationId": str(number), "data": json.dumps(notice)}
        browser.execute_cdp_cmd("ServiceWorker.deliverPushMessage", push)
    shown = "navigator.serviceWorker.ready.then(r => r.getNotifications())"
    shown += ".then(n => arguments[0](n.map(x => [x.title, x.body, x.actions[0].title])))"
    wait_for(browser, lambda: run(shown))
    assert run(shown) == [["Boys N2: Vaping likely", "PM2.5 rose", "I'm responding"]]


@on_a_phone
def test_a_page_that_cannot_reach_the_service_says_whom_to_call(site, browser):
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"})
    browser.get(site.url)
    assert find(browser, "#health").is_displayed()
    browser.execute_async_script("navigator.serviceWorker.ready.then(arguments[0])")
    site.server.should_exit = True
    site.thread.join(60)
    lost = "Can't reach Plumewatch. Alerts may not be going out. Call 555-0100."
    wait_for(browser, lambda: find(browser, "#stale").text.startswith(f"{lost} Last update "))
    assert not find(browser, "#health").is_displayed()
    zone, minutes = ZoneInfo("America/New_York"), range(int((time.time() - site.now) / 60) + 2)
    local = [datetime.fromtimestamp(site.now + 60 * k, zone) for k in minutes]
    assert find(browser, "#updated").text in {f"Last update {t:%-I:%M %p}." for t in local}
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})
    browser.get(f"{site.url}/incidents")
    assert lost in find(browser, "main").text
    assert "Llame al 555-0100" in find(browser, "main [lang=es]").text


@on_a_desktop
@pytest.mark.parametrize("path", ["/", "/wall"])
def test_a_page_whose_service_no_longer_answers_says_so(site, browser, path):
    browser.get(f"{site.url}/sign-in?next={path}")
    sign_in(browser)
    assert not find(browser, "#stale").is_displayed()
    resumed = threading.Event()  # the kernel still accepts connections, as for a stopped process
    site.loop.call_soon_threadsafe(resumed.wait)
    try:
        wait_for(browser, lambda: "Can't reach Plumewatch." in find(browser, "#stale").text)
        size = float(find(browser, "#stale").value_of_css_property("font-size")[:-2])
        assert size >= (40 if path == "/wall" else 16)  # a wall is read at ten feet
    finally:
        resumed.set()
    wait_for(browser, lambda: not find(browser, "#stale").is_displayed())


@on_a_phone
def test_a_browser_without_a_push_service_explains_what_is_wrong(site, browser):
    from selenium.common.exceptions import TimeoutException

    granted = {"permissions": ["notifications"], "origin": site.url}
    browser.execute_cdp_cmd("Browser.grantPermissions", granted)
    browser.get(f"{site.url}/sign-in?next=/account")
    sign_in(browser)
    wait_for(browser, lambda: find(browser, "#push button").is_enabled())
    find(browser, "#push button").click()
    for _ in range(2):  # the page waits 15 s for the push service
        with contextlib.suppress(TimeoutException):
            wait_for(browser, lambda: find(browser, "#push [role=status]").text)
    assert find(browser, "#push [role=status]").text in {
        "The browser's push service could not be reached. Try again.",
        "This browser does not allow notices. Allow them in its settings, then reload.",
    }
