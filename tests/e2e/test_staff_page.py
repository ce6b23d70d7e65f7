"""Test the staff page in a real browser: view, sign in, acknowledge, answer."""

from __future__ import annotations

import asyncio
import math
import shutil
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from argon2 import PasswordHasher

from alerts.access import action_tokens, passwords
from alerts.access.action_tokens import Action
from alerts.access.passwords import Hasher
from alerts.engine import AlertEngine
from alerts.incidents import repository
from alerts.incidents.incident import Status, Verdict
from alerts.incidents.repository import ChangeSignal
from alerts.notify.notice import KIND_WORDS
from alerts.page.app import create_app
from alerts.page.report_jobs import ReportJobs
from alerts.page.settings import PipelineStatus, SensorStatus
from alerts.policy import AlertPolicy, StaffMember
from alerts.secrets import Secret
from detection.events import ChannelEvidence, EventKind, EventPhase
from plumewatch.service.data_folder import prepare_state
from storage import sqlite
from storage.registry import Quarantined, Registry, Room, Sensor
from storage.timeseries import LatestReading
from storage.timeseries.sqlite import SqliteSeries
from tests.support.events import make_event
from tests.support.staff_page import CountedWakes, page_settings

VAPE = KIND_WORDS["vape"]

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.needs("chromium", "chromedriver"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # the driver's own sockets
]
PASSWORD = "seven blue kettles"
AXE = (Path(__file__).parent / "vendor/axe.min.js").read_text(encoding="utf-8")

ROOMS = (
    Room("n2-boys", "Boys N2", "2", "North building", "Lincoln High"),
    Room("n2-girls", "Girls N2", "2", "North building", "Lincoln High"),
    Room("n1-boys", "Boys N1", "1", "North building", "Lincoln High"),
    Room("n1-girls", "Girls N1", "1", "North building", "Lincoln High"),
    Room("gym-a", "Locker room A", "", "Gym", "Lincoln High"),
    Room("gym-b", "Locker room B", "", "Gym", "Lincoln High"),
)
SENSORS = tuple(Sensor(f"pw-{n}", r.id, "sen55") for n, r in enumerate(ROOMS))


class FakeSeries:
    """A series with one plume in the first room, five minutes ago; nothing older is stored."""

    def __init__(self, start, path):
        self.start = start
        self.stored = SqliteSeries(path)
        self.stored.open()

    def __getattr__(self, name):
        return getattr(self.stored, name)

    def values(self, sensor, at):
        n = int(sensor.rpartition("-")[2])
        age = at - self.start
        plume = 0.0
        if n == 0 and age > 0:
            plume = 180.0 * min(age / 6, 1) * math.exp(-max(age - 6, 0) / 90)
        steam = 30.0 * math.exp(-(((age + 600) / 200) ** 2)) if n == 0 else 0.0
        return {
            "pm25": 4 + n + 0.6 * math.sin(at / 40 + n) + plume,
            "voc_index": 100 + 0.5 * plume + 4 * math.sin(at / 100),
            "rh": 42 + n + steam / 3 + 0.02 * plume,
        }

    def read_latest(self):
        now = time.time()
        found = {
            f"pw-{n}": LatestReading(now - 2, self.values(f"pw-{n}", now - 2)) for n in range(5)
        }
        found["pw-4"] = LatestReading(now - 900, found["pw-4"].values)
        return found

    def read_window(self, sensor, start, end):
        times = [start + 5 * k for k in range(int((end - start) / 5) + 1)]
        rows = [self.values(sensor, t) for t in times]
        return times, {k: [r[k] for r in rows] for k in rows[0]} if rows else {}


def an_event(sensor, kind, phase, onset, confidence=0.97, end=None):
    others = {"spray": 0.02, "steam": 0.01}
    evidence = {
        "pm25": ChannelEvidence(4, 176, 6, 62.0),
        "voc_index": ChannelEvidence(100, 88, 9, None),
        "rh": ChannelEvidence(42, 0.1, 0, None),
    }
    shown = {"probabilities": {kind.value: confidence, **others}, "evidence": evidence}
    return make_event(onset + 6, sensor, kind, phase, onset, confidence, end, **shown)


