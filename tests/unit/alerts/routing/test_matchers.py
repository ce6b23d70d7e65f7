"""Reading conditions; rows after Alertmanager's parser tests (Apache-2.0), in our own values."""

from __future__ import annotations

import pytest

from alerts.errors import MatcherError
from alerts.routing.matchers import Matcher, MatchOp, all_match, parse_matchers

OPS = ("=", "!=", "=~", "!~")
SHAPES = ("{{{0}}}", "{{{0},}}", "{0}", "{0},", " {{ {0} }} ", "{{\n{0}\t,\r}}")
NO_PATTERNS = ("bar\\", "{}!=~,'`")
WORDS = [
    ("north", "north"),
    ("N2-boys", "N2-boys"),
    ("🚻", "🚻"),
    ("🚻bar", "🚻bar"),
    ("Süd:1.*[a-z]+$", "Süd:1.*[a-z]+$"),
    ('"north"', "north"),
    ('"two words"', "two words"),
    ('""', ""),
    (r'"\xf0\x9f\x9a\xbb"', "🚻"),
    (r'"\U0001f6bb"', "🚻"),
    (r'"\u00e4\303\244"', "ää"),
    (r'"a\n\t\r\a\b\f\v"', "a\n\t\r\a\b\f\v"),
    (r'"\"bar\""', '"bar"'),
    (r'"bar\\"', "bar\\"),
    ('"{}!=~,\'`"', "{}!=~,'`"),
    ('"a\u202fb"', "a\u202fb"),
]


ROWS = [
    (op, written, value)
    for op in OPS
    for written, value in WORDS
    if not ("~" in op and value in NO_PATTERNS)
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("op", "written", "value"), ROWS)
def test_one_matcher(op, shape, written, value):
    assert parse_matchers(shape.format(f"room{op}{written}")) == (
        Matcher("room", MatchOp(op), value),
    )


@pytest.mark.parametrize(("written", "name"), [w for w in WORDS if w[1]])
def test_a_name_is_written_like_a_value(written, name):
    assert parse_matchers(f"{written}=x") == (Matcher(name, MatchOp.EQUAL, "x"),)


@pytest.mark.parametrize("text", ["", "{}", " { } ", "\n"])
def test_no_matchers(text):
    assert parse_matchers(text) == ()


@pytest.mark.parametrize("text", ["{{{}}}", "{}", "{},", "{{{},}}"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_several_matchers_hold_together(text, quote):
    inner = f"kind={quote}vape{quote},floor!={quote}2{quote}"
    found = parse_matchers(text.format(inner))
    assert [str(m) for m in found] == ['kind="vape"', 'floor!="2"']
    assert all_match(found, {"kind": "vape"})
    assert not all_match(found, {"kind": "vape", "floor": "2"})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (",", "column 1: expected a label name, found ','"),
        ("{,}", "column 2: expected a label name"),
        ("{", "column 2: expected a closing brace, found the end"),
        ("}", "column 1: expected the end"),
        ("kind=vape}", "column 10: expected the end"),
        ("{kind=vape", "column 11: expected a comma or a closing brace"),
        ("{kind=vape}}", "column 12: expected the end"),
        ("{kind=vape},", "column 12: expected a comma|column 12: expected the end"),
        ("kind=vape,,", "column 11: expected a label name"),
        ("kind=vape floor=2", "column 11: expected a comma"),
        ('{kind=:"vape"}', "column 8: expected a comma or a closing brace, found '\"'"),
        ("kind", "column 5: expected one of = != =~ !~, found the end"),
        ("kind!", "column 5: expected one of"),
        ("kind~x", "column 5: expected one of"),
        ("kind=!x", "column 6: expected a value, found '!'"),
        ("kind!=!!", "column 7: expected a value"),
        ("kind=", "column 6: expected a value, found the end"),
        ("=vape", "column 1: expected a label name"),
        ("kind=va\\pe", "column 8: expected a comma, found"),
        ("kind='vape'", 'column 6: expected a value, found "\'"'),
        ('kind="vape', "column 6: the quote is never closed"),
        ('kind="vape\\"', "column 6: the quote is never closed"),
        ('kind="va\npe"', "column 9: a line break in quotes"),
        ('kind="va\\wpe"', "column 9: no such escape"),
        ('kind="\\xf"', "column 7: no such escape"),
        ('kind="\\400"', "column 7: no such escape"),
        ('kind="\\ud800"', "column 7: no such escape"),
        ('kind="\\U00110000"', "column 7: no such escape"),
        ('kind="\\\'"', "column 7: no such escape"),
        ('kind="\\xf0\\x9f"', "column 6: the quoted text is not UTF-8"),
        ('kind="\\u00e4\\344"', "column 6: the quoted text is not UTF-8"),
        ('""=x', "column 1: a label has a name"),
        ("kind=~(", "column 1: .*missing"),
    ],
)
def test_what_is_refused_says_where(text, match):
    with pytest.raises(MatcherError, match=match):
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
    ("name", "op", "match"), [("", "=", "has a name"), ("kind", "==", "no operator")]
)
def test_a_matcher_that_cannot_be(name, op, match):
    with pytest.raises(MatcherError, match=match):
        Matcher(name, op, "x")
