"""Write the tables of the documentation that come from the code: ``make docs``.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``; everything else in a
page is written by hand. ``--check`` writes nothing and exits 1 if a page is old.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detection.quantities import QUANTITIES
from ingest.decoders import DECODERS
from sensor_sim.devices.models import MODELS
from storage.timeseries.records import MEASUREMENTS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PAGES", "TABLES", "renewed"]

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = (
    ROOT / "docs" / "devices.md",
    ROOT / "docs" / "storage.md",
    ROOT / "ingest" / "decoders" / "README.md",
)

_MARKED: Final = re.compile(
    r"(<!-- table: (?P<name>[a-z]+) -->\n)(?P<body>.*?)(<!-- end of table -->)", re.DOTALL
)
_ROUTED: Final = "chosen by the user: give it a route"


def _topics(name: str) -> str:
    return ", ".join(f"`{topic}`" for topic in DECODERS[name].topics) or _ROUTED


def _decoders() -> list[str]:
    rows = [f"| `{name}` | {d.summary} | {_topics(name)} |" for name, d in DECODERS.items()]
    return ["| decoder | devices | topics |", "|---|---|---|", *rows]


def _example(name: str) -> str:
    """Topic and id of the first golden case that measures something."""
    path = ROOT / "tests" / "golden" / "decoders" / name / "cases.json"
    for case in json.loads(path.read_text(encoding="utf-8")):
        for reading in case.get("readings", ()):
            if reading.get("values") or reading.get("events"):
                return f"`{reading['sensor']}` from `{case['topic']}`"
    return "stores nothing"


def _formats() -> list[str]:
    rows = [
        f"| `{name}` | {d.summary} | {_topics(name)} | {_example(name)} |"
        for name, d in DECODERS.items()
    ]
    return ["| decoder | devices | topics | id, by example |", "|---|---|---|---|", *rows]


def _models() -> list[str]:
    rows = [
        f"| `{name}` | {', '.join(QUANTITIES[c].label for c in model.channels)}"
        f" | {model.interval_s} s | {'mean' if model.averages else 'last value'}"
        f" | {', '.join(f'`{wire}`' for wire in model.wires)} |"
        for name, model in MODELS.items()
    ]
    return [
        "| model | measures | interval | a reading is | formats |",
        "|---|---|---|---|---|",
        *rows,
    ]


def _measurement(name: str) -> list[str]:
    rows = [
        f"| `{field.name}` | {'number' if field.type is float else 'text'} | {field.about} |"
        for field in MEASUREMENTS[name].fields
    ]
    return ["| field | type | |", "|---|---|---|", *rows]


TABLES: Final[dict[str, Callable[[], list[str]]]] = {
    "decoders": _decoders,
    "formats": _formats,
    "models": _models,
    **{name.replace("_", ""): partial(_measurement, name) for name in MEASUREMENTS},
}


def renewed(text: str) -> str:
    """Return a page with its tables as the code has them.

    Raises
    ------
    KeyError
        If a page names a table that is not in `TABLES`.
    """
    return _MARKED.sub(
        lambda m: m.group(1) + "\n".join(TABLES[m.group("name")]()) + "\n" + m.group(4), text
    )


def main() -> int:
    """Write, or check, all pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say which pages are old")
    check = parser.parse_args().check
    old = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = renewed(text)
        if new == text:
            continue
        old += 1
        if not check:
            page.write_text(new, encoding="utf-8")
        sys.stdout.write(f"{page.relative_to(ROOT)}: {'is old' if check else 'written'}\n")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
