"""Test that texts are harmless wherever they are shown, and can be restored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from language.plain_text import escape_reversibly, make_inert, restore

ATTACKS = [
    '=HYPERLINK("http://evil.example","click")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    "＝1+1",
    "'=1",
    "a\u202egnp.exe",
    "\x1b[2Jgone",
    "one\ntwo\x00",
    "back\\slash \\u202e",
    "<script>alert(1)</script>",
    "#let x = 1; *bold* $x$",
    "\ud800",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_an_attack_is_inert_and_comes_back(text):
    safe = make_inert(text)
    assert safe.isprintable()
    assert safe[:1] not in tuple("=+-@\t\r\n＝＋－＠")
    assert restore(safe) == text


@given(st.text(st.characters()))
def test_any_text_is_inert_and_comes_back(text):
    safe = make_inert(text)
    assert safe.isprintable()
    assert safe[:1] not in tuple("=+-@\t\r\n＝＋－＠")
    assert restore(safe) == text
    assert escape_reversibly(text).isprintable()


@pytest.mark.parametrize("text", ["Boys' restroom, 2nd floor", "Mädchen µg/m³", "", "O'Neil"])
def test_ordinary_names_are_as_they_are(text):
    assert make_inert(text) == escape_reversibly(text) == restore(text) == text