class Site:
    """A running page with a state database that has some history."""

    def __init__(self, folder, **options):
        self.now = time.time()
        self.database = Path(folder) / "state.db"
        self.db = sqlite.connect(self.database)
        prepare_state(self.db)
        hasher = Hasher(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        with sqlite.transaction(self.db) as tx:
            for person in ("lee", "fox"):
                passwords.set_password(tx, person, hasher.hash(PASSWORD), self.now)
        policy = AlertPolicy(
            staff=(
                StaffMember("lee", "Ms. Lee", "admin", (Secret("json://127.0.0.1:9/x"),)),
                StaffMember("fox", "Mr. Fox", "facilities", (Secret("json://127.0.0.1:9/y"),)),
            ),
            zone="America/New_York",
        )
        self.engine = AlertEngine(Registry.build(ROOMS, SENSORS), policy)
        over = an_event("pw-3", EventKind.VAPE, EventPhase.ALERTED, self.now - 400)
        (record,) = self.tell(over, -394)
        with sqlite.transaction(self.db) as tx:
            self.engine.resolve(tx, record.incident, "lee", self.now - 380)
        self.tell(an_event("pw-2", EventKind.TAMPER, EventPhase.ALERTED, self.now - 250), -244)
        self.tell(an_event("pw-1", EventKind.SPRAY, EventPhase.ALERTED, self.now - 60, 0.8), -54)
        (record,) = self.tell(
            an_event("pw-0", EventKind.VAPE, EventPhase.ALERTED, self.now - 300), -290
        )
        self.incident = record.incident
        self.series = FakeSeries(self.now - 300, Path(folder) / "series.db")
        self.wakes = CountedWakes()
        app = create_app(
            page_settings(
                changes=ChangeSignal((self.wakes,)),
                database=self.database,
                engine=self.engine,
                series=self.series,
                hasher=hasher,
                pipeline=lambda: PipelineStatus(
                    {"bad_json": 3, "out_of_range": 1},
                    (Quarantined("tasmota-9F3A", self.now - 7000, self.now - 4, 1412),),
                    sensors={"pw-0": SensorStatus("alive", self.now - 4, 5.0)},
                ),
                school="Lincoln High School",
                reports=ReportJobs(
                    Path(folder) / "reports", lambda *_order: asyncio.sleep(0, ""), time.time
                ),
                **options,
            )
        )
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws="none")
        self.server = uvicorn.Server(config)
        self.loop = asyncio.new_event_loop()
        serve = self.server.serve()
        self.thread = threading.Thread(
            target=lambda: self.loop.run_until_complete(serve), daemon=True
        )
        self.thread.start()
        deadline = time.monotonic() + 60
        while not self.server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    def tell(self, event, at):
        with sqlite.transaction(self.db) as tx:
            return self.engine.on_events(tx, [event], self.now + at)

    def load(self):
        return repository.load(self.db, self.incident)

    def close(self):
        self.server.should_exit = True
        self.thread.join(60)
        self.loop.close()
        self.series.stored.close()
        self.db.close()


@pytest.fixture
def site(request, tmp_path):
    site = Site(tmp_path, **getattr(request, "param", {}))
    yield site
    site.close()


PHONE, DESKTOP = pytest.param((390, 844), id="phone"), pytest.param((1280, 800), id="desktop")
on_a_phone = pytest.mark.parametrize("browser_of_size", [PHONE], indirect=True, scope="module")
on_a_desktop = pytest.mark.parametrize("browser_of_size", [DESKTOP], indirect=True, scope="module")
"""Behavior is tested at this window size; appearance is tested at both sizes."""


