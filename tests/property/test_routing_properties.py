"""Compare routing with a naive implementation on random trees, and test matchers with any text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alerts.duty.roster import Matcher, MatchOp, Route, choose_routes, match_all, parse_matchers
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


def flat(root):
    """Return every node with its ancestors, and the earlier siblings of each."""

    def below(node, path):
        yield [*path, node]
        for i, child in enumerate(node.routes):
            yield from below(child, [*path, (node, node.routes[:i])])

    for entry in below(root, []):
        *above, node = entry
        nodes = [pair[0] for pair in above] + [node]
        earlier = [pair[1] for pair in above]
        yield nodes, earlier


def reference(root, labels):
    """Return the nodes that match along with their ancestors, unless an earlier sibling or a child
    does."""
    answers = []
    for nodes, earlier in flat(root):
        fits = all(match_all(node.matchers, labels) for node in nodes[1:])
        taken = any(
            match_all(sibling.matchers, labels) and not sibling.continues
            for siblings in earlier
            for sibling in siblings
        )
        below = any(match_all(child.matchers, labels) for child in nodes[-1].routes)
        if fits and not taken and not below:
            answers.append(next(n.receiver for n in reversed(nodes) if n.receiver))
    return answers


@given(ROOTS, LABELS)
def test_the_tree_follows_its_rules(root, labels):
    found = [node.receiver for node in choose_routes(root, labels)]
    assert found == reference(root, labels)
    assert found


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
