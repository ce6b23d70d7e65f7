"""Draw every dashboard with Grafana's own panel components, from a simulated school.

Usage: python docs/gallery/make_gallery.py [--out docs/img/dashboards]

Needs node, npm, an InfluxDB 1.x and Chromium. npm fetches @grafana/ui into ``build/gallery``, 450
MB, once. The JSON is checked by the types of @grafana/schema; then a school is simulated into the
InfluxDB, every question is asked as Grafana asks it, and the answers are drawn by @grafana/ui in a
headless browser, wide and at the width of a phone. Exits 1 if the types do not fit, or a panel
could not be drawn.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dashboards.build import built
from dashboards.frame import DashboardSettings
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.influx_setup import set_up
from storage.timeseries.resolution import Retention
from tests.support import grafana
from tests.support.influx import Influxd
from tests.support.school_series import ZONE, simulated_school

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "gallery"
WIDTHS = {"": 1280, "-phone": 390}
HOURS = 24.0
PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<style>
body {{ margin: 0; background: #f4f5f5; font-family: Inter, "DejaVu Sans", sans-serif; }}
#root {{ padding: 8px; }}
h2 {{ margin: 2px 4px; font-size: 16px; font-weight: 500; line-height: 28px; }}
.empty {{ display: grid; place-items: center; height: 100%; color: #56606b; }}
</style>
<link rel="stylesheet" href="bundle.css"><div id="root"></div>
<script>window.GALLERY = {data};</script><script src="bundle.js"></script>
"""
TYPES = """import type { Dashboard } from '@grafana/schema';
type Json<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Json<U>[] : T extends object ? { [K in keyof T]: Json<T[K]> } : T;"""
"""In JSON the members of an enumeration are their texts."""
ASKED = ("target", "query", "rawQuery", "titleColumn", "textColumn", "tagsColumn", "timeEndColumn")
ROOM = {**grafana.EVERYWHERE, "room": "main-2-boys"}


