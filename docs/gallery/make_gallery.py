"""Render every dashboard with Grafana's own libraries and twelve weeks of made-up data.

Usage: python -m docs.gallery.make_gallery [--out docs/img/dashboards] [--only morning]

Needs node, npm, an InfluxDB 1.x and Chromium. npm fetches @grafana/scenes and its dependencies into
``build/gallery`` once (470 MB). The JSON is checked against the types of three versions of
@grafana/schema. Then ``sample_school.py`` creates a made-up school. Its data up to a minute after
an alert is copied to InfluxDB. A headless browser shows the dashboards as of that moment (`Date` on
the page, ``now()`` in the queries), at the sizes of a phone, a desktop and a wall display, light
and dark. A small server in front of InfluxDB answers the queries of the data source and
annotations. The command lists panels without data. It exits with 1 if a type doesn't match, a query
fails, a component throws, or a heading is cut off.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.support.ui import WebDriverWait

from alerts.outbound.series_records import DueRecords
from dashboards.boards import DashboardSettings
from dashboards.build import build_all
from dashboards.queries import DATA_SOURCE_UID
from docs.gallery.make_shots import open_browser, reopen
from docs.gallery.sample_school import make_school
from plumewatch.config.load import load
from plumewatch.config.paths import DataPaths
from plumewatch.service.data_folder import open_series
from reports.rows import name_rooms
from storage.sqlite import connect
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.influx_setup import set_up
from storage.timeseries.resolution import QUARTER_HOUR, Retention
from storage.timeseries.rollup import update_averages
from tests.support.influx import Influxd, influxql

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from selenium import webdriver

    from storage.timeseries.records import Record

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "gallery"
SIZES = {"phone": 390, "desk": 1440}
DRAWN = (("desk", "light"), ("phone", "light"))
"""Sizes and themes drawn by default; `--all` draws every size, light and dark."""
DATABASE = "school"
BATCH = 5_000
QUARTER_S = QUARTER_HOUR.step_s
DOCS_URL = "https://plumewatch.example/docs"
PAGE_URL = "https://plumewatch.example"
WAIT_S = 90
PAGE = (HERE / "page.html").read_text(encoding="utf-8")
CANVAS = {"light": "#f4f5f5", "dark": "#111217"}
VERSIONS = {"11": "schema11", "12": "schema12", "13": "@grafana/schema"}
TYPES = """import type { Dashboard, DashboardLink } from '@grafana/schema';
type Json<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Json<U>[] : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
type Some<T> = T extends unknown[] ? T : T extends object ? { [K in keyof T]?: Some<T[K]> } : T;"""
"""In JSON, enumeration members are strings, and options may omit their defaults."""
KINDS = {
    "timeseries": "TimeSeries",
    "stat": "Stat",
    "bargauge": "BarGauge",
    "table": "Table",
}
ASKED = ("target", "query", "rawQuery", "titleColumn", "textColumn", "tagsColumn", "timeEndColumn")


def bundle() -> Path:
    """Bundle the libraries into one file, after fetching them the first time."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "scene.jsx"):
        shutil.copy(HERE / name, BUILD / name)
    if not (BUILD / "node_modules" / "@grafana" / "scenes").exists():
        install = ("npm", "install", "--legacy-peer-deps", "--no-audit", "--no-fund", "--silent")
        subprocess.run(install, cwd=BUILD, check=True)
    fonts = [f"--loader:.{kind}=dataurl" for kind in ("svg", "png", "woff", "woff2", "ttf")]
    subprocess.run(
        (
            *("npx", "esbuild", "scene.jsx", "--bundle", "--outfile=bundle.js", "--jsx=automatic"),
            *fonts,
            "--alias:react-router-dom-v5-compat=react-router-dom",
            '--define:process.env.NODE_ENV="production"',
            "--define:global=window",
            "--log-level=error",
        ),
        cwd=BUILD,
        check=True,
    )
    return BUILD / "bundle.js"


