"""Test the settings forms on the page: saving, faults, roles, and the audit log."""

import json
import re
import tomllib
from datetime import datetime

import pytest

from alerts.access import passwords
from alerts.access.limits import Limits
from alerts.errors import PermanentNotifyError
from alerts.notify.trial_notices import TrialNotice
from plumewatch.config.editor import ConfigEditor
from storage import audit
from storage.rate_limit import Bound, RateLimit
from storage.sqlite import transaction
from tests.unit.alerts.test_page import KEPT

TEXT = """\
site = "Lincoln High"
timezone = "America/New_York"
data_dir = "data"

# people; keep in step with the office
[[staff]]
id = "ap"
name = "A. Principal"

[[staff]]
id = "fm"
name = "F. Manager"
role = "facilities"
notify = [{ url_file = "fm-push" }]

[[staff]]
id = "ad"
name = "Ad Min"
role = "admin"

[[room]]
id = "n2-boys"
name = "Boys N2" # second floor
building = "North"
floor = "2"

[[sensor]]
id = "s1"
room = "n2-boys"

[[bells]]
id = "regular"
days = ["mon", "tue"]
periods = [{ name = "1", start = "08:00", end = "09:00" }]

[[shift]]
id = "hall"
receiver = "staff"
people = ["ap"]
start = "07:00"
end = "16:00"

[[shift]]
id = "door"
receiver = "staff"
people = ["fm"]
start = "07:00"
end = "16:00"
"""


@pytest.fixture
def setup(tmp_path, open_page):
    (tmp_path / "fm-push").write_text("json://secret.example/x")
    path = tmp_path / "plumewatch.toml"
    path.write_text(TEXT)
    applied = []
    config = ConfigEditor(path, tmp_path / "history", lambda: applied.append(1))
    page = open_page(config=config)
    page.path, page.applied = path, applied
    return page


async def send(page, path, *, look="", **form):
    """Submit the form at `look`, with its token and version."""
    text = (await page.client.get(look or path)).text
    fields = dict(re.findall(r'name="(form_token|version)" value="([^"]+)"', text))
    return await page.client.post(path, data={**fields, **form})


def saved(page):
    """Return the audit log's entries about saved settings."""
    return [e for e in audit.read_entries(page.db) if e.kind == audit.AuditKind.SETTINGS]


def tree(page):
    return tomllib.loads(page.path.read_text())


ROOM = {"name": "Boys, 2nd floor", "building": "North", "floor": "2", "kind": "restroom"}


async def test_a_room_is_renamed_in_the_file_and_put_into_effect(setup):
    await setup.sign_in("fm")
    answer = await send(setup, "/settings/rooms/0", **ROOM)
    assert (answer.status_code, answer.headers["location"]) == (303, "/settings/rooms?saved=yes")
    expected = TEXT.replace('name = "Boys N2" #', 'name = "Boys, 2nd floor" #')
    assert setup.path.read_text() == expected
    assert setup.applied == [1]
    (entry,) = saved(setup)
    detail = json.loads(entry.detail)
    assert entry.actor == "fm"
    assert (detail["before"], detail["after"]) == (
        '{"name": "Boys N2"}',
        '{"name": "Boys, 2nd floor"}',
    )


async def test_all_faults_are_beside_their_fields_and_what_was_typed_stays(setup):
    await setup.sign_in("ad")
    periods = {"periods.0.name": "1", "periods.0.start": "9", "periods.0.end": "10:00"}
    form = {"id": "Early release", "days": ["wed"], "first": "2026-13-01", **periods}
    answer = await send(setup, "/settings/bells/new", **form)
    assert answer.status_code == 400
    for name in ("first", "periods-0-start"):
        assert re.search(rf'id="f-{name}-note"><strong class="fault">', answer.text), name
        assert re.search(rf'id="f-{name}"[^>]*aria-invalid="true"', answer.text), name
    assert 'value="2026-13-01"' in answer.text
    assert 'value="wed" checked' in answer.text
    assert setup.path.read_text() == TEXT
    answer = await send(setup, "/settings/people/new", name=" ")
    assert "Required." in answer.text


async def test_a_fault_outside_the_form_is_reported_above_it(setup):
    await setup.sign_in("ad")
    answer = await send(setup, "/settings/people/0/remove", look="/settings/people/0")
    assert answer.status_code == 400
    assert "shift hall: people" in answer.text
    assert setup.path.read_text() == TEXT


