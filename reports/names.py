"""Names of reports and formats, for those who only ask for them: loads nothing."""

from __future__ import annotations

from typing import Final

__all__ = ["ABOUT", "FORMATS"]

FORMATS: Final = ("csv", "xlsx", "pdf", "html", "parquet", "json")

ABOUT: Final = {
    "incidents": "one row an incident that was opened in the window, tests and days without school"
    " too",
    "summary": "a page to read, then the detail",
    "response": "times of response, for all and by group",
    "sensors": "one row a sensor",
}
"""Every report there is, and what it is."""