def find_misfits(package: str) -> list[str]:
    """Check all dashboards against a version of @grafana/schema; return the type errors.

    The options of panels and their fields are checked against the types of the panel's kind. The
    types do not cover the query of an annotation's data source, although Grafana supports it.
    Wrapping of sentences in tables is one option in Grafana 11 and another in later versions; each
    version ignores the other's option.
    """
    lines = [TYPES]
    for kind, name in KINDS.items():
        module = f"{kind.replace('-', '')}/panelcfg/x/{name}PanelCfg_types.gen"
        lines.append(f"import type * as {name} from 'kinds/{module}';")
    for name, dashboard in build_all(DashboardSettings(names={"a": "A"})).items():
        for mark in dashboard.get("annotations", {}).get("list", ()):
            for asked in [key for key in mark if key in ASKED]:
                del mark[asked]
        links = json.dumps(dashboard.pop("links", []))
        lines.append(f"export const {name}_links: Json<Some<DashboardLink>>[] = {links};")
        lines.append(f"export const {name}: Json<Dashboard> = {json.dumps(dashboard)};")
        for panel in (p for one in dashboard["panels"] for p in (one, *one.get("panels", ()))):
            if panel["type"] == "row":
                continue
            kind, own = KINDS[panel["type"]], f"{name}{panel['id']}"
            options = json.dumps(panel.get("options", {}))
            lines.append(f"export const {own}: Json<Some<{kind}.Options>> = {options};")
            config = panel.get("fieldConfig", {})
            customs = [config.get("defaults", {}).get("custom", {})]
            for override in config.get("overrides", ()):
                given = {one["id"]: one["value"] for one in override["properties"]}
                customs.append(
                    {k[7:]: v for k, v in given.items() if k.startswith("custom.")},
                )
            lines += [
                f"export const {own}_{k}: Json<Some<{kind}.FieldConfig>> = {json.dumps(custom)};"
                for k, custom in enumerate(customs)
                if custom
            ]
    (BUILD / "types.ts").write_text("\n".join(lines), encoding="utf-8")
    of_version = f"./node_modules/{package}/dist"
    paths = {
        "@grafana/schema": [f"{of_version}/{x}" for x in ("types/index.d.ts", "esm/index.d.mts")],
        "kinds/*": [f"{of_version}/esm/raw/composable/*"],
    }
    options = {
        "noEmit": True,
        "strict": True,
        "skipLibCheck": True,
        "paths": paths,
        "module": "esnext",
        "moduleResolution": "bundler",
    }
    project = {"compilerOptions": options, "files": ["types.ts"]}
    (BUILD / "types.json").write_text(json.dumps(project), encoding="utf-8")
    found = subprocess.run(
        ("npx", "tsc", "--project", "types.json"),
        cwd=BUILD,
        check=False,
        capture_output=True,
        text=True,
    )
    printed = found.stdout.splitlines() + found.stderr.splitlines()
    return [line[:300] for line in printed if '"wrapText"' not in line]


def split(items: Sequence[Any]) -> Iterator[Any]:
    """Yield items in batches small enough for one request."""
    yield from (items[k : k + BATCH] for k in range(0, len(items), BATCH))


