"""Test the routing tree over random trees, and matchers over any text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alerts.duty.roster import Matcher, MatchOp, Route, choose_routes, parse_matchers
from alerts.errors import MatcherError

NAMES = st.sampled_from(["kind", "floor", "room"])
VALUES = st.sampled_from(["", "1", "2", "vape"])
PATTERNS = st.sampled_from(["", ".*", ".+", "1|2", "v.*"])
LABELS = st.dictionaries(NAMES, VALUES)
MATCHERS = st.one_of(
    st.builds(Matcher, NAMES, st.sampled_from([MatchOp.EQUAL, MatchOp.NOT_EQUAL]), VALUES),
    st.builds(Matcher, NAMES, st.sampled_from([MatchOp.REGEX, MatchOp.NOT_REGEX]), PATTERNS),
)
RECEIVERS = st.sampled_from(["a", "b", None])
LISTS = st.lists(MATCHERS, max_size=2).map(tuple)
ROUTES = st.recursive(
    st.builds(Route, RECEIVERS, LISTS, st.booleans()),
    lambda below: st.builds(
        Route, RECEIVERS, LISTS, st.booleans(), st.lists(below, max_size=3).map(tuple)
    ),
    max_leaves=12,
)
ROOTS = st.lists(ROUTES, max_size=4).map(lambda routes: Route("root", routes=tuple(routes)))


@given(ROOTS, LABELS)
def test_an_empty_value_is_as_good_as_none(root, labels):
    assert choose_routes(root, labels) == choose_routes(
        root, {k: v for k, v in labels.items() if v}
    )


@given(st.text(min_size=1, max_size=20), st.sampled_from(["=", "!="]), st.text(max_size=20))
def test_a_matcher_reads_back_as_it_is_written(name, op, value):
    matcher = Matcher(name, MatchOp(op), value)
    assert parse_matchers(f"{{ {matcher} , }}") == (matcher,)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        found = parse_matchers(text)
    except MatcherError:
        return
    assert parse_matchers(",".join(map(str, found))) == found
