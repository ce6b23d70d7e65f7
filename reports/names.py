"""Names of reports and formats, for those who only ask for them: loads nothing."""

from __future__ import annotations

import re
from typing import Final

FORMATS: Final = ("csv", "xlsx", "pdf", "html", "parquet", "json")

ABOUT: Final = {
    "incidents": "one row an incident that was opened in the window, tests and days without school"
    " too",
    "summary": "a page to read, then the detail",
    "response": "times of response, for all and by group",
    "sensors": "one row a sensor",
}
"""Every report there is, and what it is."""


def file_name(report: str, kind: str, *parts: str) -> str:
    """Name a file after its report, its time, and its place where it is not everything.

    Examples
    --------
    >>> file_name("summary", "pdf", "2026/27", "", "North wing")
    'summary-2026-27-North-wing.pdf'
    """
    said = (re.sub(r"\W+", "-", part).strip("-")[:60] for part in parts)
    return f"{'-'.join([report, *filter(None, said)])}.{kind}"