def bundle() -> Path:
    """Fetch the components once, and put them into one file."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "panels.jsx"):
        shutil.copy(HERE / name, BUILD / name)
    if not (BUILD / "node_modules" / "@grafana" / "ui").exists():
        install = ("npm", "install", "--legacy-peer-deps", "--no-audit", "--no-fund", "--silent")
        subprocess.run(install, cwd=BUILD, check=True)
    fonts = [f"--loader:.{kind}=dataurl" for kind in ("svg", "png", "woff", "woff2", "ttf")]
    subprocess.run(
        (
            *("npx", "esbuild", "panels.jsx", "--bundle", "--outfile=bundle.js", "--jsx=automatic"),
            *fonts,
            '--define:process.env.NODE_ENV="production"',
            "--define:global=window",
            "--log-level=error",
        ),
        cwd=BUILD,
        check=True,
    )
    return BUILD / "bundle.js"


def misfits() -> list[str]:
    """Check all dashboards against the types of @grafana/schema; what does not fit.

    What the types do not know, and Grafana does: the palette `palette-colorblind`, and what the
    data source of an annotation is asked.
    """
    lines = [TYPES]
    for name, dashboard in built(DashboardSettings(zone=ZONE)).items():
        for mark in dashboard.get("annotations", {}).get("list", ()):
            for asked in [key for key in mark if key in ASKED]:
                del mark[asked]
        text = json.dumps(dashboard).replace("palette-colorblind", "palette-classic")
        lines.append(f"export const {name}: Json<Dashboard> = {text};")
    (BUILD / "types.ts").write_text("\n".join(lines), encoding="utf-8")
    options = ("--noEmit", "--strict", "--skipLibCheck", "--module", "esnext")
    found = subprocess.run(
        ("npx", "tsc", *options, "--moduleResolution", "bundler", "types.ts"),
        cwd=BUILD,
        check=False,
        capture_output=True,
        text=True,
    )
    said = found.stdout.splitlines() + found.stderr.splitlines()
    return [line[:300] for line in said] if found.returncode else []


def answers(url: str, dashboard: dict[str, Any], start: float, end: float) -> dict[str, Any]:
    """Ask every question of a dashboard; answers by panel and letter."""
    places = ROOM if dashboard["uid"] == "plumewatch-room" else grafana.EVERYWHERE
    found = {}
    for panel, target in grafana.questions(dashboard):
        query = grafana.interpolated(
            target["query"], start, end, places, panel.get("interval", ""), points=400
        )
        found[f"{panel['id']}{target['refId']}"] = grafana.answer(url, query)
    return found


def pages(
    url: str, settings: DashboardSettings, folder: Path, end: float
) -> Iterator[tuple[str, str, int]]:
    """Write a page a dashboard and width; name of the picture, of the page, and the width."""
    for name, dashboard in built(settings).items():
        since = dashboard["time"]["from"]
        start, now = end - min(grafana.seconds(since), HOURS * 3600.0), time.time()
        if since.endswith("/d"):  # from the start of that day
            day = datetime.fromtimestamp(start, ZoneInfo(settings.zone))
            start = day.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        data = {"dashboard": dashboard, "answers": answers(url, dashboard, start, now)}
        for suffix, width in WIDTHS.items():
            given = {**data, "from": start * 1000, "to": now * 1000, "width": width - 16}
            text = json.dumps(given).replace("</", "<\\/")
            page = f"{name}{suffix}.html"
            (folder / page).write_text(PAGE.format(title=name, data=text), encoding="utf-8")
            yield f"{name}{suffix}", page, width


class Quiet(SimpleHTTPRequestHandler):
    """Serves the folder and says nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def draw(browser: webdriver.Chrome, address: str, width: int, target: Path) -> list[str]:
    """Take the picture of a page; what went wrong."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(address)
    WebDriverWait(browser, 60).until(lambda b: b.execute_script("return window.DRAWN === true"))
    height = browser.execute_script("return document.documentElement.scrollHeight")
    size["height"] = min(int(height), 9_000)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    time.sleep(1.0)
    picture = Image.open(BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    # Thin lines keep their colours: the usual way of choosing 64 merges them.
    kept = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE)
    kept.save(target, optimize=True)
    failed = browser.execute_script("return window.FAILED")
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    if wide > width:
        failed.append(f"wider than {width}: {wide}")
    logged = [
        entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"
    ]
    return [*failed, *(m for m in logged if "favicon" not in m and "/fonts/" not in m)]


def chromium() -> webdriver.Chrome:
    """Start a headless Chromium."""
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--lang=en-US"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
    )


def main() -> int:
    """Draw all; 1 if something could not be drawn."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "img" / "dashboards")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    made = bundle()
    complaints = misfits()
    print("types of @grafana/schema:", *(complaints or ["all fit"]), sep="\n  ")
    wrong = len(complaints)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copy(made, folder / "bundle.js")
        shutil.copy(made.with_suffix(".css"), folder / "bundle.css")
        (folder / "public" / "build").mkdir(parents=True)
        icons = BUILD / "node_modules" / "@grafana" / "ui" / "dist" / "public" / "img"
        (folder / "public" / "build" / "img").symlink_to(icons)
        school = simulated_school(folder, hours=HOURS)
        with Influxd(folder) as server:
            settings = InfluxSettings(server.url, "school")
            list(set_up(InfluxHttp(settings), Retention(), time.time()))
            with InfluxSeries(settings, school.registry, folder / "influx.db") as series:
                school.store(series)
            list(set_up(InfluxHttp(settings), Retention(), time.time()))
            drawn = DashboardSettings(
                zone=ZONE,
                rooms=tuple(school.registry.rooms),
                sensors=tuple((s.id, s.room) for s in school.registry.sensors.values()),
            )
            found = list(pages(server.url, drawn, folder, school.end))
        http = ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
        )
        threading.Thread(target=http.serve_forever, daemon=True).start()
        with chromium() as browser:
            for name, page, width in found:
                address = f"http://127.0.0.1:{http.server_address[1]}/{page}"
                complaints = draw(browser, address, width, out / f"{name}.png")
                wrong += len(complaints)
                print(f"{name}: {(out / f'{name}.png').stat().st_size // 1024} kB", *complaints[:5])
        http.shutdown()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
