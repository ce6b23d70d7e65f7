"""Draw sensor labels for Avery 5160 sheets: name, room, and a code for the sensor's page.

The sensor's page leads to the test of its current room, so a sensor keeps its label when it moves.
``python -m alerts.page.labels`` reads an order from standard input and writes a PDF to standard
output, so that the service never loads the drawing library.
"""

from __future__ import annotations

import os
import sys
from io import BytesIO
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from language.messages import _, get_language, use_language
from language.plain_text import escape_reversibly
from reports.documents import render_pdf
from storage.registry import make_sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.registry import Registry


_ON_A_SHEET: Final = 30
"""Avery 5160 labels per Letter sheet; `reports/templates/labels.typ` has their positions."""


class Label(msgspec.Struct, frozen=True):
    """The text of one label."""

    sensor: str
    room: str
    address: str


class Order(msgspec.Struct, frozen=True):
    """Input for the drawing process."""

    labels: list[Label]
    language: str


def list_labels(registry: Registry, page_url: str) -> list[Label]:
    """Return the labels of all sensors, sorted by site, building, floor and room."""
    placed = [(registry.rooms[s.room], s.id) for s in registry.sensors.values()]
    names = [(room.site, room.building, room.floor, room.name, key) for room, key in placed]
    order = sorted(range(len(placed)), key=lambda k: [*map(make_sort_key, names[k])])
    return [
        Label(sensor, room.full_name, f"{page_url}/sensors/{quote(sensor, safe=':')}")
        for room, sensor in (placed[k] for k in order)
    ]


def draw_labels_pdf(labels: Iterable[Label]) -> bytes:
    """Draw labels in the current language, on as many sheets as needed."""
    drawn = [
        {
            "sensor": escape_reversibly(one.sensor),
            "room": escape_reversibly(one.room),
            "code": _draw_code(one.address),
        }
        for one in labels
    ]
    sheets = [drawn[k : k + _ON_A_SHEET] for k in range(0, len(drawn), _ON_A_SHEET)]
    words = {"title": _("Labels of sensors"), "scan": _("Scan to test this sensor")}
    return render_pdf("labels", {"sheets": sheets, "lang": get_language(), **words})


def _draw_code(address: str) -> str:
    import segno  # noqa: PLC0415 - only needed here

    svg = BytesIO()
    segno.make(address, error="m", micro=False).save(svg, kind="svg", border=4, xmldecl=False)
    return svg.getvalue().decode()


def main() -> None:
    """Read an order, and write its labels as a PDF."""
    os.nice(10)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    with use_language(order.language):
        sys.stdout.buffer.write(draw_labels_pdf(order.labels))


if __name__ == "__main__":
    main()
