"""Names of reports, formats and files; imports nothing that makes them."""

from __future__ import annotations

import re
from typing import Final

from language.messages import mark

FORMATS: Final = ("csv", "xlsx", "pdf", "html", "parquet", "json")

ABOUT: Final = {
    "incidents": mark(
        "one row per incident opened in the window, with tests and days without school"
    ),
    "summary": mark("one page to read, then the detail"),
    "response": mark("response times, for all and by group"),
    "sensors": mark("one row per sensor"),
}
"""All reports, and their content."""


def file_name(report: str, kind: str, *parts: str) -> str:
    """Name a file after its report, time and place.

    >>> file_name("summary", "pdf", "2026/27", "", "North wing")
    'summary-2026-27-North-wing.pdf'
    """
    given = (re.sub(r"\W+", "-", part).strip("-")[:60] for part in parts)
    return f"{'-'.join([report, *filter(None, given)])}.{kind}"