@pytest.fixture(scope="module", params=[PHONE, DESKTOP])
def browser_of_size(request, tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    width, height = request.param
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(60)
    driver.set_script_timeout(60)
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    driver.implicitly_wait(5)
    yield driver
    driver.quit()


@pytest.fixture
def browser(browser_of_size, site):
    """Return a browser at the site, shared per size, without cookies and console errors."""
    browser_of_size.get(f"{site.url}/sign-in")
    browser_of_size.delete_all_cookies()
    browser_of_size.get_log("browser")
    return browser_of_size


def find(browser, css):
    from selenium.webdriver.common.by import By

    return wait_for(browser, lambda: browser.find_element(By.CSS_SELECTOR, css))


def texts(browser, css):
    from selenium.webdriver.common.by import By

    return [e.text for e in browser.find_elements(By.CSS_SELECTOR, css)]


def wait_for(browser, condition):
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.ui import WebDriverWait

    # Pages refresh themselves, so an element may be gone when it is read. Chromium then reports
    # "stale", "no such node" or "unhandled inspector error".
    gone = (WebDriverException,)
    return WebDriverWait(browser, 60, ignored_exceptions=gone).until(lambda _driver: condition())


def settle(browser):
    """Wait until fonts and pictures are loaded, animations are over, and the page is painted."""
    browser.execute_async_script(
        "const ends = (moves) => isFinite(moves.effect.getComputedTiming().endTime);"
        "const moving = document.getAnimations().filter(ends).map((moves) => moves.finished);"
        "const pictures = [...document.images].map((one) => one.decode().catch(() => {}));"
        "const waits = [document.fonts.ready, ...moving, ...pictures];"
        "const painted = () => requestAnimationFrame(() => requestAnimationFrame(arguments[0]));"
        "Promise.all(waits).then(painted)"
    )


def fits(browser):
    """Return whether nothing overflows horizontally."""
    return browser.execute_script(
        "const page = document.documentElement; return page.scrollWidth <= page.clientWidth"
    )


def stacked_fit(browser):
    """Return whether tables that become cards on a phone fit without scrolling at any width."""
    return browser.execute_script(
        "const found = [...document.querySelectorAll('.scroll:has(.stacked)')];"
        "return found.length && found.every((e) => e.scrollWidth <= e.clientWidth)"
    )


def sign_in(browser):
    account = find(browser, "input[name=account], button[value=lee]")
    if account.tag_name == "input":
        account.send_keys("lee")
        find(browser, "input[name=password]").send_keys(PASSWORD)
        account = find(browser, "main button[type=submit]")
    account.click()
    wait_for(browser, lambda: urlsplit(browser.current_url).path != "/sign-in")
    wait_for(browser, lambda: browser.execute_script("return document.readyState") == "complete")


def test_acknowledge_and_answer_by_clicks(site, browser):
    browser.get(site.url)
    assert "Boys N2" in find(browser, ".needs .row.alarm").text
    levels = browser.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('.card')].map("
        "c => [c.querySelector('strong').textContent, c.className.replace('card ', '')]))"
    )
    assert levels == {
        "Boys N2": "alarm",
        "Girls N2": "notable",
        "Boys N1": "attention",
        "Girls N1": "unanswered",
        "Locker room A": "silent",
        "Locker room B": "silent",
    }
    assert fits(browser)

    find(browser, ".needs .row.alarm a").click()
    wait_for(browser, lambda: "/incidents/" in browser.current_url)
    find(browser, ".actions a.primary").click()
    wait_for(browser, lambda: "/sign-in" in browser.current_url)
    sign_in(browser)
    wait_for(browser, lambda: browser.current_url == f"{site.url}/incidents/{site.incident}")
    settle(browser)
    assert fits(browser)

    find(browser, "#acknowledge").click()
    wait_for(browser, lambda: site.load().status is Status.ACKNOWLEDGED)
    assert site.load().acknowledged_by == "lee"
    wait_for(browser, lambda: "Ms. Lee is responding" in find(browser, ".hero").text)
    assert site.wakes.count == 2  # one for the sign-in, one for the acknowledgment
    assert next_step(browser) == "I'm here"
    find(browser, "#arrive").click()
    wait_for(browser, lambda: "Ms. Lee arrived " in find(browser, ".hero").text)
    assert next_step(browser) == "Confirmed"

    find(browser, "button[value=spray]").click()
    wait_for(browser, lambda: site.load().verdict is Verdict.FALSE_ALARM)
    wait_for(browser, lambda: "False alarm: spray" in find(browser, ".hero").text)
    find(browser, "button[value=confirmed]").click()
    wait_for(browser, lambda: site.load().verdict is Verdict.CONFIRMED)
    wait_for(browser, lambda: "Vaping confirmed" in find(browser, ".hero").text)
    assert next_step(browser) == "Save"
    find(browser, ".followed option[value=referral]").click()
    find(browser, "input[name=case_number]").send_keys("26/114")
    find(browser, "#followed").click()
    wait_for(browser, lambda: "action: referral" in find(browser, ".hero").text)
    assert site.load().case_number == "26/114"
    assert fits(browser)

    complaints = [
        entry["message"]
        for entry in browser.get_log("browser")
        if entry["level"] == "SEVERE" and "400 (Bad Request)" not in entry["message"]
    ]
    assert complaints == []