async def test_quiet_hours_are_saved_again_and_cleared(setup):
    await setup.sign_in("ad")
    row = {"quiet_hours.0.start": "22:00", "quiet_hours.0.end": "06:00"}
    for form in (row, row, {"quiet_hours.0.start": "", "quiet_hours.0.end": ""}):
        answer = await send(setup, "/settings/quiet-hours/0", **form)
        assert answer.status_code == 303
    assert "quiet_hours" not in tree(setup)["staff"][0]


@pytest.mark.parametrize(
    ("form", "typed", "field", "message"),
    [
        ("people/1", {"name": "F", "role": "root"}, "role", "list"),
        ("people/new", {"name": "A. Principal"}, "name", "already one"),
        ("rooms/new", {"name": "Boys N2", "building": "North", "floor": "2"}, "name", "already"),
        (
            "quiet-hours/0",
            {"quiet_hours.0.start": "06:00", "quiet_hours.0.end": "06:00"},
            "quiet_hours.0.end",
            "Start and end are the same",
        ),
    ],
)
async def test_what_a_form_does_not_offer_is_refused(setup, form, typed, field, message):
    await setup.sign_in("ad")
    answer = await send(setup, f"/settings/{form}", **typed)
    assert answer.status_code == 400
    name = field.replace(".", "-")
    note = re.search(rf'id="f-{name}-note"><strong class="fault">([^<]*)', answer.text)
    assert note, answer.text
    assert message in note[1]
    assert setup.path.read_text() == TEXT


async def test_keys_that_the_form_does_not_show_stay(setup):
    await setup.sign_in("ad")
    form = {"name": "F. M.", "role": "facilities", "notify.0.url_file": "other"}
    quiet = {"quiet_hours.0.start": "22:00", "quiet_hours.0.end": "06:00"}
    assert (await send(setup, "/settings/people/1", **form, **quiet)).status_code == 303
    changed = tree(setup)["staff"][1]
    assert changed["notify"] == [{"url_file": "fm-push"}]
    assert changed["quiet_hours"] == [{"start": "22:00", "end": "06:00"}]


SUBSTITUTE = {
    "shift": "hall",
    "remove": "ap",
    "add": "fm",
    "start": "2026-09-07T10:00",
    "end": "2026-09-07T15:00",
}


async def test_a_substitute_for_today_and_until_when(setup):
    await setup.sign_in("ap")
    form = (await setup.client.get("/settings/duty/new")).text
    assert 'value="2026-09-07T18:00"' in form  # the form suggests the end of today
    assert (await send(setup, "/settings/duty/new", **SUBSTITUTE)).status_code == 303
    (made,) = tree(setup)["override"]
    assert made["end"] == datetime(2026, 9, 7, 15)  # noqa: DTZ001
    shown = (await setup.client.get("/settings/duty")).text
    assert "F. Manager instead of A. Principal" in shown
    setup.now += 86_400
    assert "F. Manager instead" not in (await setup.client.get("/settings/duty")).text


async def test_a_swap_changes_both_shifts(setup):
    await setup.sign_in("ap")
    assert (await send(setup, "/settings/duty/new", **SUBSTITUTE, _swap="door")).status_code == 303
    first, second = tree(setup)["override"]
    assert (first["shift"], first["add"], first["remove"]) == ("hall", "fm", "ap")
    assert (second["shift"], second["add"], second["remove"]) == ("door", "ap", "fm")


async def test_a_device_is_replaced_and_its_history_continues(setup):
    await setup.sign_in("fm")
    form = {"id": "s1", "room": "n2-boys", "aliases": "new-device", "interval_s": "5"}
    assert (await send(setup, "/settings/sensors/0", **form)).status_code == 303
    assert tree(setup)["sensor"][0] == {"id": "s1", "room": "n2-boys", "aliases": ["new-device"]}


@pytest.mark.parametrize(
    ("person", "allowed"),
    [("ap", {"duty"}), ("fm", {"duty", "rooms", "sensors"}), ("an", set()), ("ad", {"*"})],
)
async def test_roles_decide_what_a_person_may_change(setup, person, allowed):
    await setup.sign_in(person)
    for slug in ("duty", "people", "rooms", "sensors", "bells", "shifts", "holidays"):
        may = slug in allowed or "*" in allowed
        assert (await setup.client.get(f"/settings/{slug}")).status_code == (200 if may else 403)
        if not may:
            token = await setup.form_token("/account")
            form = {"form_token": token, "version": "x"}
            for path in (f"/settings/{slug}/0", f"/settings/{slug}/0/remove"):
                assert (await setup.client.post(path, data=form)).status_code == 403
    assert setup.path.read_text() == TEXT


