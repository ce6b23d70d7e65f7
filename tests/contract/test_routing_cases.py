"""Compare the routing tree with Alertmanager's own results, case by case.

``routing.json`` has random trees and cases, with the results of ``amtool config routes test``. Some
values distinguish RE2 from other regular expressions, or need quoting.
`PLUMEWATCH_ROUTING_CASES` names another file in this format.
"""

import json
import os
from pathlib import Path

import pytest

from alerts.duty.roster import Matcher, MatchOp, Route, choose_routes, parse_matchers

GOLDEN = Path(__file__).parents[1] / "golden/routing/routing.json"
FILES = (str(GOLDEN), *filter(None, [os.environ.get("PLUMEWATCH_ROUTING_CASES")]))


def route_of(entry, default=None):
    matchers = (Matcher(e["name"], MatchOp(e["op"]), e["value"]) for e in entry.get("matchers", ()))
    below = tuple(map(route_of, entry["routes"]))
    return Route(entry.get("receiver", default), tuple(matchers), entry.get("cont", False), below)


def list_matchers(route):
    """Return every matcher at and below a route."""
    return [*route.matchers, *(m for child in route.routes for m in list_matchers(child))]


@pytest.fixture(scope="module", params=FILES)
def file(request):
    return json.loads(Path(request.param).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def trees(file):
    return [route_of(tree, file["default"]) for tree in file["trees"]]


def test_every_case_goes_where_alertmanager_sends_it(file, trees):
    wrong = [
        (case["tree"], case["labels"], found, case["receivers"])
        for case in file["cases"]
        if (found := [c.receiver for c in choose_routes(trees[case["tree"]], case["labels"])])
        != case["receivers"]
    ]
    assert not wrong, f"{len(wrong)} of {len(file['cases'])}: {wrong[:3]}"
    assert file["cases"]


def test_matchers_read_back_as_they_are_written(trees):
    matchers = [matcher for tree in trees for matcher in list_matchers(tree)]
    assert matchers
    assert [m for m in matchers if parse_matchers(str(m)) != (m,)] == []
