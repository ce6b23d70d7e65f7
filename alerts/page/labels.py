"""Labels for sensors, on common label stock: name, room, and the address of the sensor's page.

That page leads to the test of the sensor's room, so a sensor that moves keeps its label.
``python -m alerts.page.labels`` reads an order from its standard input and writes the PDF to its
standard output: the service never loads what draws documents.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from language.messages import _, language, speaking
from reports.documents import pdf
from storage.registry import natural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from storage.registry import Registry


@dataclass(frozen=True, slots=True)
class Stock:
    """Label stock: the sheet, its labels by column and row, and where they are, millimeters."""

    sheet: tuple[float, float]
    columns: int
    rows: int
    size: tuple[float, float]
    first: tuple[float, float]
    pitch: tuple[float, float]


STOCKS: Final[Mapping[str, Stock]] = MappingProxyType(
    {
        "5160": Stock((215.9, 279.4), 3, 10, (66.675, 25.4), (4.7625, 12.7), (69.85, 25.4)),
        "L7160": Stock((210.0, 297.0), 3, 7, (63.5, 38.1), (7.21, 15.15), (66.04, 38.1)),
    }
)
"""Avery 5160 on Letter paper, and L7160 on A4; many makers cut the same."""
USUAL: Final = "5160"


class Label(msgspec.Struct, frozen=True):
    """What one label says."""

    sensor: str
    room: str
    address: str


class Order(msgspec.Struct, frozen=True):
    """Input of the process that draws labels."""

    labels: list[Label]
    stock: str
    language: str


def labels_of(registry: Registry, page_url: str) -> list[Label]:
    """Return the labels of all sensors, by room as people walk: site, building, floor."""
    placed = [(registry.rooms[s.room], s.id) for s in registry.sensors.values()]
    names = [(room.site, room.building, room.floor, room.name, key) for room, key in placed]
    order = sorted(range(len(placed)), key=lambda k: [*map(natural, names[k])])
    return [
        Label(sensor, room.full_name, f"{page_url}/sensors/{quote(sensor, safe=':')}")
        for room, sensor in (placed[k] for k in order)
    ]


def labels_pdf(labels: Iterable[Label], stock: str = USUAL) -> bytes:
    """Draw labels in the reader's language, on as many sheets as they need."""
    kind = STOCKS[stock]
    drawn = [{**msgspec.structs.asdict(one), "code": _code(one.address)} for one in labels]
    each = kind.columns * kind.rows
    sheets = [drawn[k : k + each] for k in range(0, len(drawn), each)]
    words = {"title": _("Labels of sensors"), "scan": _("Scan to test this sensor")}
    return pdf("labels", {"stock": asdict(kind), "sheets": sheets, "lang": language(), **words})


def _code(address: str) -> str:
    import segno  # noqa: PLC0415 - for this alone

    svg = BytesIO()
    segno.make(address, error="m", micro=False).save(svg, kind="svg", border=4, xmldecl=False)
    return svg.getvalue().decode()


def main() -> None:
    """Draw the labels of an order."""
    os.nice(10)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    with speaking(order.language):
        sys.stdout.buffer.write(labels_pdf(order.labels, order.stock))


if __name__ == "__main__":
    main()
