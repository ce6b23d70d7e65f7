"""Render PDF documents with Typst.

Typst reads all text as strings from a JSON file, so a name is never read as markup. It uses only
the fonts in ``reports/fonts``, so a view produces the same pages on any machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from reports.drawing import typeset

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEMPLATES: Final = Path(__file__).parent / "templates"


def render_pdf(template: Literal["summary", "table"], view: Mapping[str, Any]) -> bytes:
    """Render a view as PDF on Letter paper. Blocks for up to a second per hundred rows."""
    sources = {
        "main.typ": (_TEMPLATES / f"{template}.typ").read_bytes(),
        **{name: (_TEMPLATES / name).read_bytes() for name in ("base.typ", "charts.typ")},
        "view.json": json.dumps(view).encode(),
    }
    return typeset(sources, format="pdf")
