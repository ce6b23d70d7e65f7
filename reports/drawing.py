"""Drawings of lines, boxes and text, written as SVG or, with Typst, as PNG.

The SVG contains real text, which screen readers can read. It uses presentation attributes only,
because the page's content security policy forbids inline styles. The same drawing always gives the
same bytes: it contains no dates or ids and doesn't use the machine's fonts. In a PNG, characters
that are missing from ``reports/fonts`` (DejaVu Sans) show as boxes.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from xml.sax.saxutils import escape

from language.messages import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

Point = tuple[float, float]

FONTS: Final = Path(__file__).parent / "fonts"
"""DejaVu Sans, regular and bold, for pictures and printed reports."""
_PAGE: Final = """\
#set page(width: {width}pt, height: {height}pt, margin: 0pt)
#image("drawing.svg", width: 100%)
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points; `dash` has alternating lengths of dashes and gaps."""

    points: tuple[Point, ...]
    color: str
    width: float = 1.0
    dash: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle; `x` and `y` are its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    fill: str


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; `y` is its baseline."""

    x: float
    y: float
    text: str
    size: float
    color: str
    anchor: Literal["start", "middle", "end"] = "start"
    bold: bool = False


Item = Line | Box | Text


@dataclass(frozen=True, slots=True)
class Drawing:
    """Items to draw in order, on white, in page units; `title` and `description` are alt text."""

    width: float
    height: float
    title: str
    description: str
    items: tuple[Item, ...]


def cut(text: str, width: float, size: float) -> str:
    """Clean text and shorten it to about `width`, assuming letters of average width.

    The middle is cut out, because room names often differ only at the end, in the school's name.

    >>> cut("Boys' restroom, North", 100, 12)
    "Boys' re…orth"
    """
    flat, room = clean(text), width / (0.6 * size)
    wide = sum(1.8 if unicodedata.east_asian_width(sign) in "WF" else 1.0 for sign in flat)
    if wide <= room:
        return flat
    kept = max(int(room * len(flat) / wide) - 1, 0)
    end = kept // 3
    return f"{flat[: kept - end].rstrip()}…{flat[len(flat) - end :].lstrip()}"


def render_svg(drawing: Drawing) -> str:
    """Write a drawing as one SVG document without scripts or links, well-formed for any text."""
    title, description = _escape_xml(drawing.title), _escape_xml(drawing.description)
    width, height = _write(drawing.width), _write(drawing.height)
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
        *map(_render_item, drawing.items),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _render_item(item: Item) -> str:
    if isinstance(item, Line):
        dash = f' stroke-dasharray="{" ".join(map(_write, item.dash))}"' if item.dash else ""
        return (
            f'<polyline points="{_write_points(item.points)}" fill="none" stroke="{item.color}"'
            f' stroke-width="{_write(item.width)}" stroke-linejoin="round"{dash}/>'
        )
    if isinstance(item, Box):
        return (
            f'<rect x="{_write(item.x)}" y="{_write(item.y)}" width="{_write(item.width)}"'
            f' height="{_write(item.height)}" fill="{item.fill}"/>'
        )
    anchor = "" if item.anchor == "start" else f' text-anchor="{item.anchor}"'
    weight = ' font-weight="bold"' if item.bold else ""
    return (
        f'<text x="{_write(item.x)}" y="{_write(item.y)}" font-size="{_write(item.size)}"'
        f' fill="{item.color}"{anchor}{weight}>{_escape_xml(item.text)}</text>'
    )


def _escape_xml(text: str) -> str:
    return escape(clean(text), {'"': "&quot;"})


def _write(value: float) -> str:
    return f"{round(value, 1) + 0.0:g}"


def _write_points(points: Sequence[Point]) -> str:
    return " ".join(f"{_write(x)},{_write(y)}" for x, y in points)


def render_png(drawing: Drawing, scale: float = 2.5) -> bytes:
    """Write a drawing as a PNG of `scale` pixels per unit, without metadata; blocks for 30 ms."""
    page = _PAGE.format(width=_write(drawing.width), height=_write(drawing.height))
    files = {"main.typ": page.encode(), "drawing.svg": render_svg(drawing).encode()}
    return typeset(files, format="png", ppi=72 * scale)


def typeset(files: dict[str, bytes], **how: Any) -> bytes:
    """Compile ``main.typ`` with only the fonts in ``reports/fonts``, so the result never varies."""
    import typst  # noqa: PLC0415 - 30 MB, and needed only here

    made: bytes = typst.compile(files, font_paths=[str(FONTS)], ignore_system_fonts=True, **how)
    return made


def warm_up() -> None:
    """Load what `render_png` needs, so that the first picture is not slower than the others."""
    render_png(Drawing(8, 8, "", "", (Text(0, 8, "0", 8, "#000000"),)), 1.0)