async def test_bells_are_named_in_words_and_numbers_have_labels(setup):
    setup.path.write_text(TEXT.replace('room = "n2-boys"', 'room = "n2-boys"\ninterval_s = 9'))
    await setup.sign_in("ad")
    assert "Seconds between readings: 9" in (await setup.client.get("/settings/sensors")).text
    row = {"periods.0.name": "1", "periods.0.start": "08:00", "periods.0.end": "09:00"}
    form = {"id": "Early release", "days": ["wed"], **row}
    assert (await send(setup, "/settings/bells/new", **form)).status_code == 303
    assert tree(setup)["bells"][-1]["id"] == "early-release"
    assert "<strong>Early release</strong>" in (await setup.client.get("/settings/bells")).text


@pytest.mark.parametrize(
    "name", ["Period", "Período de la mañana", "é" * 57, "\U0001f514" * 56], ids=len
)
async def test_a_long_change_is_saved_and_shortened_in_the_audit_log(setup, name):
    await setup.sign_in("ad")
    for path, minute in (("new", 0), ("1", 1)):
        form = {"id": "long", "days": ["mon"]}
        for k in range(35):
            hour = 7 + k // 3
            form[f"periods.{k}.name"] = f"{name} {k}"
            form[f"periods.{k}.start"] = f"{hour:02}:{k % 3 * 20 + minute:02}"
            form[f"periods.{k}.end"] = f"{hour:02}:{k % 3 * 20 + 15 + minute:02}"
        assert (await send(setup, f"/settings/bells/{path}", **form)).status_code == 303
    assert len(saved(setup)) == 2
    assert name in json.loads(saved(setup)[-1].detail)["after"]


async def test_people_set_their_own_quiet_hours_alone(setup):
    await setup.sign_in("fm")
    shown = (await setup.client.get("/settings/quiet-hours")).text
    assert "F. Manager" in shown
    assert "Ad Min" not in shown
    form = {"quiet_hours.0.start": "22:00", "quiet_hours.0.end": "06:00", "role": "admin"}
    assert (await send(setup, "/settings/quiet-hours/1", **form)).status_code == 303
    assert tree(setup)["staff"][1]["role"] == "facilities"
    answer = await send(setup, "/settings/quiet-hours/0", look="/settings/quiet-hours/1", **form)
    assert answer.status_code == 404


async def test_a_form_needs_its_token_and_a_session(setup):
    assert (await setup.client.get("/settings")).status_code == 303
    await setup.sign_in("ad")
    assert (await setup.client.post("/settings/rooms/0", data=ROOM)).status_code == 403
    assert setup.path.read_text() == TEXT


async def test_a_form_that_was_overtaken_is_refused_and_keeps_what_was_typed(setup):
    await setup.sign_in("ad")
    text = (await setup.client.get("/settings/rooms/0")).text
    fields = dict(re.findall(r'name="(form_token|version)" value="([^"]+)"', text))
    setup.path.write_text(TEXT + "# by hand\n")
    answer = await setup.client.post("/settings/rooms/0", data={**fields, **ROOM})
    assert "has changed since you opened this page" in answer.text
    assert 'value="Boys, 2nd floor"' in answer.text
    assert setup.applied == []


async def test_no_page_shows_a_secret(setup):
    await setup.sign_in("ad")
    for path in ("/settings", "/settings/people", "/settings/people/1", "/account"):
        assert "secret.example" not in (await setup.client.get(path)).text


async def test_a_missing_file_is_reported_on_the_page(open_page):
    page = open_page()
    await page.sign_in("ad")
    assert "without a configuration file" in (await page.client.get("/settings")).text
    assert (await page.client.get("/settings/rooms")).status_code == 404


async def test_send_me_a_test(open_page):
    asked = []

    async def send_test(member):
        asked.append(member.id)
        error = PermanentNotifyError("refused") if member.id == "fm" else None
        return [TrialNotice(member.id, k, error) for k, _ in enumerate(member.targets, start=1)]

    page = open_page(send_test=send_test)
    await page.sign_in("ap")
    answer = await send(page, "/settings/test", look="/account")
    assert "Webhook, from the configuration: delivered." in answer.text
    assert (await send(page, "/settings/test", look="/account", person="ad")).status_code == 403
    await page.sign_in("ad")
    answer = await send(page, "/settings/test", look="/account", person="fm")
    assert "Webhook, from the configuration: not delivered (the service refused it)" in answer.text
    assert '<p><a href="/people/fm">F. Manager</a></p>' in answer.text
    answer = await send(page, "/settings/test", look="/account")
    assert "No channel yet" in answer.text
    await send(page, "/settings/test", look="/account", person="ap")
    assert (await send(page, "/settings/test", look="/account")).status_code == 429
    assert asked == ["ap", "fm", "ad", "ap"]


