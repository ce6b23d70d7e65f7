"""Test what the evidence picture shows and omits, including for unusual data."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from alerts.notify.evidence_picture import EvidenceFacts, draw
from alerts.notify.notice import KIND_WORDS
from reports.drawing import Line, Text, render_png, render_svg

VAPE = KIND_WORDS["vape"]

ONSET = 1_788_789_900.0  # 10:05:00 in New York
SVG = "{http://www.w3.org/2000/svg}"
DATA = "#0b5a86"


def facts(**more):
    given = {
        "kind": "vape",
        "room": "Boys N2",
        "place": "floor 2, North",
        "sensor": "s1",
        "onset": ONSET,
        "alerted": ONSET + 6,
        "end": ONSET + 120,
        "until": ONSET + 120,
        "sentence": "PM2.5 rose from 4 to 180 µg/m³ in 6 s",
        "zone": "America/New_York",
        "baselines": {"pm25": 4.0, "voc_index": 100.0, "rh": 41.0},
    }
    return EvidenceFacts(**{**given, **more})


def readings(step=5.0, before=300.0, after=300.0):
    time = np.arange(ONSET - before, ONSET + after + 1, step)
    age = time - ONSET
    plume = np.where(age > 0, 176 * np.minimum(age / 6, 1) * np.exp(-np.maximum(age, 0) / 60), 0.0)
    values = {"pm25": 4 + plume, "voc_index": 100 + 0 * age, "rh": 41 + 0 * age}
    return time, values


def parsed(drawing):
    return ET.fromstring(render_svg(drawing))  # noqa: S314 - our own output


def words(drawing):
    return [item.text for item in drawing.items if isinstance(item, Text)]


def data_lines(drawing):
    lines = [i for i in drawing.items if isinstance(i, Line) and i.color == DATA]
    return lines[:-1]  # the last one is the legend's


def test_three_panels_with_units_marks_and_local_time():
    drawing = draw(facts(), *readings())
    shown = words(drawing)
    for expected in (
        "Boys N2, floor 2, North",
        f"{VAPE} · Sep 7, 2026 · sensor s1",
        "PM2.5, µg/m³",
        "VOC index",
        "Humidity, %",
        "onset 10:05 AM",
        "alert +6 s",
        "end 10:07 AM",
        "baseline 4, highest 153",
        "steady at 41",
        "10:05 AM",
        "readings",
        "baseline",
        "time: EDT",
    ):
        assert expected in shown, shown
    root = parsed(drawing)
    assert root.find(f"{SVG}title").text == f"Boys N2: {VAPE} since 10:05 AM"
    assert root.find(f"{SVG}desc").text == "PM2.5 rose from 4 to 180 µg/m³ in 6 s"
    assert root.get("role") == "img"


@pytest.mark.parametrize("drop", [("pm25",), ("voc_index",), ("rh",), ("pm25", "voc_index")])
def test_a_channel_that_is_missing_leaves_its_panel_out(drop):
    time, values = readings()
    kept = {k: v for k, v in values.items() if k not in drop}
    whole, part = draw(facts(), time, values), draw(facts(), time, kept)
    assert whole.height - part.height == pytest.approx(94 * len(drop))
    never = {**values, **{k: np.full(time.size, np.nan) for k in drop}}
    assert draw(facts(), time, never) == part


def test_no_readings_at_all():
    drawing = draw(facts(), [], {})
    assert "No readings are stored for this time." in words(drawing)
    parsed(drawing)


@pytest.mark.parametrize("how", ["absent rows", "nan", "infinite"])
def test_gaps_are_drawn_as_gaps(how):
    time, values = readings(step=2.0)
    hole = (time > ONSET + 20) & (time < ONSET + 50)
    if how == "absent rows":
        time, values = time[~hole], {k: v[~hole] for k, v in values.items()}
    else:
        values["pm25"][hole] = np.nan if how == "nan" else np.inf
    lines = [i for i in data_lines(draw(facts(), time, values)) if i.points[0][1] < 66 + 94]
    assert len(lines) == 2
    assert lines[0].points[-1][0] < lines[1].points[0][0]


def test_thinning_keeps_the_peak():
    time = np.arange(ONSET - 1800, ONSET + 1800, 0.2)
    pm = np.full(time.size, 4.0)
    pm[np.searchsorted(time, ONSET + 3)] = 500.0
    event = facts(until=ONSET + 1500, end=ONSET + 1500)
    (line,) = data_lines(draw(event, time, {"pm25": pm}))
    top = min(y for _, y in line.points)
    assert top == pytest.approx(66 + 21 + 62 * (1 - 500 / 600), abs=0.5)
    assert len(line.points) <= 1000


def test_the_channel_that_was_judged_is_shown():
    time, values = readings()
    both = {"pm25": values["pm25"], "pm10": values["pm25"]}
    assert "PM10, µg/m³" in words(draw(facts(baselines={"pm10": 4.0}), time, both))
    assert "PM2.5, µg/m³" in words(draw(facts(baselines={}), time, both))


HOSTILE = '<script>alert(1)</script>"&\x00\x1b[31m\u202e\ud800]]>\n' + "x" * 300


@pytest.mark.parametrize("name", ["kind", "room", "place", "sensor", "sentence"])
def test_hostile_names_are_inert(name):
    drawing = draw(facts(**{name: HOSTILE}), *readings())
    text = render_svg(drawing)
    root = ET.fromstring(text)  # noqa: S314 - our own output
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "rect", "polyline", "polygon", "text"}
    names = {key for element in root.iter() for key in element.attrib}
    assert not names & {"href", "style", "onload", "onclick", "id"}
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\ud800]", text)
    text.encode()
    assert render_png(drawing).startswith(b"\x89PNG")


@pytest.mark.parametrize("value", [0.0, 1e-9, 1e5, -40.0, 1e300])
@pytest.mark.parametrize("key", ["pm25", "tvoc_ppb", "voc_raw", "rh", "n03"])
def test_any_value_gives_a_picture_inside_its_frame(key, value):
    time, _ = readings()
    drawing = draw(facts(baselines={key: value}), time, {key: np.full(time.size, value)})
    for item in drawing.items:
        points = item.points if hasattr(item, "points") else ((item.x, item.y),)
        assert all(0 <= x <= drawing.width and 0 <= y <= drawing.height for x, y in points)
