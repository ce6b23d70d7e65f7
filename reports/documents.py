"""PDF through Typst and HTML through Jinja, from one view.

Typst gets texts as strings of a JSON file, and Jinja escapes them: a name is never markup. Fonts
are those of ``reports/fonts``, so that a view gives the same pages on any machine.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from jinja2 import Environment, FileSystemLoader

from language.messages import gettext, language, plural
from reports import look
from reports.drawing import typeset

if TYPE_CHECKING:
    from collections.abc import Mapping

Template = Literal["summary", "table", "incident", "labels"]
_TEMPLATES: Final = Path(__file__).parent / "templates"


@cache
def _pages() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_callables(gettext, plural, newstyle=True)  # type: ignore[attr-defined]
    made.globals.update(language=language, look=look.css(dark=False))
    return made


def html(template: Template, view: Mapping[str, Any]) -> str:
    """Render a view as one HTML file that loads nothing else."""
    return _pages().get_template(f"{template}.html").render(view=view)


def pdf(template: Template, view: Mapping[str, Any]) -> bytes:
    """Render a view as PDF on Letter paper; blocks for up to a second per hundred rows."""
    sources = {
        "main.typ": (_TEMPLATES / f"{template}.typ").read_bytes(),
        "base.typ": (_TEMPLATES / "base.typ").read_bytes(),
        "view.json": json.dumps(view).encode(),
    }
    return typeset(sources, format="pdf")
