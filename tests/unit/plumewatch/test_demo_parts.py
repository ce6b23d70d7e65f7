"""Test that the demo shows the truth together with the detections."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import astuple

import pytest

from plumewatch.cli.demo.truth import TruthScore
from sensor_sim.simulation_run import start_truths
from sensor_sim.trace import Truth


def lines(*truths):
    stream = io.StringIO()
    add = start_truths(stream)
    for truth in truths:
        add(truth)
    return stream.getvalue().splitlines()


def session(name, room="n2-boys", start=1000.0, kind="vape", arrival=1005.0):
    return Truth(name, f"{room}-1", room, "pod", kind, start, start + 30.0, arrival)


def scored(truths, alerts, now=10_000.0):
    score = TruthScore()
    for line in lines(*truths):
        score.add_line(line)
    for alert in alerts:
        score.add_alert(*alert)
    return score.describe(now)


@pytest.mark.parametrize(
    ("truths", "alerts", "expected"),
    [
        ([], [], "0 0 0"),
        ([session("a")], [("n2-boys", 1010.0)], "1 1 0"),
        ([session("a")], [("n1-boys", 1010.0)], "0 1 1"),
        ([session("a"), session("a")], [], "0 1 0"),
        ([session("a", kind="spray")], [], "0 0 0"),
        ([session("a", arrival=float("nan"))], [], "0 0 0"),
        (
            [session("a"), session("b", start=5000.0)],
            [("n2-boys", 1010.0), ("n2-boys", 1020.0), ("n2-boys", 9990.0)],
            "1 2 0",  # the last is still undecided
        ),
    ],
)
def test_the_detector_beside_the_truth(truths, alerts, expected):
    assert " ".join(re.findall(r"\d+", scored(truths, alerts))) == expected


def test_what_found_means_is_said_from_the_first_figure():
    score = TruthScore()
    unseen = session("c", room="n1-boys", arrival=float("nan"))
    for line in lines(session("a"), session("b", start=5000.0), unseen):
        score.add_line(line)
    assert not score.explain(6, 0.0)
    assert score.explain(6, 2000.0).startswith(
        "Of 2 vaping sessions in 6 rooms so far, 1 could be seen by a sensor; "
    )
    assert score.explain(6, 9000.0).startswith("Of 3 vaping sessions")


def test_lines_that_are_no_truth_are_ignored():
    score = TruthScore()
    for line in ("", "12 messages to 127.0.0.1", ",".join("x" * 12)):
        score.add_line(line)
    assert score.describe(0.0).startswith("found 0 of 0")


def test_the_truth_is_written_as_the_file_has_it():
    header, row = lines(session("a"))
    assert header.split(",")[:2] == ["session", "sensor"]
    assert next(csv.reader([row]))[0] == astuple(session("a"))[0]
