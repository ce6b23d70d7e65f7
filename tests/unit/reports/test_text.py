"""Test that text is harmless wherever it is shown, and that escaping is reversible."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from language.plain_text import escape_reversibly, make_inert, restore


def examples(test):
    for text in (
        "-2+3",
        "\t=1+1",
        "＝1+1",
        "'=1",
        "a\u202egnp",
        "\x1b[2J",
        "a\n\x00",
        "\\u202e",
        "\ud800",
    ):
        test = example(text)(test)
    return test


@given(st.text(st.characters()))
@examples
def test_any_text_is_inert_and_comes_back(text):
    safe = make_inert(text)
    assert safe.isprintable()
    assert safe[:1] not in tuple("=+-@\t\r\n＝＋－＠")
    assert restore(safe) == text
    assert escape_reversibly(text).isprintable()


@pytest.mark.parametrize("text", ["Boys' restroom, 2nd floor", "Mädchen µg/m³", "", "O'Neil"])
def test_ordinary_names_are_as_they_are(text):
    assert make_inert(text) == escape_reversibly(text) == restore(text) == text
