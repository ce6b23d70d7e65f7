"""The tree of routes; rows after Alertmanager's routing tests (Apache-2.0), in a school's terms."""

from __future__ import annotations

import pytest

from alerts.duty.roster import Route, choose_routes, parse_matchers, walk_routes


def route(text, receiver=None, *routes, continues=False):
    return Route(receiver, parse_matchers(text), continues, routes)


TREE = Route(
    "office",
    routes=(
        route(
            'building="North",severity!="info"',
            "north",
            route('kind="tamper"', "facilities"),
            route('kind="vape"', "hall", continues=True),
            route('kind=~"vap.*",room=~".*"', "nurse"),
        ),
        route('building=~"Gym|Annex"', "gym"),
        route(
            'room_type="locker"',
            None,
            route('kind="vape"', "coach", route('floor="2"')),
        ),
    ),
)


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({}, ["office"]),
        ({"building": "South"}, ["office"]),
        ({"building": "North"}, ["north"]),
        ({"building": "North", "kind": "dust"}, ["north"]),
        ({"building": "North", "severity": "info"}, ["office"]),
        ({"building": "North", "kind": "tamper"}, ["facilities"]),
        ({"building": "North", "kind": "vape"}, ["hall", "nurse"]),
        ({"building": "North", "kind": "vapor"}, ["nurse"]),
        ({"building": "Annex"}, ["gym"]),
        ({"building": "Annex 2"}, ["office"]),
        ({"building": "Gym", "room_type": "locker", "kind": "vape"}, ["gym"]),
        ({"room_type": "locker"}, ["office"]),
        ({"room_type": "locker", "kind": "vape"}, ["coach"]),
        ({"room_type": "locker", "kind": "vape", "floor": "2"}, ["coach"]),
    ],
)
def test_who_answers(labels, receivers):
    assert [node.receiver for node in choose_routes(TREE, labels)] == receivers


def test_one_that_goes_on_lets_its_siblings_answer_too():
    everything = Route(
        "a", routes=(route('x=""', "b", continues=True), route('x=""', "b"), route('x=""', "c"))
    )
    assert [node.receiver for node in choose_routes(everything, {})] == ["b", "b"]


def test_going_on_only_matters_among_siblings():
    tree = Route(
        "a", routes=(route("x=1", "b", route("y=1", "c", continues=True)), route("x=1", "d"))
    )
    assert [node.receiver for node in choose_routes(tree, {"x": "1", "y": "1"})] == ["c"]


def test_nodes_with_their_places():
    assert [(where, receiver) for where, receiver, _ in walk_routes(TREE)] == [
        ((), "office"),
        ((0,), "north"),
        ((0, 0), "facilities"),
        ((0, 1), "hall"),
        ((0, 2), "nurse"),
        ((1,), "gym"),
        ((2,), "office"),
        ((2, 0), "coach"),
        ((2, 0, 0), "coach"),
    ]


@pytest.mark.parametrize("root", [Route(None), Route(""), route("kind=vape", "a")])
def test_a_root_matches_everything_and_has_a_receiver(root):
    with pytest.raises(ValueError, match="the root"):
        choose_routes(root, {})
