"""Test the evidence sentence."""

import pytest

from detection.events import (
    ChannelEvidence,
    Detail,
    Event,
    EventKind,
    EventPhase,
    describe_evidence,
    join_details,
)
from language.messages import build_fact, use_language
from tests.support.leftovers import leftovers


def sentence(evidence, probabilities=None, kind=EventKind.VAPE, **more):
    return describe_evidence(
        Event(
            "s1",
            kind,
            EventPhase.ALERTED,
            0.0,
            6.0,
            6.0,
            None,
            0.97,
            probabilities or {},
            evidence,
            "m1",
            **more,
        )
    )


def test_what_moved_and_what_did_not():
    text = sentence(
        {
            "pm25": ChannelEvidence(4.2, 176.0, 6.0, 14.0),
            "voc_index": ChannelEvidence(94.0, 11.0, 9.0, None),
            "rh": ChannelEvidence(41.0, 0.1, 2.0, None),
        },
        {"dust": 0.004, "vape": 0.97, "spray": 0.02},
    )
    assert text == (
        "97% likely vaping (2% spray). Why: fine particles rose from 4 to 180 in 6 s and halved"
        " in 14 s, VOC barely changed, humidity steady"
    )


@pytest.mark.parametrize("kind", [EventKind.VAPE, EventKind.POSSIBLE])
def test_a_likelier_kind_does_not_contradict_the_title(kind):
    text = sentence(
        {"pm25": ChannelEvidence(4.0, 176.0, 6.0, None)},
        {"steam": 0.62, "vape": 0.35, "spray": 0.03},
        kind=kind,
    )
    assert text == "Fine particles rose from 4 to 180 in 6 s. Could also be steam"


@pytest.mark.parametrize(
    ("key", "evidence", "expected"),
    [
        ("pm25", (0.4, 3.2, 4.0, None), "Fine particles rose from 0.4 to 3.6 in 4 s"),
        ("pm25", (4.0, 50.0, 0.0, None), "Fine particles rose from 4 to 54 at once"),
        ("pm10", (4.0, 50.0, 600.0, 300.0), "Coarse particles rose from 4 to 54 in 10 min"),
        ("rh", (60.0, -8.0, 30.0, None), "Humidity fell from 60 to 52 in 30 s"),
        ("rh", (60.0, 2.9, 30.0, None), "Humidity barely changed"),
        ("rh", (60.0, 0.2, 30.0, None), "Humidity steady"),
        ("voc_raw", (30000.0, -120.0, 8.0, None), "VOC fell from 30000 to 29880 in 8 s"),
        ("vape_index", (0.0, 88.0, 0.0, None), "Vendor vape index rose from 0 to 88 at once"),
    ],
)
def test_each_way_of_moving(key, evidence, expected):
    assert sentence({key: ChannelEvidence(*evidence)}).startswith(expected)


def test_nothing_known_is_an_empty_sentence():
    assert sentence({}) == ""


def test_the_health_of_a_device_is_its_detail_alone():
    text = sentence({}, {"offline": 1.0}, details=(build_fact(Detail.BACK, time=7200.0),))
    assert text == "Back after 2 h"


def test_an_alarm_without_evidence_gives_its_probability():
    """An alarm from another vendor's sensor has no readings."""
    event = Event(
        "s", EventKind.VAPE, EventPhase.ALERTED, 0.0, 1.0, 1.0, None, 0.9, {"vape": 0.9}, {}, "m"
    )
    assert describe_evidence(event) == "90% likely vaping"


PARAMS = {
    "device": "",
    "percent": 9.0,
    "quantity": "voc_index",
    "amount": 93.0,
    "before": 40.0,
    "time": 90.0,
    "interval": 5.0,
    "times": 4.0,
    "days": 3,
    "sensors": "x1, x2",
    "more": 2,
    "n": 2,
    "all": 3,
    "away": 1,
    "risen": 5,
}


@pytest.mark.parametrize("code", Detail)
def test_every_detail_has_a_sentence_in_both_languages(code):
    event = build_fact(code, **PARAMS)
    english = join_details([event])
    with use_language("es"):
        spanish = join_details([event])
        assert leftovers(spanish) == set()
    assert spanish != english