@pytest.mark.parametrize("limit", ["test_notices", "all_test_notices"])
async def test_test_notices_cannot_use_up_what_a_push_server_delivers_a_day(open_page, limit):
    async def send_test(_member):
        return []

    day = RateLimit(Bound(2, 86_400.0))
    page = open_page(send_test=send_test, limits=Limits(**{limit: day}))
    await page.sign_in("ap")
    codes = []
    for _ in range(3):
        page.now += 61
        codes.append((await send(page, "/settings/test", look="/account")).status_code)
    assert codes == [200, 200, 429]


async def test_who_is_removed_leaves_no_password_to_the_next_of_the_name(setup):
    await setup.sign_in("ad")
    await send(setup, "/settings/people/new", name="Door guard")
    with transaction(setup.db) as tx:
        passwords.set_password(tx, "door-guard", KEPT, 1.0)
    await send(setup, "/settings/people/3/remove", look="/settings/people/3")
    await send(setup, "/settings/people/new", name="Door guard", role="admin")
    assert tree(setup)["staff"][-1]["id"] == "door-guard"
    assert passwords.load_hash(setup.db, "door-guard") is None


@pytest.mark.parametrize(("end", "code"), [("2099-01-01T00:00", 400), ("2026-09-08T18:00", 303)])
async def test_duty_is_changed_for_two_weeks_at_most(setup, end, code):
    await setup.sign_in("ap")
    form = {"shift": "door", "remove": "fm", "add": "ap", "start": "2026-09-07T07:00", "end": end}
    answer = await send(setup, "/settings/duty/new", **form)
    assert answer.status_code == code
    assert ("two weeks" in answer.text) == (code == 400)


async def test_a_change_of_the_configuration_gives_no_new_tries(setup, open_page):
    limits = Limits()
    for tries in (range(5), range(5)):  # the second round is after a restart
        page = open_page(limits=limits)
        token = re.search(
            r'name="form_token" value="([^"]+)"', (await page.client.get("/sign-in")).text
        )
        form = {"person": "ad", "password": "wrong", "form_token": token[1] if token else ""}
        codes = [(await page.client.post("/sign-in", data=form)).status_code for _ in tries]
    assert set(codes) == {429}


async def test_a_room_on_a_new_floor_gets_a_zone_of_its_own_where_there_are_zones(setup):
    await setup.sign_in("ad")
    setup.path.write_text(f'{TEXT}\n[[zone]]\nid = "n2"\nbuilding = "North"\nfloor = "2"\n')
    for floor, zones in (("2", 1), ("3", 2), ("3", 2)):
        form = {"name": f"Room {zones}{floor}{len(tree(setup)['room'])}", "building": "North"}
        answer = await send(setup, "/settings/rooms/new", **form, floor=floor)
        assert answer.status_code == 303
        assert len(tree(setup)["zone"]) == zones
    assert tree(setup)["zone"][-1] == {"id": "north-3", "building": "North", "floor": "3"}
    text = setup.path.read_text().replace('id = "hall"', 'id = "hall"\nzones = ["n2"]')
    setup.path.write_text(text)
    form = (await setup.client.get("/settings/duty/new")).text
    choices = re.findall(r"<option[^>]*>([^<]*)", form)
    assert choices[:2] == ["Choose…", "A. Principal · Staff · floor 2, North · 7:00 AM – 4:00 PM"]
    assert "> floor 2, North</label>" in (await setup.client.get("/settings/shifts/new")).text


async def test_entries_in_files_of_schools_are_listed_and_changed_on_the_server(setup):
    (setup.path.parent / "sites").mkdir()
    (setup.path.parent / "sites" / "annex.toml").write_text(
        'name = "Annex"\n[[room]]\nid = "annex-girls"\nname = "Girls, annex"\nbuilding = "A"\n'
        '[[shift]]\nid = "annex-door"\nreceiver = "staff"\npeople = ["fm"]\nstart = "07:00"\n'
    )
    await setup.sign_in("ad")
    rooms = (await setup.client.get("/settings/rooms")).text
    (row,) = re.findall(r"<li[^>]*>((?:(?!<li).)*Girls, annex.*?)</li>", rooms, re.DOTALL)
    assert "in sites/annex.toml" in row
    assert "href" not in row
    number = len(tree(setup)["room"])
    assert (await setup.client.get(f"/settings/rooms/{number}")).status_code == 404
    duty = (await setup.client.get("/settings/duty/new")).text
    assert 'value="annex-door"' in duty
