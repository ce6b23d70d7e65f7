"""Test how a page's language is chosen: request, setting, configuration, browser, school."""

from dataclasses import replace

import pytest

from alerts.access.own_channels import OwnChannels, choose_language
from storage import sqlite


async def lang_of(page, path="/account", **headers):
    text = (await page.client.get(path, headers=headers)).text
    return text.partition('<html lang="')[2][:2]


@pytest.mark.parametrize(
    ("address", "accepted", "configured", "shown"),
    [
        ("/sign-in", "", "en", "en"),
        ("/sign-in", "es-MX,es;q=0.9,en;q=0.8", "en", "es"),
        ("/sign-in", "fr", "en", "en"),
        ("/sign-in", "fr", "es", "es"),
        ("/sign-in", "en-GB", "es", "en"),
        ("/sign-in?lang=es", "en", "en", "es"),
        ("/sign-in?lang=xx", "", "en", "en"),
    ],
)
async def test_the_address_precedes_the_browser_and_the_browser_the_school(
    open_page, policy, address, accepted, configured, shown
):
    page = open_page(replace(policy, language=configured))
    assert await lang_of(page, address, **{"accept-language": accepted}) == shown


def choose(page, database, language):
    with sqlite.transaction(page.db) as tx:
        choose_language(tx, "ap", language)
    page.engine.use_policy(OwnChannels(database).add_to(page.engine.policy))


async def test_people_choose_on_their_page_and_take_it_back(open_page, database):
    page = open_page(
        read_channels=lambda: page.engine.use_policy(OwnChannels(database).add_to(configured))
    )
    configured = page.engine.policy
    await page.sign_in()
    form = {"form_token": await page.form_token(), "language": "es"}
    assert (await page.client.post("/account/language", data=form)).status_code == 303
    assert await lang_of(page, **{"accept-language": "en"}) == "es"
    assert "Idioma de sus avisos y páginas" in (await page.client.get("/account")).text
    await page.client.post("/account/language", data={**form, "language": ""})
    assert await lang_of(page, **{"accept-language": "en"}) == "en"
    assert (
        await page.client.post("/account/language", data={**form, "language": "xx"})
    ).status_code == 400


async def test_a_missing_page_is_in_the_language_that_its_reader_has_chosen(open_page, database):
    page = open_page()
    await page.sign_in()
    choose(page, database, "es")
    missing = await page.client.get("/nowhere", headers={"accept-language": "en"})
    assert (missing.status_code, "Esta página no existe." in missing.text) == (404, True)


async def test_the_sign_for_the_door_is_in_every_language_that_of_the_reader_first(open_page):
    page = open_page()
    text = (await page.client.get("/sign?lang=es")).text
    spanish = text.index("Hay un sensor de aire en este espacio")
    assert spanish < text.index("There is an air sensor in this room")
