"""Write the tables of the documentation that come from the code: ``make docs``.

A table is between ``<!-- table: NAME -->`` and ``<!-- end of table -->``; everything else in a page
is written by hand. ``--check`` writes nothing and exits 1 if a page is out of date.

What a format can contain is taken from its golden cases, the cost of an interval from the benchmark
of the detector (``research/benchmark/results.md``).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detection.quantities import QUANTITIES
from docs import reference
from ingest.decoders import DECODERS
from reports import tables
from sensor_sim.devices.models import MODELS
from storage.timeseries.records import MEASUREMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = (
    ROOT / "docs" / "commands.md",
    ROOT / "docs" / "decisions" / "index.md",
    ROOT / "docs" / "devices.md",
    ROOT / "docs" / "measurements.md",
    ROOT / "docs" / "metrics.md",
    ROOT / "docs" / "privacy.md",
    ROOT / "docs" / "report-files.md",
    ROOT / "docs" / "settings.md",
    ROOT / "ingest" / "decoders" / "README.md",
)

_MARKED: Final = re.compile(
    r"(<!-- table: (?P<name>[a-z]+) -->\n)(?P<body>.*?)(<!-- end of table -->)", re.DOTALL
)
_ROUTED: Final = "chosen by the user: add a route"


def _topics(name: str) -> str:
    return ", ".join(f"`{topic}`" for topic in DECODERS[name].topics) or _ROUTED


def _decoders() -> list[str]:
    rows = [f"| `{name}` | {d.summary} | {_topics(name)} |" for name, d in DECODERS.items()]
    return ["| decoder | devices | topics |", "|---|---|---|", *rows]


def _golden(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Topic and expected readings of a decoder's golden cases."""
    path = ROOT / "tests" / "golden" / "decoders" / name / "cases.json"
    for case in json.loads(path.read_text(encoding="utf-8")):
        for reading in case.get("readings", ()):
            yield case["topic"], reading


def _example(name: str) -> str:
    """Topic and id of the first golden case that measures something."""
    for topic, reading in _golden(name):
        if reading.get("values") or reading.get("events"):
            return f"`{reading['sensor']}` from `{topic}`"
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
        f" | {model.interval_s} s | {'mean' if model.averages else 'last value'} |"
        for name, model in MODELS.items()
    ]
    return [
        "| model | measures | interval | a reading is |",
        "|---|---|---|---|",
        *rows,
    ]


def _measurement(name: str) -> list[str]:
    rows = [
        f"| `{field.name}` | {'number' if field.type is float else 'text'} | {field.about} |"
        for field in MEASUREMENTS[name].fields
    ]
    return ["| field | type | |", "|---|---|---|", *rows]


class Buy(NamedTuple):
    """What to buy that speaks a format, and the interval to set; None: the maker does not say."""

    what: str
    interval: str
    interval_s: float | None


_LORA: Final = "60 s if airtime allows (minimum 10 s, default 600 s)"
BUY: Final = {
    "native": Buy("an ESP32 with SEN55, or SPS30 and SGP41, and firmware of your own", "2 s", 2),
    "tasmota": Buy("an ESP board with SEN55 or PMS5003 and SGP41", "10 s, its minimum", 10),
    "airgradient": Buy("AirGradient ONE", "60 s, fixed", 60),
    "chirpstack": Buy("Milesight GS601", _LORA, 60),
    "tts": Buy("Milesight GS601", "minutes, by the stack's fair use", 180),
    "zigbee2mqtt": Buy("IKEA VINDSTYRKA", "fixed by the device", None),
    "meraki": Buy("Cisco Meraki MT15", "about 60 s, fixed", 60),
    "axis": Buy("AXIS D6310, if present", "fixed by the device", None),
    "ruuvi": Buy("Ruuvi Air and a Ruuvi gateway", "fixed by the device", None),
    "qingping": Buy("Qingping Air Monitor", "10 s, on request", 10),
    "kaiterra": Buy("Kaiterra Sensedge", "fixed by the device", None),
    "sensecap": Buy("for climate beside another sensor only", "fixed by the device", None),
    "sparkplug": Buy("existing building automation", "1-5 s at the gateway, if possible", 5),
    "homie": Buy("existing Homie devices", "1-5 s, if possible", 5),
    "ha_discovery": Buy("nothing: it only provides units", "none", None),
    "shelly": Buy("for climate beside another sensor only", "fixed by the device", None),
    "esphome": Buy("an ESP32 with SEN55, or SPS30 and SGP41", "2 s", 2),
    "loriot": Buy("Milesight GS601", _LORA, 60),
    "milesight_gateway": Buy("Milesight GS601 and UG65", _LORA, 60),
    "milesight": Buy("Milesight GS601", _LORA, 60),
    "decentlab": Buy("DL-PM, if present", "minutes (battery)", 600),
    "elsys": Buy("ERS2 VOC, if present", "minutes (battery)", 600),
    "influx": Buy("existing Telegraf inputs", "1-5 s at its source", 5),
    "sensorcommunity": Buy("airRohr with SPS30, if present", "145 s by default", 145),
    "purpleair": Buy("PurpleAir, if present", "120 s, as it averages", 120),
    "awair": Buy("Awair, if present", "poll every 10 s", None),
    "unifi": Buy("UniFi UP-AirQuality, if present", "10 s, asked for", 10),
    "verkada": Buy("Verkada SV, if present", "on events", None),
    "halo": Buy("HALO, if present", "alarms at once; values every 5 s, asked for", 5),
    "generic": Buy("anything that can post JSON", "1-5 s, if possible", 5),
}
"""By decoder, in the order of the table."""

