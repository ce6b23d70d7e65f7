"""Read and write routes, matchers and test cases in the JSON format of the shared case files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from alerts.duty.roster import Matcher, MatchOp, Route

GOLDEN = Path(__file__).parents[1] / "golden" / "routing"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "alerting"


def case_files(variable, name, golden):
    """Return our golden file, and the file that the environment names or, if present, the shared
    one."""
    named = os.environ.get(variable)
    path = Path(named) if named else SHARED / name
    if not named and not path.exists():
        return [pytest.param(None, marks=pytest.mark.skip("no shared cases")), _read(golden)]
    return [_read(path), _read(golden)]


def _read(path):
    return pytest.param(json.loads(path.read_text(encoding="utf-8")), id=path.name)


def matchers_of(entries):
    return tuple(Matcher(e["name"], MatchOp(e["op"]), e["value"]) for e in entries)


def tree_of(routes, default):
    return Route(default, routes=tuple(map(route_of, routes)))


def route_of(entry):
    return Route(
        entry["receiver"],
        matchers_of(entry["matchers"]),
        entry["cont"],
        tuple(map(route_of, entry["routes"])),
    )


def written(route):
    """Return every matcher below a route, as text and as an object."""
    for matcher in route.matchers:
        yield str(matcher), matcher
    for child in route.routes:
        yield from written(child)
