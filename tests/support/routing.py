"""Routes, matchers and files of cases, in the JSON formats of the shared case files."""

from __future__ import annotations

import json
import os
from pathlib import Path

from alerts.routing.matchers import Matcher, MatchOp
from alerts.routing.tree import Route

SHARED = Path(__file__).resolve().parents[3] / "shared" / "alerting"


def cases_file(variable, name):
    """The file that the environment names, else the shared one; None where there is neither."""
    named = os.environ.get(variable)
    path = Path(named) if named else SHARED / name
    if not named and not path.exists():
        return None
    return json.loads(path.read_text(encoding="utf-8"))


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
    """Every matcher below a route, as text and as it is."""
    for matcher in route.matchers:
        yield str(matcher), matcher
    for child in route.routes:
        yield from written(child)