def next_step(browser):
    """Return the text of the first button with the next-step color."""
    return browser.execute_script(
        "const color = b => getComputedStyle(b).backgroundColor;"
        "const step = color(document.querySelector('header.top'));"
        "return [...document.querySelectorAll('main button')].find("
        "b => b.offsetParent && color(b) === step).textContent"
    )


def judged_by_axe(browser):
    """Return axe-core's serious and critical findings on the current page."""
    browser.execute_script(AXE)
    found = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, {resultTypes: ['violations']}).then("
        "  r => done(r.violations), e => done([{id: String(e), impact: 'critical', nodes: []}]));"
    )
    return [
        (v["id"], v["impact"], [n["html"][:160] for n in v["nodes"]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("site", [{"one_click": False}], indirect=True)
def test_pages_are_sane_for_keyboards_and_screen_readers(site, browser):
    paths = (
        "/",
        "/sign-in",
        "/incidents",
        "/incidents/{}",
        "/rooms/n2-boys",
        "/rooms/n2-boys?span=day",
        "/air",
        "/figures",
        "/duty",
        "/silences",
        "/sensors",
        "/sensors/pw-0/device",
        "/levels",
        "/reports",
    )
    found = {}
    browser.get(f"{site.url}/sign-in?next=/account")
    found["/sign-in"] = judged_by_axe(browser)
    sign_in(browser)
    for path in (*paths, "/account", "/nowhere"):
        browser.get(site.url + path.format(site.incident))
        found[path] = judged_by_axe(browser)
        assert fits(browser), path
        if path == "/sensors":
            assert stacked_fit(browser), path
    assert {path: serious for path, serious in found.items() if serious} == {}
    complaints = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert [c for c in complaints if "404 (Not Found)" not in c] == []


@on_a_desktop
@pytest.mark.parametrize("code", ["en", "es"])
def test_the_header_of_a_desk_is_one_row_and_shows_the_focus(site, browser, code):
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{site.url}/sign-in")
    sign_in(browser)
    browser.get(f"{site.url}/?lang={code}")
    tops = browser.execute_script(
        "return [...document.querySelectorAll('.top nav > a')]"
        ".map(e => e.getBoundingClientRect().top)"
    )
    assert (len(tops), len(set(tops))) == (9, 1)
    for _ in range(3):
        browser.switch_to.active_element.send_keys(Keys.TAB)
    ring, ground = browser.execute_script(
        "const on = document.activeElement, top = document.querySelector('.top');"
        "return [top.contains(on) && getComputedStyle(on).outlineColor,"
        "  getComputedStyle(top).backgroundColor]"
    )
    assert ring == "rgb(255, 255, 255)" != ground


@on_a_phone
@pytest.mark.parametrize("code", ["en", "es"])
def test_the_navigation_of_a_phone_is_one_row_without_scrolling(site, browser, code):
    for width in (360, 390):
        screen = {"width": width, "height": 780, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        browser.get(f"{site.url}/?lang={code}")
        tops, wide, tall = browser.execute_script(
            "const bar = document.querySelector('.top nav');"
            "const shown = [...bar.children].filter(e => e.getClientRects().length);"
            "return [shown.map(e => e.getBoundingClientRect().top),"
            "  Math.max(bar.scrollWidth, document.documentElement.scrollWidth),"
            "  document.querySelector('.top').getBoundingClientRect().height];"
        )
        assert (len(tops), len(set(tops))) == (5, 1)
        assert wide <= width
        assert tall < 115
    find(browser, ".more summary").click()
    find(browser, '.more a[href="/air"]').click()
    wait_for(browser, lambda: browser.current_url.endswith("/air"))
    assert find(browser, ".more summary.here")


@on_a_phone
@pytest.mark.parametrize("size", ["100%", "200%"])
def test_long_names_and_large_text_fit_a_phone(browser_of_size, tmp_path, monkeypatch, size):
    browser, word = browser_of_size, "Students'Restroom" * 3
    named = tuple(replace(r, name=f"{word} {r.name}", building=word) for r in ROOMS)
    monkeypatch.setattr(sys.modules[__name__], "ROOMS", named)
    site = Site(tmp_path)
    try:
        for path in ("/", "/incidents", f"/incidents/{site.incident}", "/sensors"):
            browser.get(site.url + path)
            browser.execute_script(f"document.documentElement.style.fontSize = '{size}'")
            assert fits(browser), path
            assert browser.execute_script(
                "const inside = (e, box) => e.getBoundingClientRect().right"
                "  <= box.getBoundingClientRect().right + 1;"
                "const whole = [...document.querySelectorAll("
                "  '.row .what, .card .names, .top nav > *')]"
                "  .filter(e => e.getClientRects().length);"
                "return whole.length && whole.every("
                "  e => e.scrollWidth <= e.clientWidth + 1 && inside(e, e.parentElement))"
            ), path
            small, large = browser.execute_script(
                "return ['.fine', 'h1, h2'].map(c => parseFloat("
                "  getComputedStyle(document.querySelector('main ' + c)).fontSize))"
            )
            text = browser.execute_script(
                "return parseFloat(getComputedStyle(document.body).fontSize)"
            )
            assert small < text < large, path
    finally:
        site.close()


@on_a_phone
def test_the_board_refreshes_itself_and_keeps_the_focus(site, browser):
    browser.get(site.url)
    browser.execute_script("document.querySelector('a[href=\"/rooms/n1-girls\"]').focus()")
    with sqlite.transaction(site.db) as tx:
        site.engine.acknowledge(tx, site.incident, "Mr. Fox", time.time())
    wait_for(browser, lambda: "Mr. Fox is responding" in find(browser, "#board").text)
    focused = browser.execute_script("return document.activeElement.getAttribute('href')")
    assert focused == "/rooms/n1-girls"


@on_a_phone
def test_the_evidence_picture_is_shown_and_renewed_with_the_event(site, browser):
    browser.get(f"{site.url}/incidents/{site.incident}")
    picture = find(browser, "#evidence img")
    size = "return [arguments[0].naturalWidth, arguments[0].naturalHeight]"
    wait_for(browser, lambda: browser.execute_script(size, picture) == [360, 378])
    assert "fine particles rose from 4 to 180 in 6 s" in picture.get_attribute("alt")
    before = picture.get_attribute("src")
    assert f"/incidents/{site.incident}/evidence.svg" in before
    assert fits(browser)

    # refreshes every two seconds keep the picture until there is new data
    browser.execute_script("window.first = document.querySelector('#evidence img')")
    browser.execute_script("document.querySelector('#record').dataset.old = '1'")
    renewed = "return document.querySelector('#record').dataset.old === undefined"
    wait_for(browser, lambda: browser.execute_script(renewed))
    same = "return document.querySelector('#evidence img') === window.first"
    assert browser.execute_script(same)
    onset = site.now - 300
    end = onset + 240
    site.tell(an_event("pw-0", EventKind.VAPE, EventPhase.ENDED, onset, end=end), -60)
    wait_for(browser, lambda: not browser.execute_script(same))
    picture = find(browser, "#evidence img")
    assert (
        picture.get_attribute("src") != before
    )  # a browser reuses a picture with the same address
    wait_for(browser, lambda: browser.execute_script(size, picture) == [360, 378])
    complaints = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert complaints == []


@on_a_phone
@pytest.mark.parametrize(("code", "humidity"), [("en", "Humidity, %"), ("es", "Humedad, %")])
def test_an_incident_fits_a_phone_in_the_language_asked_for(site, browser, code, humidity):
    end = site.now - 60
    site.tell(an_event("pw-0", EventKind.VAPE, EventPhase.ENDED, site.now - 300, end=end), -60)
    browser.get(f"{site.url}/sign-in")
    sign_in(browser)
    browser.get(f"{site.url}/incidents/{site.incident}?lang={code}")
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script(
        "const wide = [...document.querySelectorAll('.scroll')];"
        "return wide.length && wide.every(e => e.scrollWidth <= e.clientWidth)"
    )
    lines = browser.execute_script(
        "const lines = (text, from, to) => { const range = new Range();"
        "  range.setStart(text, from); range.setEnd(text, to);"
        "  return new Set([...range.getClientRects()].map(r => r.top)).size; };"
        "const words = (text) => [...text.data.matchAll(/\\S+/g)]"
        "  .map(w => lines(text, w.index, w.index + w[0].length));"
        "const texts = (css) => [...document.querySelectorAll(css)].map(e => e.firstChild);"
        "return [texts('.chips button').flatMap(words),"
        "  texts('.history time').map(t => lines(t, 0, t.length))];"
    )
    assert [set(found) for found in lines] == [{1}, {1}]
    drawn, overlaps = browser.execute_async_script(
        "fetch(document.querySelector('#evidence img').src).then(r => r.text()).then(svg => {"
        "  const box = document.body.appendChild(document.createElement('div'));"
        "  box.innerHTML = svg;"
        "  const texts = [...box.querySelectorAll('text')], boxes = texts.map(t => t.getBBox());"
        "  const apart = (a, b) => a.x >= b.x + b.width || a.y >= b.y + b.height;"
        "  const over = boxes.flatMap((a, k) => boxes.slice(0, k)"
        "    .filter(b => !apart(a, b) && !apart(b, a)).map(() => texts[k].textContent));"
        "  arguments[0]([texts.map(t => t.textContent), over]); })"
    )
    assert humidity in drawn
    assert overlaps == []
    browser.get(f"{site.url}/rooms/n2-boys?lang={code}")
    wait_for(browser, lambda: humidity in texts(browser, ".charts[data-drawn] figcaption"))
    browser.execute_script("document.querySelector('#hero').dataset.old = 'yes'")
    wait_for(browser, lambda: not find(browser, "#hero").get_attribute("data-old"))
    assert ("lectura" in find(browser, "#hero").text) is (code == "es")


def link_for(site, person="lee", incident=""):
    about = incident or site.incident
    with sqlite.transaction(site.db) as tx:
        token = action_tokens.issue(tx, about, person, Action.ACKNOWLEDGE, time.time())
    return f"{site.url}/answer#{token}"


@on_a_phone
def test_answer_from_a_notice_without_signing_in(site, browser):
    link = link_for(site)
    browser.get(link)
    wait_for(browser, lambda: "Boys N2" in find(browser, "#room").text)
    assert f"{VAPE} since" in find(browser, "#what").text
    assert find(browser, "#more").text == "Sign in for details"
    assert find(browser, "#arrive button").is_enabled()
    assert judged_by_axe(browser) == []
    assert fits(browser)
    # a scanner that runs the page's script must not send anything
    for script in (
        "window.posts = []; const f = fetch; fetch = (...all) => posts.push(all) && f(...all)",
        "document.querySelector('#take').requestSubmit()",
        "document.querySelector('#take button').click()",
        "for (const f of document.forms) f.requestSubmit()",
    ):
        browser.execute_script(script)
    assert browser.execute_script("return posts") == []
    assert site.load().status is not Status.ACKNOWLEDGED

    find(browser, "#take button").send_keys("\ue007")  # the enter key
    wait_for(browser, lambda: "You're responding, Ms. Lee." in find(browser, "#said").text)
    assert site.load().acknowledged_by == "lee"
    assert browser.execute_script("return posts.length") == 1
    browser.get("about:blank")
    browser.get(link)  # as if the phone was locked in the meantime
    wait_for(browser, lambda: "You're responding, Ms. Lee." in find(browser, "#said").text)
    assert find(browser, "#take button").text == "✓ Responding"
    wait_for(browser, lambda: find(browser, "#arrive button").is_enabled())
    assert find(browser, "#decline").is_displayed()
    places = places_of(browser)
    browser.execute_script("document.querySelector('#arrive button').click()")
    assert site.load().arrived_at is None
    find(browser, "#arrive button").click()
    wait_for(browser, lambda: "You're on site." in find(browser, "#said").text)
    assert site.load().arrived_at
    assert not find(browser, "#arrive button").is_enabled()
    assert not find(browser, "#decline").is_displayed()
    assert places_of(browser)[:-1] == places[:-1]
    find(browser, "#found button[value=spray]").click()
    wait_for(browser, lambda: "Done." in find(browser, "#said").text)
    assert find(browser, "#what").text == "False alarm: spray"
    assert not find(browser, "#steps").is_displayed()
    assert site.load().verdict is Verdict.FALSE_ALARM
    assert find(browser, "#more").text == "Sign in to record the follow-up"
    assert find(browser, "#more").get_attribute("href") == f"{site.url}/incidents/{site.incident}"
    assert judged_by_axe(browser) == []
    find(browser, "#change").click()
    wait_for(browser, lambda: find(browser, "#found button[value=confirmed]").is_displayed())
    find(browser, "#found button[value=confirmed]").click()
    wait_for(browser, lambda: find(browser, "#what").text == "Vaping confirmed")
    assert site.load().verdict is Verdict.CONFIRMED


@on_a_phone
def test_an_open_answer_follows_another_answer_and_an_outage(site, browser):
    with sqlite.transaction(site.db) as tx:
        site.engine.record_feedback(tx, site.incident, "lee", Verdict.CONFIRMED, time.time())
    browser.get(link_for(site))
    wait_for(browser, lambda: find(browser, "#said").text == "Done. Your answer is recorded.")
    with sqlite.transaction(site.db) as tx:
        site.engine.record_feedback(tx, site.incident, "fox", Verdict.TEST, time.time())
    wait_for(browser, lambda: find(browser, "#said").text == "Mr. Fox answered.")
    browser.execute_cdp_cmd("Network.enable", {})
    reach = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **reach})
    wait_for(browser, lambda: find(browser, "#wrong").text.startswith("Can't reach Plumewatch."))
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, **reach})
    wait_for(browser, lambda: not find(browser, "#wrong").is_displayed())


