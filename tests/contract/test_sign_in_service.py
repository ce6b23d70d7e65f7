"""Test sign-in to a whole service with a provider, and as a local administrator without one."""

import asyncio
import re
import signal
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.support import oidc_provider
from tests.support.service import ServiceProcess, run_command
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.attack,
    pytest.mark.filterwarnings(
        "ignore:get_jwt_config:DeprecationWarning",
        "ignore::authlib.deprecate.AuthlibDeprecationWarning",
    ),
]
SECRET = "marked-secret-of-the-client"
MORE = """
[sign_in]
issuer = "{issuer}"
client_id = "plumewatch"
client_secret_file = "client-secret"
groups_claim = "groups"

[[sign_in.group]]
group = "pw-admins"
role = "admin"

[[staff]]
id = "breakglass"
name = "Break glass"
role = "admin"
"""


@pytest.fixture
def provider():
    with oidc_provider.running() as running:
        claims = {"email": "ap@school.example", "email_verified": True, "groups": ["pw-admins"]}
        running.person("sub-ap", **claims)
        yield running


@pytest.fixture
def service(tmp_path, provider):
    (tmp_path / "client-secret").write_text(SECRET)
    made = ServiceProcess(tmp_path, 9)
    text = made.config.read_text() + MORE.format(issuer=provider.url)
    named = 'name = "Assistant principal"'
    made.config.write_text(text.replace(named, f'{named}\nemail = "ap@school.example"'))
    (tmp_path / "people.csv").write_text("id,name,email\nguard,Guard,guard@contractor.example\n")
    yield made
    made.end(signal.SIGKILL)


def greeted(browser):
    found = re.search(r'<a class="name" href="/account"[^>]*>([^<]+)', browser.get("/account").text)
    return found and found[1]


def test_people_sign_in_at_the_provider_and_without_it_the_break_glass_account(service, provider):
    service.start(connected=False)
    url = f"http://127.0.0.1:{service.web_port}"

    def is_up():
        try:
            return httpx.get(f"{url}/healthz", timeout=60).is_success
        except httpx.TransportError:
            return False

    eventually(is_up, lambda: service.log, 60)
    for path in ("/", "/incidents", "/sensors", "/rooms/N2-boys/series"):
        # requests as forwarded by a local proxy that adds no header, such as nginx 1.30
        assert httpx.get(f"{url}{path}", timeout=60).headers["location"].startswith("/sign-in"), (
            path
        )
    assert httpx.get(f"{url}/wall", timeout=60).status_code == 403
    with httpx.Client(base_url=url, timeout=60) as browser:
        begun = browser.get("/sign-in/provider?next=/tokens")
        back = asyncio.run(provider.sign_in(begun.headers["location"], "sub-ap"))
        assert back.startswith(f"{url}/sign-in/callback?")
        assert browser.get(back).status_code == 200
        assert greeted(browser) == "Assistant principal"
        assert browser.get("/tokens").status_code == 200  # the group makes them an administrator
    checked = run_command("check", "--config", str(service.config))
    assert f"it sends people back to {url}/sign-in/callback" in " ".join(checked.stdout.split())
    provider.failing = True
    checked = run_command("check", "--config", str(service.config))
    assert "only people with passwords can sign in" in " ".join(checked.stdout.split())
    with httpx.Client(base_url=url, timeout=60) as browser:
        service.sign_in(browser, "breakglass")
        assert greeted(browser) == "Break glass"
        token = re.search(r'name="form_token" value="([^"]+)', browser.get("/people/guard").text)
        shown = browser.post("/people/guard/invite", data={"form_token": token[1]}).text
        invite = re.search(r"/welcome#([^\"]+)", shown)[1]
    with httpx.Client(base_url=url, timeout=60) as browser:
        chosen = browser.post("/welcome", data={"token": invite, "new": "seven blue kettles"})
        assert chosen.headers["location"] == "/people/guard"
        assert greeted(browser) == "Guard"
    service.end(signal.SIGTERM)
    for secret in (SECRET, parse_qs(urlsplit(back).query)["code"][0]):
        assert secret not in service.log + checked.stdout + checked.stderr
