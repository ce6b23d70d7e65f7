import asyncio
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from babel.dates import format_datetime

from language.messages import (
    FORMS,
    Sentences,
    Words,
    _,
    agree,
    build_fact,
    choose_language,
    defer,
    get_language,
    join_words,
    mark,
    ngettext,
    use_language,
    write_date,
)


def test_messages_are_english_unless_somebody_chose():
    assert get_language() == "en"
    assert _("since %(when)s", when="10:05") == "since 10:05"
    with use_language("es"):
        assert _("since %(when)s", when="10:05") == "desde 10:05"
    assert _("Rooms") == "Rooms"


def test_an_unknown_language_is_english():
    with use_language("xx"):
        assert _("Rooms") == "Rooms"


def test_a_plural_follows_its_number():
    one, many = (f"Too many failed attempts. Wait %(n)d minute{s}." for s in ("", "s"))
    with use_language("es"):
        assert ngettext(one, many, 1).endswith("1 minuto.")
        assert ngettext(one, many, 2).endswith("2 minutos.")


def test_a_table_and_a_message_for_later_are_in_the_language_of_their_reader():
    words, message = Words({"name": mark("Name")}), defer("since %(when)s", when="10:05")
    assert (words["name"], str(message)) == ("Name", "since 10:05")
    with use_language("es"):
        assert (words["name"], str(message)) == ("Nombre", "desde 10:05")
        assert join_words(["a", "b", "c"]) == "a, b y c"


async def test_one_task_does_not_change_the_language_of_another():
    async def page(code):
        with use_language(code):
            await asyncio.sleep(0)
            return _("Rooms")

    assert await asyncio.gather(page("es"), page("en")) == ["Espacios", "Rooms"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", ""),
        ("es", "es"),
        ("es-419,es;q=0.9,en;q=0.8", "es"),
        ("en-US,en;q=0.9,es;q=0.8", "en"),
        ("fr;q=0.9, ES-mx;q=0.5", "es"),
        ("es;q=0", ""),
        ("es;q=..", ""),
        ("*", ""),
        ("," * 100_000, ""),
    ],
)
def test_the_browsers_first_language_that_we_have_is_chosen(header, code):
    assert choose_language(header) == code


def test_dates_follow_the_language():
    day = datetime(2026, 9, 7, 10, 5, tzinfo=UTC)
    assert write_date(day, "moment") == "Mon, Sep 7, 10:05 AM"
    with use_language("es"):
        assert write_date(day, "moment") == "lun 7 de sept, 10:05 a.m."


@pytest.mark.parametrize(
    ("form", "hour", "since", "at"),
    [
        ("clock", 13, "X desde la 1:05 p.m.", "acudió allí a la 1:05 p.m."),
        ("clock", 1, "X desde la 1:05 a.m.", "acudió allí a la 1:05 a.m."),
        ("clock", 11, "X desde las 11:05 a.m.", "acudió allí a las 11:05 a.m."),
        ("moment", 13, "X desde el lun 7 de sept, 1:05 p.m.", "acudió allí el lun 7 de sept, 1:05"),
        ("day and clock", 11, "X desde el 7 sept, 11:05 a.m.", "acudió allí el 7 sept, 11:05 a.m."),
    ],
)
def test_spanish_articles_agree_with_the_time(form, hour, since, at):
    sentences = Sentences({"at": "responded there at %(time)s"})
    with use_language("es"):
        time = write_date(datetime(2026, 9, 7, hour, 5, tzinfo=UTC), form)
        assert _("%(what)s since %(time)s", what="X", time=time) == since
        assert str(defer("%(what)s since %(time)s", what="X", time=time)) == since
        assert sentences.write(build_fact("at", time=time)).startswith(at)
        page = agree(f'De turno a las <time datetime="2026">{time}</time>')
        assert page.replace("<time", "").startswith("De turno " + at.split()[2])
    assert _("%(what)s since %(time)s", what="a las", time="1:05") == "a las since 1:05"


@pytest.mark.parametrize("form", FORMS)
def test_spanish_dates_are_those_of_the_cldr(form):
    codes = {"%-d": "d", "%B": "MMMM", "%b": "MMM", "%Y": "y", "%a": "EEE", "%Z": "z"}
    codes |= {"%-I": "h", "%p": "a", "%M": "mm", "%S": "ss", "de": "'de'"}
    pattern = re.sub("|".join(codes), lambda found: codes[found[0]], FORMS[form][1])
    first = datetime(2026, 1, 1, 9, 5, 7, tzinfo=ZoneInfo("America/Chicago"))
    with use_language("es"):
        for days in range(0, 365, 5):
            day = first + timedelta(days=days)
            assert write_date(day, form) == format_datetime(day, pattern, locale="es_US")
