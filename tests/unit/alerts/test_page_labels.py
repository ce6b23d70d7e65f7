"""Test labels by reading their QR codes from the drawn sheet, as a phone would."""

import asyncio
import io

import pytest
import typst
import zxingcpp
from PIL import Image

from alerts.page.labels import Order, draw_labels_pdf, list_labels
from plumewatch.service.jobs import draw_labels
from storage.registry import Registry, Room, Sensor, Site

SITES = (Site("n", "North High", "UTC"), Site("s", "South High", "UTC"))
ROOMS = (
    Room("n-boys", "Boys", "2", "Main", "North High"),
    Room("s-boys", "Boys' #1 *bold* $x$ \\", "2nd floor", "Main", "South High"),
    Room("s-long", "R" * 80, "F" * 80, "B" * 80, "South High"),
)
SENSORS = (
    Sensor("s-1", "s-boys"),
    Sensor("00:0F:e5:01", "n-boys"),
    Sensor("x" * 64, "s-long"),
    *(Sensor(f"n-{k}", "n-boys") for k in range(30)),
)
REGISTRY = Registry.of(ROOMS, SENSORS, SITES)
URL = "https://plumewatch.lincoln.example"


@pytest.fixture
def pages(monkeypatch):
    """Draw label sheets as pictures; the same source also gives the PDF."""
    drawn = typst.compile

    def pictures(*sources, format, **options):  # noqa: A002 - the library's word
        assert format == "pdf"
        found = drawn(*sources, format="png", ppi=200, **options)
        return found if isinstance(found, list) else [found]

    monkeypatch.setattr(typst, "compile", pictures)


def test_every_label_is_where_its_sticker_is_and_leads_to_its_sensor(pages):
    labels = list_labels(REGISTRY, URL)
    sheets = [Image.open(io.BytesIO(sheet)) for sheet in draw_labels_pdf(labels)]
    assert len(sheets) == -(-len(labels) // 30)
    for number, sheet in enumerate(sheets):
        assert sheet.size == (1700, 2200)  # Letter paper at 200 dots an inch
        found = {}
        for code in zxingcpp.read_barcodes(sheet):
            corner = code.position.top_left
            places = zip((corner.x, corner.y), (4.7625, 12.7), (69.85, 25.4), strict=True)
            place = [(at / 200 * 25.4 - first) / pitch for at, first, pitch in places]
            assert all(0 < at % 1 < 0.5 for at in place)
            found[int(place[1]) * 3 + int(place[0])] = code.text
        mine = labels[number * 30 : (number + 1) * 30]
        assert found == {k: label.address for k, label in enumerate(mine)}


def test_labels_are_in_the_order_of_a_walk_and_name_the_school():
    labels = list_labels(REGISTRY, URL)
    assert labels[0].room == "Boys, floor 2, Main, North High"
    assert [label.sensor for label in labels[:2]] == ["00:0F:e5:01", "n-0"]
    assert labels[0].address == f"{URL}/sensors/00:0F:e5:01"
    assert [x.sensor for x in list_labels(REGISTRY.within({"South High"}), URL)] == [
        "x" * 64,
        "s-1",
    ]


def test_the_walk_counts_rooms_and_sensors_as_people_do():
    rooms = [Room(f"r{k}", f"Restroom {k}", "1", "Main", "") for k in (10, 2, 1)]
    sensors = [Sensor(f"s-{k}", f"r{room}") for k, room in ((9, 10), (11, 2), (10, 2), (9.5, 1))]
    found = [label.sensor for label in list_labels(Registry.of(rooms, sensors), URL)]
    assert found == ["s-9.5", "s-10", "s-11", "s-9"]


def test_one_school_is_not_named():
    (label,) = list_labels(Registry.of(ROOMS[:1], [SENSORS[1]]), URL)
    assert label.room == "Boys, floor 2, Main"


def test_a_process_of_its_own_draws_for_the_page():
    labels = list_labels(REGISTRY, URL)
    assert asyncio.run(draw_labels(Order(labels, "es"))).startswith(b"%PDF-")


def test_what_cannot_be_drawn_says_why():
    with pytest.raises(ChildProcessError, match="ValidationError"):
        asyncio.run(draw_labels(Order([None], "en")))
