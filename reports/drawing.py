"""Drawings of lines, boxes and text, written as SVG or as PNG.

SVG has real text that a screen reader finds and presentation attributes only, as the content policy
of the page forbids inline style. The same drawing gives the same bytes: no dates, no ids, no fonts
of the machine. Scripts that DejaVu Sans of ``reports/fonts`` lacks show as boxes in a PNG.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Point = tuple[float, float]

FONTS: Final = Path(__file__).parent / "fonts"
"""DejaVu Sans, regular and bold, for pictures and printed reports."""
_ANCHORS: Final = {"start": "ls", "middle": "ms", "end": "rs"}
_SMOOTH: Final = 2
"""A PNG is drawn this much larger and averaged down: Pillow's lines have hard edges."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points; `dash` is lengths of ink and gap in turn."""

    points: tuple[Point, ...]
    colour: str
    width: float = 1.0
    dash: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle from its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    fill: str


@dataclass(frozen=True, slots=True)
class Polygon:
    """A filled shape with an outline."""

    points: tuple[Point, ...]
    fill: str
    colour: str
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text on its baseline."""

    x: float
    y: float
    text: str
    size: float
    colour: str
    anchor: Literal["start", "middle", "end"] = "start"
    bold: bool = False


Item = Line | Box | Polygon | Text


@dataclass(frozen=True, slots=True)
class Drawing:
    """Items to draw in order, on white, in page units; `title` and `description` are read out."""

    width: float
    height: float
    title: str
    description: str
    items: tuple[Item, ...]


def clean(text: str) -> str:
    r"""Return one line without control characters and bidirectional overrides.

    >>> clean("Boys\x00 N2\n\u202e<b>")
    'Boys N2 <b>'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def cut(text: str, width: float, size: float) -> str:
    """Clean text and cut it to about `width`, assuming letters of average width.

    >>> cut("Boys' restroom", 60, 12)
    "Boys' r…"
    """
    flat, room = clean(text), width / (0.6 * size)
    taken = 0.0
    for k, letter in enumerate(flat):
        taken += 1.8 if unicodedata.east_asian_width(letter) in "WF" else 1.0
        if taken > room:
            return flat[: max(k - 1, 0)].rstrip() + "…"
    return flat


def svg(drawing: Drawing) -> str:
    """Write a drawing as one SVG document, without script or link and well-formed for any text."""
    title, description = _xml(drawing.title), _xml(drawing.description)
    width, height = _n(drawing.width), _n(drawing.height)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" role="img"'
        ' font-family="system-ui, Roboto, DejaVu Sans, sans-serif">'
    )
    lines = [
        head,
        f"<title>{title}</title>",
        f"<desc>{description}</desc>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *map(_element, drawing.items),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _element(item: Item) -> str:
    if isinstance(item, Line):
        dash = f' stroke-dasharray="{" ".join(map(_n, item.dash))}"' if item.dash else ""
        return (
            f'<polyline points="{_pairs(item.points)}" fill="none" stroke="{item.colour}"'
            f' stroke-width="{_n(item.width)}" stroke-linejoin="round"{dash}/>'
        )
    if isinstance(item, Box):
        return (
            f'<rect x="{_n(item.x)}" y="{_n(item.y)}" width="{_n(item.width)}"'
            f' height="{_n(item.height)}" fill="{item.fill}"/>'
        )
    if isinstance(item, Polygon):
        return (
            f'<polygon points="{_pairs(item.points)}" fill="{item.fill}"'
            f' stroke="{item.colour}" stroke-width="{_n(item.width)}"/>'
        )
    anchor = "" if item.anchor == "start" else f' text-anchor="{item.anchor}"'
    weight = ' font-weight="bold"' if item.bold else ""
    return (
        f'<text x="{_n(item.x)}" y="{_n(item.y)}" font-size="{_n(item.size)}"'
        f' fill="{item.colour}"{anchor}{weight}>{_xml(item.text)}</text>'
    )


def _xml(text: str) -> str:
    return escape(clean(text), {'"': "&quot;"})


def _n(value: float) -> str:
    return f"{round(value, 1) + 0.0:g}"


def _pairs(points: Sequence[Point]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def png(drawing: Drawing, scale: float = 2.5) -> bytes:
    """Write a drawing as a PNG of `scale` pixels a unit, without metadata; blocks for 30 ms."""
    from PIL import Image, ImageDraw  # noqa: PLC0415 - slow to load, and for PNG alone

    big = scale * _SMOOTH
    size = (round(drawing.width * scale) * _SMOOTH, round(drawing.height * scale) * _SMOOTH)
    image = Image.new("RGB", size, "#ffffff")
    pen = ImageDraw.Draw(image)
    for item in drawing.items:
        _draw(pen, item, big)
    out = io.BytesIO()
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for colour in _palette(drawing) for channel in colour])
    smooth = image.reduce(_SMOOTH).quantize(palette=palette, dither=Image.Dither.NONE)
    smooth.save(out, "PNG")
    return out.getvalue()


