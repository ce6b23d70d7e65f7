"""Reading conditions; rows after Alertmanager's parser tests (Apache-2.0), in our own values."""

from __future__ import annotations

import pytest

from alerts.duty.roster import MAX_PATTERN, Matcher, MatchOp, match_all, parse_matchers
from alerts.errors import MatcherError

SHAPES = ("{{{0}}}", "{{{0},}}", "{0}", "{0},", " {{ {0} }} ", "{{\n{0}\t,\r}}")
WORDS = [
    ("north", "north"),
    ("N2-boys", "N2-boys"),
    ("🚻", "🚻"),
    ("🚻bar", "🚻bar"),
    ("Süd:1.*[a-z]+$", "Süd:1.*[a-z]+$"),
    ('"north"', "north"),
    ('"two words"', "two words"),
    ('""', ""),
    (r'"a\n\t"', "a\n\t"),
    (r'"\"bar\""', '"bar"'),
    (r'"bar\\"', "bar\\"),
    ('"{}!=~,\'`"', "{}!=~,'`"),
    ('"a\u202fb"', "a\u202fb"),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("written", "value"), WORDS)
def test_one_matcher(shape, written, value):
    assert parse_matchers(shape.format(f"room!={written}")) == (
        Matcher("room", MatchOp.NOT_EQUAL, value),
    )


def test_a_name_is_written_like_a_value():
    assert parse_matchers('"two words"=x') == (Matcher("two words", MatchOp.EQUAL, "x"),)


@pytest.mark.parametrize("text", ["", "{}", " { } ", "\n"])
def test_no_matchers(text):
    assert parse_matchers(text) == ()


def test_several_matchers_hold_together():
    found = parse_matchers('{kind=~"vape|smoke", floor!=2}')
    assert [str(m) for m in found] == ['kind=~"vape|smoke"', 'floor!="2"']
    assert match_all(found, {"kind": "vape"})
    assert not match_all(found, {"kind": "vape", "floor": "2"})


@pytest.mark.parametrize(
    ("text", "column"),
    [
        (",", 1),
        ("kind=vape}", 1),
        ("{kind=vape", 1),
        ("kind=vape,,", 11),
        ("kind=vape floor=2", 1),
        ("kind", 1),
        ("kind~x", 1),
        ("kind=", 1),
        ("=vape", 1),
        ("kind='vape'", 1),
        ('floor="2", kind="vape', 12),
        ('kind="va\\wpe"', 1),
        ('""=x', 1),
        ("floor=2,kind=~(", 9),
    ],
)
def test_refusals_name_the_position(text, column):
    with pytest.raises(MatcherError, match=f"^column {column}: "):
        parse_matchers(text)


@pytest.mark.parametrize(
    ("text", "absent", "empty", "other"),
    [
        ('floor=""', True, True, False),
        ('floor!=""', False, False, True),
        ('floor=~""', True, True, False),
        ('floor=~".*"', True, True, True),
        ('floor=~".+"', False, False, True),
        ('floor!~".+"', True, True, False),
        ('floor!="2"', True, True, False),
        ('floor="2"', False, False, True),
        ('floor!~"1|2"', True, True, False),
    ],
)
def test_an_absent_label_equals_an_empty_value(text, absent, empty, other):
    (matcher,) = parse_matchers(text)
    found = [matcher.matches(labels) for labels in ({}, {"floor": ""}, {"floor": "2"})]
    assert found == [absent, empty, other]


@pytest.mark.parametrize(
    ("name", "op", "match"), [("", "=", "needs a name"), ("kind", "==", "not an operator")]
)
def test_a_matcher_that_cannot_be(name, op, match):
    with pytest.raises(MatcherError, match=match):
        Matcher(name, op, "x")


def matched(pattern, value):
    return Matcher("room", MatchOp.REGEX, pattern).matches({"room": value})


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("boys", "N2-boys", False),
        ("N2|N2-boys", "N2-boys", True),
        ("N2$|x", "N2\n", False),  # `$` is the end of the value, not before a line break
        ("", "x", False),
        (r"\d", "٣", False),  # digits and words are ASCII
        (r"\p{Greek}", "α", True),
        (r"\Qa.b\E", "axb", False),
        (r"\x{1F6BB}\x41\101", "🚻AA", True),
    ],
)
def test_what_re2_means(pattern, value, matches):
    assert matched(pattern, value) is matches


@pytest.mark.parametrize(
    "pattern",
    ["(", "a)|(?:b", r"\1", "(?=a)", r"\p{Nonsense}", "(a{1000}){1000}", "a" * (MAX_PATTERN + 1)],
)
def test_what_is_refused(pattern):
    with pytest.raises(MatcherError, match="regular expression"):
        Matcher("room", MatchOp.REGEX, pattern)


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a?){80}a{80}", r"(\w+\s?)*x"])
def test_no_pattern_can_keep_us_busy(pattern):
    """A backtracking engine needs longer than the world is old for these."""
    assert not matched(pattern, "a" * 5_000 + "!")