@on_a_phone
def test_a_link_opened_after_somebody_else_answered_names_them_and_takes_another_answer(
    site, browser
):
    with sqlite.transaction(site.db) as tx:
        site.engine.arrive(tx, site.incident, "fox", time.time())
    browser.get(link_for(site))
    wait_for(browser, lambda: "Mr. Fox is on site." in find(browser, "#said").text)
    assert texts(browser, "#steps button.primary") == []
    assert not find(browser, "#decline").is_displayed()
    with sqlite.transaction(site.db) as tx:
        site.engine.record_feedback(tx, site.incident, "fox", Verdict.TEST, time.time())
    wait_for(browser, lambda: find(browser, "#said").text == "Mr. Fox answered.")
    assert not find(browser, "#steps").is_displayed()
    assert find(browser, "#change").text == "Give another answer"
    find(browser, "#change").click()
    wait_for(browser, lambda: find(browser, "#found button[value=steam]").is_enabled())
    assert not find(browser, "#decline").is_displayed()
    find(browser, "#found button[value=steam]").click()
    wait_for(browser, lambda: find(browser, "#replace").is_displayed())
    assert judged_by_axe(browser) == []
    find(browser, "#replace").click()
    wait_for(browser, lambda: find(browser, "#what").text == "False alarm: steam")
    assert find(browser, "#said").text == "Done. Your answer is recorded."
    assert site.load().verdict is Verdict.FALSE_ALARM


