"""The lint of free text: identifiers are refused, names asked about, the air left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.incidents.free_text import cleaned, findings

PLACES = ("Boys' restroom", "North building", "2nd floor", "Lincoln High", "Ms. Lee")


def found(text):
    marks = findings(cleaned(text), PLACES)
    return {f.text for f in marks if f.certain}, {f.text for f in marks if not f.certain}


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
    assert found(text) == (set(), set())


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
def test_identifiers_are_certain(text, what):
    certain, _ = found(text)
    assert certain == {what}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Jordan Smith had it", {"Jordan Smith"}),
        ("it was ethan again", {"ethan"}),
        ("saw Kowalczyk Nowak leave", {"Kowalczyk Nowak"}),
        ("a boy named Zbigniew", {"Zbigniew"}),
        ("student Okonkwo said so", {"Okonkwo"}),
        ("Ms. Okonkwo was here", {"Okonkwo"}),
        ("two boys, Zbigniew too", {"Zbigniew"}),
        ("Mr. Okonkwo was here", {"Okonkwo"}),
        ("ask Grace about it", {"Grace"}),
        ("Emily's bag", {"Emily's"}),
        ("two: Liam and Noah", {"Liam", "Noah"}),
        ("JoRdAn", set()),
    ],
)
def test_names_are_asked_about(text, what):
    certain, asked = found(text)
    assert (certain, asked) == (set(), what)


def test_what_it_cannot_find_is_what_the_docs_say():
    for text in ("Okonkwo was here", "the tall one from 8b", "J.S. again"):
        assert found(text) == (set(), set())


@given(st.text(max_size=300))
def test_any_text_is_cleaned_once_and_judged(text):
    once = cleaned(text)
    assert cleaned(once) == once
    assert once.isprintable()
    assert all(f.text for f in findings(once))


@pytest.mark.timeout(20)
def test_long_hostile_text_takes_no_time():
    for text in ("1 " * 2_000, "A" * 4_000, "a.b@" * 1_000, "Aa Bb " * 800, "1-" * 2_000):
        findings(text)
