"""Names of reports, formats and files; imports nothing that makes them."""

from __future__ import annotations

import re
from typing import Final

FORMATS: Final = ("csv", "xlsx", "pdf", "html", "parquet", "json")

ABOUT: Final = {
    "incidents": "one row per incident opened in the window, with tests and days without school",
    "summary": "one page to read, then the detail",
    "response": "response times, for all and by group",
    "sensors": "one row per sensor",
}
"""All reports, and their content."""


def file_name(report: str, kind: str, *parts: str) -> str:
    """Name a file after its report, time and place.

    >>> file_name("summary", "pdf", "2026/27", "", "North wing")
    'summary-2026-27-North-wing.pdf'
    """
    given = (re.sub(r"\W+", "-", part).strip("-")[:60] for part in parts)
    return f"{'-'.join([report, *filter(None, given)])}.{kind}"
