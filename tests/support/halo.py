"""Fill in the templates from docs/http.md as a HALO does."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs/http.md").read_text(encoding="utf-8")
WORDS = {
    "NAME": "Bath",
    "MAC": "1C:82:59:00:00:01",
    "EID": "Vape",
    "SOURCE": "VAPE1",
    "VAL": "107.3",
    "DATE": "2026-9-21",
    "TIME": "14:13:20",
}


def templates():
    """Return the page's templates (address and body) by field name."""
    lines = re.findall(r"^(\w+ String)\tPOST:(.*)\?\[JSONBODY\](.*)$", PAGE, re.MULTILINE)
    return {name: (url, body) for name, url, body in lines}


def message(field="Set String", **changed):
    """Return the body that the device posts."""
    _, text = templates()[field]
    for word, value in (WORDS | changed).items():
        text = text.replace(f"%{word}%", value)
    return re.sub(r"%SENSOR:[^%]+%", "12", text).encode()
