from __future__ import annotations

import pytest

from alerts.errors import MatcherError
from alerts.routing.matchers import parse_matchers
from alerts.routing.muting import InhibitRule, check_silence, inhibited_by


def rule(source, target, *equal):
    return InhibitRule(parse_matchers(source), parse_matchers(target), equal)


@pytest.mark.parametrize("text", ["", 'floor=""', 'floor!="2",kind=~".*"', 'kind!~".+"'])
def test_a_silence_of_everything_is_refused(text):
    with pytest.raises(MatcherError, match="absent label"):
        check_silence(parse_matchers(text))


def test_a_silence_with_matchers_and_reason_is_accepted():
    check_silence(parse_matchers('floor!="2",room="N2-boys"'))


OUTAGE = rule('kind="gateway_down"', 'kind="offline"', "building")


@pytest.mark.parametrize(
    ("source", "target", "inhibited"),
    [
        ({"building": "North"}, {"building": "North"}, True),
        ({"building": "North"}, {"building": "South"}, False),
        ({}, {}, True),  # absent in both is agreement
        ({"building": ""}, {}, True),
        ({"building": "North"}, {}, False),
        ({}, {"building": "North"}, False),
    ],
)
def test_both_must_agree_in_the_labels_of_the_rule(source, target, inhibited):
    source, target = {**source, "kind": "gateway_down"}, {**target, "kind": "offline"}
    assert (inhibited_by([OUTAGE], target, [target, source]) == source) is inhibited


def test_a_missing_source_inhibits_nothing():
    target = {"kind": "offline", "building": "North"}
    assert inhibited_by([OUTAGE], target, [target]) is None
    assert inhibited_by([], target, [{"kind": "gateway_down"}]) is None
    assert inhibited_by([OUTAGE], {"kind": "vape"}, [{"kind": "gateway_down"}]) is None


def test_what_fulfils_both_sides_is_not_inhibited_by_its_like_or_itself():
    both = rule('kind=~"vape|smoke"', 'kind=~"vape|dust"')
    vape, other = {"kind": "vape", "room": "a"}, {"kind": "vape", "room": "b"}
    smoke, dust = {"kind": "smoke"}, {"kind": "dust"}
    assert inhibited_by([both], vape, [vape]) is None
    assert inhibited_by([both], vape, [vape, other]) is None
    assert inhibited_by([both], vape, [vape, other, smoke]) == smoke
    assert inhibited_by([both], dust, [dust, vape]) == vape


def test_the_first_rule_that_matches_is_the_reason():
    rules = [rule("kind=smoke", "kind=dust"), rule("kind=vape", "kind=dust")]
    running = [{"kind": "vape"}, {"kind": "smoke"}]
    assert inhibited_by(rules, {"kind": "dust"}, running) == {"kind": "smoke"}
