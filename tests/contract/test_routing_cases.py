"""Compare the routing tree with Alertmanager's own results, case by case.

`PLUMEWATCH_ROUTING_CASES` names another file in this format; by default, the shared file is used if
present. The golden file always runs.
"""

from __future__ import annotations

import contextlib
import json
import re

import pytest

from alerts.duty.roster import choose_routes, parse_matchers
from tests.support.routing import GOLDEN, case_files, tree_of, written

FILES = case_files("PLUMEWATCH_ROUTING_CASES", "routing_public.json", GOLDEN / "routing.json")


@pytest.fixture(params=FILES)
def file(request):
    return request.param


@pytest.fixture
def trees(file):
    return [tree_of(tree["routes"], file["default"]) for tree in file["trees"]]


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
    texts = [pair for tree in trees for pair in written(tree)]
    assert texts
    assert [text for text, matcher in texts if parse_matchers(text) != (matcher,)] == []


def test_matchers_of_alertmanagers_own_configuration_are_read(file, trees):
    """This covers lines of its YAML that are JSON strings, as most are."""
    for tree, entry in zip(trees, file["trees"], strict=True):
        known = [matcher for _, matcher in written(tree)]
        for line in re.findall(r'^\s*- ("[^\n]+")$', entry.get("config", ""), re.MULTILINE):
            with contextlib.suppress(json.JSONDecodeError):
                (matcher,) = parse_matchers(json.loads(line))
                assert matcher in known