@on_a_phone
def test_a_second_link_in_the_same_tab_is_about_its_own_incident_and_person(site, browser):
    other = site.tell(an_event("pw-5", EventKind.VAPE, EventPhase.ALERTED, site.now), 6)[0].incident
    browser.get(link_for(site))
    wait_for(browser, lambda: find(browser, "#room").text == "Boys N2")
    browser.get(link_for(site, "fox", other))  # only the fragment differs, so nothing is loaded
    wait_for(browser, lambda: find(browser, "#room").text == "Locker room B")
    wait_for(browser, lambda: find(browser, "#take button:enabled").click() is None)
    wait_for(browser, lambda: "You're responding, Mr. Fox." in find(browser, "#said").text)
    assert repository.load(site.db, other).acknowledged_by == "fox"
    assert site.load().acknowledged_by == ""


@on_a_phone
def test_the_link_of_an_incident_that_nobody_responded_to_takes_an_answer(site, browser):
    with sqlite.transaction(site.db) as tx:
        site.engine.resolve(tx, site.incident, "fox", time.time())
    browser.get(link_for(site))
    wait_for(browser, lambda: find(browser, "#said").text.startswith("Nobody responded. The inc"))
    assert not find(browser, "#take button").is_enabled()
    find(browser, "#found button[value=spray]").click()
    wait_for(browser, lambda: find(browser, "#what").text == "False alarm: spray")
    assert site.load().verdict is Verdict.FALSE_ALARM


