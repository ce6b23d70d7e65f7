"""Patterns are those of RE2: what it accepts, what it refuses, and that it never takes long."""

from __future__ import annotations

import pytest

from alerts.errors import MatcherError
from alerts.routing.regex import MAX_PATTERN, whole_value


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("N2", "N2", True),
        ("N2", "N2-boys", False),
        ("boys", "N2-boys", False),
        ("N2|N2-boys", "N2-boys", True),
        ("N2$|x", "N2\n", False),  # `$` is the end of the value, not before a line break
        (r"N2\z", "N2", True),
        (r"\AN2", "N2", True),
        ("", "", True),
        ("", "x", False),
        (".*", "a\nb", False),  # a dot is no line break
        ("(?s).*", "a\nb", True),
        ("(?m)a$\nb", "a\nb", True),
        ("(?i)süd", "SÜD", True),
        ("(?i)k", "\u212a", True),  # Kelvin folds to k
        (r"\d", "٣", False),  # digits and words are ASCII
        (r"\pN", "٣", True),
        (r"\w+", "Süd", False),
        (r"\pL+", "Süd", True),
        (r"\p{Greek}", "α", True),
        (r"\P{Greek}", "a", True),
        (r"[[:alpha:]]+", "Süd", False),
        (r"\s", "\v", False),  # the vertical tab is no white space
        (r"\Qa.b\E", "a.b", True),
        (r"\Qa.b\E", "axb", False),
        (r"\Q\C\E", r"\C", True),
        (r"\\C", r"\C", True),
        (r"a{,2}", "a{,2}", True),  # no repetition: it has no lower bound
        (r"a{2}", "aa", True),
        (r"(?P<n>a)(?:b)", "ab", True),
        (r"\x{1F6BB}\x41\101", "🚻AA", True),
        (r"(?U)a+", "aaa", True),
        (r"^^a$$", "a", True),
    ],
)
def test_what_re2_means(pattern, value, matches):
    assert whole_value(pattern)(value) is matches


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "a)|(?:b",  # would escape from what holds it to the whole value
        "[",
        "*",
        "a**",
        "a++",
        r"\1",
        r"\Z",
        r"\C",
        r"a\C",
        r"\h",
        r"\N",
        "(?=a)",
        "(?<!a)",
        "(?>a)",
        "(?x)a",
        "(?#a)",
        "(?(1)a)",
        r"\p{Nonsense}",
        r"[a-\d]",
        "a{1001}",
        "(a{1000}){1000}",
        r"\Qa",  # unclosed: it would swallow the end of what it is wrapped in
        "\ud800",
        "a" * (MAX_PATTERN + 1),
    ],
)
def test_what_is_refused(pattern):
    with pytest.raises(MatcherError, match="regular expression"):
        whole_value(pattern)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "pattern", ["(a*)*b", "(a|aa)+b", "(.*)*x", "(a?){80}a{80}", "(?:(?:a+)+)+b", r"(\w+\s?)*x"]
)
def test_no_pattern_can_keep_us_busy(pattern):
    """A backtracking engine needs longer than the world is old for these."""
    assert not whole_value(pattern)("a" * 5_000 + "!")
