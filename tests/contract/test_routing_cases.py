"""The tree of routes against what Alertmanager itself chose, case by case.

`PLUMEWATCH_ROUTING_CASES` names another file of the format; without it the shared file is taken
where it is present.
"""

from __future__ import annotations

import pytest

from alerts.routing.matchers import parse_matchers
from alerts.routing.tree import chosen
from tests.support.routing import cases_file, tree_of, written

CASES = cases_file("PLUMEWATCH_ROUTING_CASES", "routing_public.json")


@pytest.mark.skipif(CASES is None, reason="no file of routing cases")
def test_every_case_goes_where_alertmanager_sends_it():
    trees = [tree_of(tree["routes"], CASES["default"]) for tree in CASES["trees"]]
    wrong = [
        (case["tree"], case["labels"], found, case["receivers"])
        for case in CASES["cases"]
        if (found := [c.receiver for c in chosen(trees[case["tree"]], case["labels"])])
        != case["receivers"]
    ]
    assert not wrong, f"{len(wrong)} of {len(CASES['cases'])}: {wrong[:3]}"
    assert CASES["cases"]


@pytest.mark.skipif(CASES is None, reason="no file of routing cases")
def test_matchers_read_back_as_they_are_written():
    texts = [
        (text, matcher)
        for tree in CASES["trees"]
        for text, matcher in written(tree_of(tree["routes"], CASES["default"]))
    ]
    assert texts
    assert [text for text, matcher in texts if parse_matchers(text) != (matcher,)] == []
