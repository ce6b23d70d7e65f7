"""Test which conditions are refused, and that no pattern takes long to match."""

from __future__ import annotations

import pytest

from alerts.duty.roster import MAX_PATTERN, Matcher, MatchOp, parse_matchers
from alerts.errors import MatcherError


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


def matched(pattern, value):
    return Matcher("room", MatchOp.REGEX, pattern).matches({"room": value})


@pytest.mark.parametrize(
    "pattern",
    ["(", "a)|(?:b", r"\1", "(?=a)", r"\p{Nonsense}", "(a{1000}){1000}", "a" * (MAX_PATTERN + 1)],
)
def test_what_is_refused(pattern):
    with pytest.raises(MatcherError, match="regular expression"):
        Matcher("room", MatchOp.REGEX, pattern)


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a?){80}a{80}", r"(\w+\s?)*x"])
def test_no_pattern_can_keep_us_busy(pattern):
    """A backtracking regex engine would practically never finish these."""
    assert not matched(pattern, "a" * 5_000 + "!")
