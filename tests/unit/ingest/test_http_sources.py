"""Test who can post for which sensors, and how often: tokens, signatures, replays, rates."""

import base64

import pytest

from alerts.secrets import Secret
from ingest.http import sources as http_sources
from ingest.http.sources import (
    Guesses,
    HttpSource,
    find_by_token,
    make_limit,
)
from tests.support.memory import assert_bounded

ONE = HttpSource("one", "halo", token=Secret("token-of-one-0000"))
TWO = HttpSource("two", "halo", token=Secret("token-of-two:0000"))
SIGNING = HttpSource("cloud", "verkada", signature=Secret("shared-secret-00"))
SOURCES = [ONE, SIGNING, TWO]


def basic(name, token):
    return "Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Bearer token-of-one-0000", ONE),
        ("bearer  token-of-two:0000 ", TWO),
        (basic("one", "token-of-one-0000"), ONE),
        (basic("two", "token-of-two:0000"), TWO),
        (basic("two", "token-of-one-0000"), None),
        (basic("", "token-of-one-0000"), None),
        ("Bearer token-of-one-000", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("token-of-one-0000", None),
        ("Basic", None),
        ("Basic !!!!", None),
        ("Basic " + base64.b64encode(b"\xff\xfe:x").decode(), None),
        ("Basic \xe9", None),
        ("Digest token-of-one-0000", None),
        ("Bearer töken", None),
    ],
)
def test_by_token(header, found):
    assert find_by_token(SOURCES, header) is found


def test_every_source_is_compared():
    asked = []

    class Spy(Secret):
        def matches(self, candidate):
            asked.append(self.reveal())
            return super().matches(candidate)

    sources = [HttpSource(str(k), "halo", token=Spy(f"token-{k}")) for k in range(3)]
    assert find_by_token(sources, "Bearer token-0") is sources[0]
    assert asked == ["token-0", "token-1", "token-2"]


@pytest.mark.parametrize(
    ("named", "known", "addressed", "allowed"),
    [
        ("b2", "b2", "", True),
        ("B-2", "b2", "", True),
        ("b3", "b3", "", False),
        ("unregistered", None, "", False),
        ("b2:SDS", None, "", True),
        ("b2:SDS", "b2:SDS", "", False),
        ("b2", "b2", "b2", True),
        ("b2:SDS", None, "b2", True),
        ("b4", "b4", "b2", False),
        ("b4", "b4", "B4", True),
        ("b3", "b3", "b3", False),
        ("b22", None, "", False),
        ("84fce612f5b8", "b2", "b2", True),  # an alias of b2
        ("84fce612f5b8", "b2", "b4", False),
    ],
)
def test_a_source_with_sensors(named, known, addressed, allowed):
    source = HttpSource("s", "halo", sensors=frozenset({"b2", "b4"}))
    assert source.permits(named, known, addressed) is allowed


def test_a_source_without_sensors_may_name_unregistered_sensors():
    source = HttpSource("s", "halo", sensors=frozenset({"b2"}), accepts_unregistered=True)
    assert source.permits("unregistered", None)
    assert not source.permits("b3", "b3")
    assert not source.permits("unregistered", None, "b2")


def test_a_source_sends_at_its_rate_and_twice_as_much_at_once():
    limit = make_limit(HttpSource("s", "x", rate_per_s=2.0))
    assert [limit.take("", 100.0) for _ in range(5)] == [0, 0, 0, 0, 2.0]
    assert limit.take("", 101.5) == 0.5
    assert limit.take("", 102.0) == 0
    assert sum(limit.take("", 200.0 + k / 10) == 0 for k in range(1_000)) == 200
    slow = make_limit(HttpSource("s", "x", rate_per_s=0.1))
    assert [slow.take("", 0.0) for _ in range(3)] == [0, 0, 20]


def test_addresses_are_bounded(monkeypatch):
    monkeypatch.setattr(http_sources, "_MAX_ADDRESSES", 5)
    guesses = Guesses()
    assert_bounded(
        guesses,
        50,
        lambda k: (guesses.count_wrong(str(k), 0.0), guesses.record_success(str(k), 0.0)),
    )
