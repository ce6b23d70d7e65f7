"""What the demo shows: the truth beside the detector, and a screen of 24 lines."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple

import pytest
from rich.console import Console
from rich.text import Text

from language.messages import speaking
from plumewatch.cli.demo.screen import TruthScore, screen
from sensor_sim.trace import Truth
from sensor_sim.truth_stream import TruthStream


def lines(*truths):
    stream = io.BytesIO()
    TruthStream(stream).add(truths)
    return stream.getvalue().decode().splitlines()


def session(name, room="n2-boys", start=1000.0, kind="vape", arrival=1005.0):
    return Truth(name, f"{room}-1", room, "pod", kind, start, start + 30.0, arrival)


def scored(truths, alerts, now=10_000.0):
    score = TruthScore()
    for line in lines(*truths):
        score.add_line(line)
    for alert in alerts:
        score.add_alert(*alert)
    return score.sentence(now)


@pytest.mark.parametrize(
    ("truths", "alerts", "expected"),
    [
        ([], [], "found 0 of 0 vaping sessions, 0 false alarms"),
        ([session("a")], [("n2-boys", 1010.0)], "found 1 of 1 vaping sessions, 0 false alarms"),
        ([session("a")], [("n1-boys", 1010.0)], "found 0 of 1 vaping sessions, 1 false alarm"),
        ([session("a"), session("a")], [], "found 0 of 1 vaping sessions, 0 false alarms"),
        ([session("a", kind="spray")], [], "found 0 of 0 vaping sessions, 0 false alarms"),
        ([session("a", arrival=float("nan"))], [], "found 0 of 0 vaping sessions, 0 false alarms"),
        (
            [session("a"), session("b", start=5000.0)],
            [("n2-boys", 1010.0), ("n2-boys", 1020.0), ("n2-boys", 9990.0)],
            "found 1 of 2 vaping sessions, 0 false alarms",  # the last is not decided yet
        ),
    ],
)
def test_the_detector_beside_the_truth(truths, alerts, expected):
    assert scored(truths, alerts) == expected


def test_the_banner_of_the_page_is_translated():
    with speaking("es"):
        assert scored([session("a")], [("n1-boys", 1010.0)]) == (
            "encontró 0 de 1 sesiones de vapeo, 1 falsa alarma"
        )


def test_lines_that_are_no_truth_are_ignored():
    score = TruthScore()
    for line in ("", "12 messages to 127.0.0.1", ",".join("x" * 12)):
        score.add_line(line)
    assert score.sentence(0.0).startswith("found 0 of 0")


def test_the_truth_is_written_as_the_file_has_it():
    header, row = lines(session("a"))
    assert header.split(",")[:2] == ["session", "sensor"]
    assert next(csv.reader([row]))[0] == astuple(session("a"))[0]


def test_a_small_terminal_shows_address_events_and_the_last_push():
    shown = {
        "title": "Monday 09:33:10 at school, 20 times real time",
        "page": "http://127.0.0.1:8420",
        "events": [Text(f"09:3{n}:10 event vape  " + "PM2.5 rose a lot " * 9) for n in range(10)],
        "last_push": "Boys' restroom, 2nd floor, North: Vaping likely since 09:32:49\nPM2.5 rose\n"
        "http://127.0.0.1:8420/answer#abc",
        "truth": "found 5 of 6 vaping sessions, 0 false alarms",
        "counts": "37 readings/s; alerts: 2; pushes: 3",
    }
    for height in (24, 50):
        console = Console(width=80, height=height, file=io.StringIO())
        console.print(screen(height, **shown))
        text = console.file.getvalue()
        assert len(text.splitlines()) <= height - 1
        for words in ("http://127.0.0.1:8420", "Vaping likely since 09:32:49", "09:39:10 event"):
            assert words in text.replace("\n", " ")
        assert "20 times real time" in text
        assert "a real school does not know" in text
        assert "found 5 of 6" in text
