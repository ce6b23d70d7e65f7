"""The one sentence that says why."""

import pytest

from detection.events import ChannelEvidence, Event, EventKind, EventPhase, evidence_sentence


def sentence(evidence, probabilities=None, **more):
    return evidence_sentence(
        Event(
            "s1",
            EventKind.VAPE,
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
    said = sentence(
        {
            "pm25": ChannelEvidence(4.2, 176.0, 6.0, 14.0),
            "voc_index": ChannelEvidence(94.0, 11.0, 9.0, None),
            "rh": ChannelEvidence(41.0, 0.1, 2.0, None),
        },
        {"dust": 0.004, "vape": 0.97, "spray": 0.02},
    )
    assert said == (
        "PM2.5 rose from 4 to 180 µg/m³ in 6 s, fell by half in 14 s; VOC index hardly moved;"
        " humidity steady: 97 % likely vaping, 2 % spray"
    )


@pytest.mark.parametrize(
    ("key", "evidence", "expected"),
    [
        ("pm25", (0.4, 3.2, 4.0, None), "PM2.5 rose from 0.4 to 3.6 µg/m³ in 4 s"),
        ("pm25", (4.0, 50.0, 0.0, None), "PM2.5 rose from 4 to 54 µg/m³ at once"),
        ("pm10", (4.0, 50.0, 600.0, 300.0), "PM10 rose from 4 to 54 µg/m³ in 10 min"),
        ("rh", (60.0, -8.0, 30.0, None), "humidity fell from 60 to 52 % in 30 s"),
        ("rh", (60.0, 2.9, 30.0, None), "humidity hardly moved"),
        ("rh", (60.0, 0.2, 30.0, None), "humidity steady"),
        ("voc_raw", (30000.0, -120.0, 8.0, None), "VOC raw signal fell from 30000 to 29880 ticks"),
        ("vape_index", (0.0, 88.0, 0.0, None), "vendor vape index rose from 0 to 88 at once"),
    ],
)
def test_each_way_of_moving(key, evidence, expected):
    assert sentence({key: ChannelEvidence(*evidence)}).startswith(expected)


def test_nothing_known_is_an_empty_sentence():
    assert sentence({}) == ""


def test_detail_comes_after_the_channels():
    said = sentence({"rh": ChannelEvidence(40.0, 0.0, 0.0, None)}, detail="lid opened")
    assert said == "humidity steady; lid opened"
