"""Test that free text is searched for numbers and addresses of people, but not for air data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.incidents.free_text import clean_text, find_identifiers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hair spray by the sink",
        "Nobody there, window open. Smell of fruit, haze under the ceiling.",
        "Cleaning cart was in the North building at 10:05, gone by 10:20",
        "PM2.5 was 180, fan 3 off, room 214, 45 minutes",
        "The fog machine of the theater class",
        "Sensor fell off. Put it back; see ticket 8841",
        "will check again, may be the dryer",
        "Ms. Lee looked, Lincoln High",
        "Will come back. May be steam.",
        "Lysol was used",
    ],
)
def test_what_is_about_the_place_passes(text):
    assert find_identifiers(clean_text(text)) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("id 123456", "123456"),
        ("id 4471-882 seen", "4471-882"),
        ("call (555) 010-4477", "555) 010-4477"),
        ("born 2009-03-14", "2009-03-14"),
        ("mail kid.one@school.example", "kid.one@school.example"),
        ("insta @vapelord", "@vapelord"),
        ("١٢٣٤٥٦٧", "١٢٣٤٥٦٧"),
        ("\uff11\uff12\uff13\uff14\uff15\uff16", "123456"),
        ("12\u200b3456", "123456"),
    ],
)
def test_identifiers_are_found(text, what):
    assert find_identifiers(clean_text(text)) == [what]


@given(st.text(max_size=300))
def test_any_text_is_cleaned_once_and_judged(text):
    once = clean_text(text)
    assert clean_text(once) == once
    assert once.isprintable()
    assert all(find_identifiers(once))


def test_long_hostile_text_is_checked_quickly():
    for text in ("1 " * 2_000, "A" * 4_000, "a.b@" * 1_000, "Aa Bb " * 800, "1-" * 2_000):
        find_identifiers(text)
