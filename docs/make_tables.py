"""Write the tables in the docs that are generated from the code: ``make docs``.

Tables are between ``<!-- table: NAME -->`` and ``<!-- end of table -->``. Everything else on a page
is written by hand. ``--check`` writes nothing and exits with 1 if a page is out of date.

The quantities in each format come from its golden cases. The effect of the reporting interval comes
from the detector's benchmark (``research/benchmark/results.md``).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alerts.channels import SERVICES, Service
from docs import reference
from ingest.decoders import DECODERS
from reports import tables
from storage.timeseries.records import MEASUREMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = (
    ROOT / "docs" / "alerting.md",
    ROOT / "docs" / "commands.md",
    ROOT / "docs" / "decisions" / "index.md",
    ROOT / "docs" / "devices.md",
    ROOT / "docs" / "measurements.md",
    ROOT / "docs" / "privacy.md",
    ROOT / "docs" / "reports.md",
    ROOT / "docs" / "sensors.md",
    ROOT / "docs" / "settings.md",
)

_MARKED: Final = re.compile(
    r"(<!-- table: (?P<name>[a-z]+) -->\n)(?P<body>.*?)(<!-- end of table -->)", re.DOTALL
)
_ROUTED: Final = "chosen by the user: add a route"


def _list_topics(name: str) -> str:
    return ", ".join(f"`{topic}`" for topic in DECODERS[name].topics) or _ROUTED


def _read_golden(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the topic and expected reading of each golden case of a decoder."""
    path = ROOT / "tests" / "golden" / "decoders" / name / "cases.json"
    for case in json.loads(path.read_text(encoding="utf-8")):
        for reading in case.get("readings", ()):
            yield case["topic"], reading


def _find_example(name: str) -> str:
    """Return the sensor id and topic of the first golden case with values or events."""
    for topic, reading in _read_golden(name):
        if reading.get("values") or reading.get("events"):
            return f"`{reading['sensor']}` from `{topic}`"
    return "stores nothing"


def _make_formats() -> list[str]:
    rows = []
    for name, d in DECODERS.items():
        over = "HTTP" if d.over_http and not d.topics else "MQTT" + ", HTTP" * d.over_http
        carried = ", ".join(_list_carried(name)) or "nothing"
        rows.append(
            f"| `{name}` | {d.summary} | {carried} | {over} | {_list_topics(name)}"
            f" | {_find_example(name)} |"
        )
    return [
        "| decoder | devices | data | protocol | topics | example id |",
        "|---|---|---|---|---|---|",
        *rows,
    ]


def _make_measurement(name: str) -> list[str]:
    found = MEASUREMENTS[name]
    rows = [f"| `{field}` | number | {about} |" for field, about in found.numbers.items()]
    rows += [f"| `{field}` | text | {about} |" for field, about in found.texts.items()]
    return ["| field | type | |", "|---|---|---|", *rows]


_ENOUGH: Final = 12
"""Minimum number of detectable sessions for a row."""
_BENCHMARK: Final = ROOT / "research" / "benchmark" / "results.md"
_ROW: Final = re.compile(
    r"^\| (?P<s>\d+) s \| \d+ \| (?P<visible>\d+) \| (?P<recall>[\d.]+) [^|]*\|[^|]*\|[^|]*"
    r"\| (?P<alarms>[\d.]+) [^|]*\| (?P<p50>\d+) / (?P<p90>\d+) \|",
    re.MULTILINE,
)
_CARRIED: Final = (
    ("particles", {"pm1", "pm25", "pm4", "pm10", "n03", "n05", "n10", "n25", "n50", "n100"}),
    ("VOC", {"tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw"}),
    ("humidity", {"rh"}),
    ("CO2", {"co2"}),
    ("its own vape index", {"vape_index"}),
    ("its own alarms", {"vendor_vape", "vendor_interference", "vendor_burning"}),
    ("tamper", {"tamper"}),
)


def _read_benchmark() -> list[dict[str, float]]:
    """Return the benchmark's rows that have enough sessions, shortest interval first."""
    found = _ROW.finditer(_BENCHMARK.read_text(encoding="utf-8"))
    rows = [{key: float(value) for key, value in m.groupdict().items()} for m in found]
    return sorted((r for r in rows if r["visible"] >= _ENOUGH), key=lambda row: row["s"])


def _make_intervals() -> list[str]:
    rows = [
        f"| {row['s']:.0f} s | {row['recall']:.0%} | {row['alarms']:.1f}"
        f" | {row['p50']:.0f} s; {row['p90']:.0f} s |"
        for row in _read_benchmark()
    ]
    head = ("interval", "sessions detected", "false alarms a day")
    return [
        f"| {' | '.join(head)} | median time to alert; 90th percentile |",
        "|---|---:|---:|---:|",
        *rows,
    ]


def _list_carried(name: str) -> list[str]:
    """Return the kinds of data in a decoder's golden cases."""
    seen: set[str] = set()
    for _, reading in _read_golden(name):
        seen |= {*reading.get("values", ()), *reading.get("events", ())}
    return [words for words, keys in _CARRIED if seen & keys]


def _make_report(columns: Sequence[tables.Column]) -> list[str]:
    """Make a row per column; adjacent columns with the same description share a row."""
    types = {"String": "text", "Float64": "number", "Int64": "integer", "Boolean": "true, false"}
    rows = []
    for about, group in groupby(columns, key=lambda column: column.about):
        same = list(group)
        kinds = [str(c.kind() if isinstance(c.kind, type) else c.kind) for c in same]
        named = [types.get(kind, "date" if kind == "Date" else "time") for kind in kinds]
        columns_named = " ".join(f"`{column.name}`" for column in same)
        rows.append(f"| {columns_named} | {', '.join(dict.fromkeys(named))} | {about} |")
    return ["| column | type | content |", "|---|---|---|", *rows]


def _make_services() -> list[str]:
    """Make a row for each service that can deliver notices."""
    found: dict[Service, list[str]] = {}
    for scheme, row in SERVICES.items():
        found.setdefault(row, []).append(f"`{scheme}://`")
    return [
        "| service | address | maximum text length | picture |",
        "|---|---|---:|---|",
        *(
            f"| {row.name} | {', '.join(schemes)} | {row.body:,} | {'yes' * row.takes_picture} |"
            for row, schemes in found.items()
        ),
    ]


TABLES: Final[dict[str, Callable[[], list[str]]]] = {
    "commands": reference.make_commands,
    "decisions": reference.make_decisions,
    "formats": _make_formats,
    "intervals": _make_intervals,
    "metrics": reference.make_metrics,
    "retention": reference.make_retention,
    "services": _make_services,
    "settings": reference.make_settings,
    **{f"report{name}": partial(_make_report, columns) for name, columns in tables.COLUMNS.items()},
    **{name.replace("_", ""): partial(_make_measurement, name) for name in MEASUREMENTS},
}


def renew(text: str) -> str:
    """Return a page with current tables; `KeyError` if it names one that is not in `TABLES`."""
    return _MARKED.sub(
        lambda m: m.group(1) + "\n".join(TABLES[m.group("name")]()) + "\n" + m.group(4), text
    )


def main() -> int:
    """Write, or check, all pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only print outdated pages")
    check = parser.parse_args().check
    old = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        new = renew(text)
        if new == text:
            continue
        old += 1
        if not check:
            page.write_text(new, encoding="utf-8")
        sys.stdout.write(f"{page.relative_to(ROOT)}: {'is out of date' if check else 'written'}\n")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