def _palette(drawing: Drawing) -> list[tuple[int, ...]]:
    """Return white, the colors of the drawing, and the shades between them for smooth edges."""
    used = {"#ffffff": None}
    for item in drawing.items:
        fills = (getattr(item, "fill", None), getattr(item, "colour", None))
        used.update((colour, None) for colour in fills if colour)
    found = []
    for colour in list(used)[:32]:
        ink = tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5))
        steps = (1.0,) if min(ink) > 200 else (1.0, 0.85, 0.7, 0.55, 0.4, 0.25, 0.12)
        found += [tuple(round(255 + (channel - 255) * s) for channel in ink) for s in steps]
    return found


def warm_up() -> None:
    """Load what `png` needs, so that the first picture is as quick as the next."""
    png(Drawing(8, 8, "", "", (Text(0, 8, "0", 8, "#000000"),)), 1.0)


def _draw(pen: ImageDraw, item: Item, scale: float) -> None:
    if isinstance(item, Text):
        font = _font(round(item.size * scale), bold=item.bold)
        where = (item.x * scale, item.y * scale)
        pen.text(where, clean(item.text), item.colour, font, anchor=_ANCHORS[item.anchor])
    elif isinstance(item, Box):
        corner = ((item.x + item.width) * scale - 1, (item.y + item.height) * scale - 1)
        if corner[0] >= item.x * scale and corner[1] >= item.y * scale:
            pen.rectangle((item.x * scale, item.y * scale, *corner), item.fill)
    elif isinstance(item, Polygon):
        points = [(x * scale, y * scale) for x, y in item.points]
        pen.polygon(points, item.fill, item.colour, max(round(item.width * scale), 1))
    else:
        width = max(round(item.width * scale), 1)
        for piece in _dashes(item.points, item.dash) if item.dash else (item.points,):
            pen.line([(x * scale, y * scale) for x, y in piece], item.colour, width, "curve")


def _dashes(points: Sequence[Point], dash: Sequence[float]) -> Iterator[tuple[Point, Point]]:
    """Yield the inked pieces of a dashed line, placed as an SVG renderer places them."""
    turn, left = 0, dash[0]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        length, at = math.hypot(x1 - x0, y1 - y0), 0.0
        while at < length:
            until = min(at + left, length)
            if turn % 2 == 0:
                a, b = at / length, until / length
                yield (
                    (x0 + (x1 - x0) * a, y0 + (y1 - y0) * a),
                    (x0 + (x1 - x0) * b, y0 + (y1 - y0) * b),
                )
            left -= until - at
            at = until
            if left <= 1e-9:
                turn += 1
                left = dash[turn % len(dash)]


@functools.lru_cache(maxsize=32)
def _font(size: int, *, bold: bool) -> FreeTypeFont:
    from PIL import ImageFont  # noqa: PLC0415 - as above

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(FONTS / name, size, layout_engine=ImageFont.Layout.BASIC)