class School:
    """The made-up school in InfluxDB, one minute after an alert."""

    def __init__(self, folder: Path, url: str) -> None:
        records = make_school(folder, weeks=12, seed=1)
        config = load(folder / "plumewatch.toml")
        self.url, state = url, DataPaths(config.data_dir).state
        incident, self.now = reopen(state)
        registry = config.build_registry()
        settings = InfluxSettings(url, DATABASE)
        keep = Retention(raw_days=90)
        list(set_up(InfluxHttp(settings), keep))
        with InfluxSeries(settings, registry, folder / "influx.db", keep) as into:
            with open_series(config) as series:
                begin = self.now - 85 * 86_400.0
                for sensor in registry.sensors:
                    for batch in split(series.read_between(begin, self.now, [sensor])):
                        into.write(batch)
            self._record(into, records)
            due = DueRecords(state, into)
            with closing(due):
                after = 0
                while (read := due.read(after, 1_000))[1] != after:
                    after = read[1]
                    self._record(into, [entry.record for entry in read[0]])
        last = int(self.now // QUARTER_S)
        for quarter in range(last - 85 * 96, last, 96):
            update_averages(InfluxHttp(settings), range(quarter, min(quarter + 96, last)))
        with closing(connect(state, read_only=True)) as db:
            asked = "SELECT room FROM incident WHERE id = ?"
            (self.room,) = db.execute(asked, (incident,)).fetchone()
        rooms = registry.rooms.values()
        self.settings = DashboardSettings(
            zone=config.timezone,
            page_url=PAGE_URL,
            docs_url=DOCS_URL,
            sensors=tuple(registry.sensors),
            names=name_rooms((r.id, r.name, r.floor, r.building) for r in rooms),
        )

    def _record(self, into: InfluxSeries, records: list[Record]) -> None:
        for batch in split([record for record in records if record.time <= self.now]):
            into.record(batch)

    def answer(self, query: str) -> bytes:
        """Answer a query of the data source as of the time of the pictures."""
        return influxql(self.url, query.replace("now()", f"{self.now:.0f}s"), DATABASE, epoch="ms")


def make_handler(school: School, folder: Path) -> type[SimpleHTTPRequestHandler]:
    """Return a handler that serves a folder's pages and answers in place of Grafana's server."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, directory=str(folder), **named)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

        def do_GET(self) -> None:
            path, asked = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
            if path == "/query":
                self._send(school.answer(asked["q"][0]))
            else:
                super().do_GET()

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def draw(window: webdriver.Chrome, address: str, width: int, target: Path) -> dict[str, list[str]]:
    """Take the picture of a page; return errors and empty panels."""
    size = {"width": width, "height": 1080, "deviceScaleFactor": 1, "mobile": False}
    window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    window.get(address)
    try:
        WebDriverWait(window, WAIT_S).until(
            lambda b: b.execute_script("return window.settled && window.settled()")
        )
    except TimeoutException:
        return {"failed": [*window.execute_script("return window.FAILED"), "no complete answer"]}
    time.sleep(1.0)
    height = window.execute_script("return document.documentElement.scrollHeight")
    size["height"] = min(max(int(height), 400), 9_000)
    window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    time.sleep(1.5)
    picture = Image.open(BytesIO(window.get_screenshot_as_png())).convert("RGB")
    picture.save(target, "WEBP", quality=80, method=6)
    found: dict[str, list[str]] = window.execute_script("return window.report()")
    wide = window.execute_script("return document.documentElement.scrollWidth")
    if wide > width:
        found["failed"].append(f"wider than {width}: {wide}")
    logged = [e["message"] for e in window.get_log("browser") if e["level"] == "SEVERE"]
    missing = ("/fonts/", "/icons/")  # not in the packages
    found["failed"] += [m[:300] for m in logged if not any(one in m for one in missing)]
    return found


def build_page(school: School, name: str, dashboard: dict[str, Any], mode: str) -> str:
    """Return a page that mounts a dashboard."""
    data = {
        "dashboard": dashboard,
        "choices": {"room": school.room} if name == "room" else {},
        "mode": mode,
        "source": DATA_SOURCE_UID,
    }
    text = json.dumps(data).replace("</", "<\\/")
    now = round(school.now * 1000)
    return PAGE.format(title=dashboard["title"], data=text, now=now, canvas=CANVAS[mode])


def main() -> int:
    """Draw all dashboards; return 1 if anything failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "img" / "dashboards")
    parser.add_argument("--only", default="", help="name of a dashboard")
    parser.add_argument("--all", action="store_true", help="every size, light and dark")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    made, wrong = bundle(), 0
    for version, package in VERSIONS.items():
        complaints = find_misfits(package)
        print(f"types of Grafana {version}:", *(complaints or ["all fit"]), sep="\n  ")
        wrong += len(complaints)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for file in (made, made.with_suffix(".css")):
            shutil.copy(file, folder)
        (folder / "public" / "build").mkdir(parents=True)
        icons = BUILD / "node_modules" / "@grafana" / "ui" / "dist" / "public" / "img"
        (folder / "public" / "build" / "img").symlink_to(icons)
        (folder / "influx").mkdir()
        with (
            Influxd(folder / "influx") as server,
            open_browser(1440, 1080, folder / "me") as window,
        ):
            school = School(folder / "school", server.url)
            http = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(school, folder))
            threading.Thread(target=http.serve_forever, daemon=True).start()
            for name, dashboard in build_all(school.settings).items():
                if options.only not in ("", name):
                    continue
                every = [(size, mode) for size in SIZES for mode in CANVAS]
                for size, mode in every if options.all else DRAWN:
                    text = build_page(school, name, dashboard, mode)
                    (folder / "page.html").write_text(text, encoding="utf-8")
                    target = options.out / f"{name}-{size}-{mode}.webp"
                    address = f"http://127.0.0.1:{http.server_address[1]}/page.html"
                    found = draw(window, address, SIZES[size], target)
                    wrong += len(found["failed"]) + len(found.get("cut", ()))
                    print(f"{target.name}:", json.dumps({k: v for k, v in found.items() if v}))
            http.shutdown()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