_RELIED_ON: Final = 0.2
"""Share of visible puffs detected, below which alerts cannot be relied on."""
_ENOUGH: Final = 20
"""Visible puffs from which a row says anything."""
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


def _measured() -> list[dict[str, float]]:
    """Rows of the benchmark by reporting interval, shortest first, that are of enough puffs."""
    found = _ROW.finditer(_BENCHMARK.read_text(encoding="utf-8"))
    rows = [{key: float(value) for key, value in m.groupdict().items()} for m in found]
    return sorted((r for r in rows if r["visible"] >= _ENOUGH), key=lambda row: row["s"])


def _intervals() -> list[str]:
    rows = [
        f"| {row['s']:.0f} s | {row['recall']:.0%} | {row['alarms']:.1f}"
        f" | {row['p50']:.0f} s; {row['p90']:.0f} s |"
        for row in _measured()
    ]
    head = ("interval", "puffs detected, of those a sensor can see", "false alarms a sensor-day")
    return [
        f"| {' | '.join(head)} | half of the alerts within; nine in ten |",
        "|---|---:|---:|---:|",
        *rows,
    ]


def _carried(name: str) -> list[str]:
    """Return what the golden cases of a decoder carry, in words."""
    seen: set[str] = set()
    for _, reading in _golden(name):
        seen |= {*reading.get("values", ()), *reading.get("events", ())}
    return [words for words, keys in _CARRIED if seen & keys]


def _cost(name: str, carried: list[str]) -> str:
    alone = "; its own alarms come at once" if "its own alarms" in carried else ""
    if "particles" not in carried:
        return "no vaping detection without a particle channel" if not alone else alone[2:]
    seconds = BUY[name].interval_s
    if seconds is None:
        return f"depends on its interval (`plumewatch status`){alone}"
    rows = _measured()
    row = next((row for row in rows if row["s"] >= seconds), rows[-1])
    bound = "at most" if seconds > rows[-1]["s"] else "about"
    found = f"{bound} {row['recall']:.0%} of puffs detected"
    if row["recall"] < _RELIED_ON:
        return f"trends only: {found}{alone}"
    return f"{found}, half within {row['p50']:.0f} s{alone}"


def _devices() -> list[str]:
    if missing := DECODERS.keys() - BUY.keys():
        raise SystemExit(f"BUY in docs/make_tables.py has no line for {', '.join(sorted(missing))}")
    rows = []
    for name in DECODERS:
        carried = _carried(name)
        rows.append(
            f"| `{name}` | {BUY[name].what} | {', '.join(carried) or 'nothing'}"
            f" | {BUY[name].interval} | {_cost(name, carried)} |"
        )
    return ["| decoder | buy | can carry | interval | cost |", "|---|---|---|---|---|", *rows]


def _report(columns: Sequence[tables.Column]) -> list[str]:
    types = {"String": "text", "Float64": "number", "Int64": "whole", "Boolean": "true, false"}
    rows = []
    for column in columns:
        kind = str(column.kind() if isinstance(column.kind, type) else column.kind)
        name = types.get(kind, "date" if kind == "Date" else "time")
        rows.append(f"| `{column.name}` | {name} | {column.about} |")
    return ["| column | type | content |", "|---|---|---|", *rows]


TABLES: Final[dict[str, Callable[[], list[str]]]] = {
    "commands": reference.commands,
    "decisions": reference.decisions,
    "decoders": _decoders,
    "devices": _devices,
    "formats": _formats,
    "intervals": _intervals,
    "metrics": reference.metrics,
    "models": _models,
    "retention": reference.retention,
    "settings": reference.settings,
    **{
        f"report{table.name}": partial(_report, table.columns)
        for table in (tables.incidents, tables.response, tables.sensors)
    },
    "reportsummary": partial(_report, tables.COLUMNS["summary"]),
    **{name.replace("_", ""): partial(_measurement, name) for name in MEASUREMENTS},
}


def renewed(text: str) -> str:
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
        new = renewed(text)
        if new == text:
            continue
        old += 1
        if not check:
            page.write_text(new, encoding="utf-8")
        sys.stdout.write(f"{page.relative_to(ROOT)}: {'is out of date' if check else 'written'}\n")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
