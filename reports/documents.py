"""PDF through Typst and HTML through Jinja, from one view.

Texts reach Typst as strings of a JSON file and HTML through escaping: what is in a name is never
markup. Fonts are those that come with matplotlib, so the same view gives the same pages anywhere.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from jinja2 import Environment, FileSystemLoader

if TYPE_CHECKING:
    from collections.abc import Mapping

Template = Literal["summary", "table", "incident", "backtest"]
_TEMPLATES: Final = Path(__file__).parent / "templates"


@cache
def _pages() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


def html(template: Template, view: Mapping[str, Any]) -> str:
    """Set a view as one HTML file that loads nothing."""
    return _pages().get_template(f"{template}.html").render(view=view)


def pdf(template: Template, view: Mapping[str, Any]) -> bytes:
    """Set a view as PDF on Letter paper; blocks, for about a second a hundred rows at most.

    Raises
    ------
    RuntimeError
        If Typst refuses the template, or the fonts are not there: a fault of the installation.
    """
    import typst  # noqa: PLC0415 - 30 MB, and for this alone

    sources: Any = {
        "main.typ": (_TEMPLATES / f"{template}.typ").read_bytes(),
        "base.typ": (_TEMPLATES / "base.typ").read_bytes(),
        "view.json": json.dumps(view).encode(),
    }
    made: bytes = typst.compile(
        sources, format="pdf", font_paths=[_fonts()], ignore_system_fonts=True
    )
    return made


@cache
def _fonts() -> str:
    found = importlib.util.find_spec("matplotlib")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("matplotlib, whose fonts are used, is not installed")
    return str(Path(found.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf")
