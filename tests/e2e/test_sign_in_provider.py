"""Test sign-in at a provider on another site in a real browser, and a second factor."""

import time
from dataclasses import replace

import pyotp
import pytest

from alerts.access.sign_in_rules import SignInRules
from alerts.page.identity_provider import IdentityProvider, ProviderSettings
from alerts.secrets import Secret
from tests.e2e.test_staff_page import (
    Site,
    browser_of_size,
    find,
    judged_by_axe,
    on_a_phone,
    pytestmark,
    sign_in,
    wait_for,
)
from tests.support import oidc_provider

__all__ = ["browser_of_size", "pytestmark"]


@pytest.fixture
def provider():
    with oidc_provider.running(
        "localhost"
    ) as running:  # browsers treat this as a different site from 127.0.0.1
        running.person("sub-lee", email="lee@school.example", email_verified=True)
        yield running


@pytest.fixture
def site(tmp_path, provider):
    settings = ProviderSettings(
        issuer=provider.url,
        client_id="plumewatch",
        client_secret=Secret("secret"),
        callback="",
        name="School ID",
        allow_private=True,
    )
    at = IdentityProvider(settings, time.time)
    rules = SignInRules(local=frozenset({"lee"}), second_factor=frozenset({"admin"}))
    site = Site(tmp_path, provider=at, sign_in=rules, one_click=False)
    at.settings = replace(settings, callback=f"{site.url}/sign-in/callback")
    lee, fox = site.engine.policy.staff
    staff = (replace(lee, email="lee@school.example"), fox)
    site.engine.policy = replace(site.engine.policy, staff=staff)
    yield site
    site.close()


@on_a_phone
@pytest.mark.filterwarnings(
    "ignore:get_jwt_config:DeprecationWarning",
    "ignore::authlib.deprecate.AuthlibDeprecationWarning",
)
def test_who_comes_back_from_the_provider_is_signed_in(site, provider, browser_of_size):
    browser = browser_of_size
    browser.get(f"{site.url}/incidents")
    assert judged_by_axe(browser) == []
    find(browser, "#provider").click()
    wait_for(browser, lambda: browser.current_url.startswith(provider.url))
    find(browser, "input[name=sub]").send_keys("sub-lee")
    find(browser, "form button:not([value=deny])").click()
    wait_for(browser, lambda: browser.current_url == f"{site.url}/incidents")
    assert find(browser, ".who .name").get_attribute("textContent") == "Ms. Lee"
    cookies = {cookie["name"]: cookie for cookie in browser.get_cookies()}
    assert cookies["plumewatch_session"]["sameSite"] == "Strict"
    assert "plumewatch_signing-in" not in cookies


@on_a_phone
def test_a_second_factor_is_set_up_at_the_sign_in(site, browser_of_size):
    browser = browser_of_size
    browser.delete_all_cookies()
    browser.get(f"{site.url}/sign-in")
    find(browser, "#local summary").click()
    sign_in(browser)
    wait_for(browser, lambda: browser.current_url.endswith("/sign-in/code"))
    assert judged_by_axe(browser) == []
    secret = find(browser, "#secret").text.replace(" ", "")
    picture = find(browser, "main img")
    assert browser.execute_script("return arguments[0].naturalWidth", picture) > 100
    find(browser, "input[name=code]").send_keys(pyotp.TOTP(secret).now())
    find(browser, "main button[type=submit]").click()
    assert len(find(browser, "#codes").text.split()) == 8
    assert judged_by_axe(browser) == []
    find(browser, "main a.button").click()
    wait_for(browser, lambda: find(browser, ".who .name").is_displayed())