def places_of(browser):
    """Return the position of each button on the answer page."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#steps button')]"
        ".map(b => b.getBoundingClientRect().y)"
    )


def test_a_person_who_cannot_go_declines_with_one_tap(site, browser):
    browser.get(link_for(site))
    wait_for(browser, lambda: find(browser, "#decline button").is_enabled())
    find(browser, "#decline button").click()
    wait_for(browser, lambda: not find(browser, "#steps").is_displayed())
    assert site.load().status is not Status.ACKNOWLEDGED
    find(browser, "#change").click()  # the person can go after all
    wait_for(browser, lambda: "You're responding" in find(browser, "#said").text)
    assert site.load().acknowledged_by == "lee"
    find(browser, "#decline button").click()
    notified = "Done. Mr. Fox is being notified now."
    wait_for(browser, lambda: find(browser, "#said").text == notified)
    with sqlite.transaction(site.db) as tx:
        site.engine.arrive(tx, site.incident, "fox", time.time())
    wait_for(browser, lambda: find(browser, "#said").text == "Done. Mr. Fox is on site.")


@on_a_phone
def test_links_that_do_not_work_explain_why(site, browser):
    for end, expected in (("", "incomplete"), ("#nonsense", "is not valid")):
        browser.get(f"{site.url}/answer{end}")
        wait_for(browser, lambda expected=expected: expected in find(browser, "#wrong").text)
        wait_for(browser, lambda: not find(browser, "#take").is_displayed())


@on_a_desktop
@pytest.mark.parametrize("site", [{"one_click": False}], indirect=True)
def test_a_silence_by_keyboard_alone(site, browser):
    from selenium.webdriver.common.keys import Keys

    def press(*keys):
        from selenium.webdriver import ActionChains

        ActionChains(browser).send_keys(*keys).perform()

    browser.get(f"{site.url}/sign-in?next=/silences")
    browser.execute_script("arguments[0].focus()", find(browser, "input[name=account]"))
    press("fox", Keys.TAB, PASSWORD, Keys.ENTER)
    wait_for(browser, lambda: browser.current_url == f"{site.url}/silences")
    place = find(browser, "#add select[name=place]")
    browser.execute_script("arguments[0].focus()", place)
    down = Keys.ARROW_DOWN  # Boys N2, vaping, starting now, for two hours
    press(down, Keys.TAB, down, Keys.TAB, Keys.TAB, down, Keys.TAB)
    press("123456 paints", Keys.ENTER)
    wait_for(browser, lambda: "identifies a person: 123456" in find(browser, "[role=alert]").text)
    assert fits(browser)
    browser.execute_script("arguments[0].focus()", find(browser, "#add input[name=reason]"))
    press(Keys.END, Keys.HOME, *[Keys.DELETE] * 7, Keys.ENTER)
    wait_for(browser, lambda: "Mr. Fox · until" in find(browser, "#list").text)
    assert "Boys N2, floor 2, North building: vaping" in find(browser, "#list").text
    assert "Mr. Fox" in find(browser, "#list").text
    assert fits(browser)
    find(browser, "#list button").send_keys(Keys.ENTER)
    wait_for(browser, lambda: "ended by Mr. Fox" in find(browser, "#list").text)
