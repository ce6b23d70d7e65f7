"""Take the screenshots of the staff page, push and report for the README and the manual.

Usage: python -m docs.gallery.make_shots [--out docs/img/gallery]

Needs Chromium with its driver. ``sample_school.py`` fills a folder with twelve weeks of a made-up
school. Its last vaping alert is reopened, and the screenshots are taken as of a minute after it, at
phone and desktop width. The picture in the push is the one that the service sends.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from alerts.access import action_tokens
from alerts.access.action_tokens import Action
from alerts.engine import AlertEngine
from alerts.incidents.incident import Verdict
from alerts.notify.pictures import IncidentPictures
from alerts.page.app import create_app
from alerts.page.settings import PipelineStatus, SensorStatus
from alerts.secrets import Secret
from docs.gallery.sample_school import make_school
from plumewatch.config.load import load
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import build_alert_policy, build_school
from plumewatch.service.data_folder import open_series
from storage import sqlite
from storage.timeseries import LatestReading
from tests.support.staff_page import page_settings

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from plumewatch.config.model import PlumewatchConfig

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = {"desk": (1280, 800), "phone": (390, 844)}
QUALITY = 82
AFTER_S = 75.0
FIRST_S = 5.0
"""The first notices are sent in this time."""
SILENT_S = 1800.0


def main() -> int:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs/img/gallery")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        school = Path(folder) / "school"
        make_school(school, weeks=12, seed=1)
        config = load(school / "plumewatch.toml")
        incident, now = reopen(DataPaths(config.data_dir).state)
        report = Path(folder) / "summary.pdf"
        asked = build_school(config).build_calendar(now - 81 * 86_400, now)
        run_command(
            *("report", "summary", "--config", school / "plumewatch.toml", "--format", "pdf"),
            *(
                "--from",
                asked.to_local(now - 81 * 86_400).date(),
                "--to",
                asked.to_local(now).date(),
            ),
            *("--out", report),
        )
        with serve_page(config, now) as (url, series, engine):
            state = DataPaths(config.data_dir).state
            person = engine.policy.staff[0].id
            report_on_missed(state, engine, person, now - 86_400.0)
            pictures = IncidentPictures(state, config.build_registry(), series, config.timezone)
            keep(pictures.draw_png(incident) or b"", out / "push.webp")
            first_page = ["pdftoppm", "-r", "110", "-singlefile", "-png", report]
            keep(
                subprocess.run(first_page, check=True, capture_output=True).stdout,
                out / "report.webp",
            )
            for name, (width, height) in WIDTHS.items():
                with open_browser(width, height, Path(folder) / name) as window:
                    window.get(f"{url}/sign-in")
                    window.find_element("css selector", "button[name=account]").click()
                    window.get(f"{url}/")
                    shoot(window, out / f"rooms-{name}.webp")
                    window.get(f"{url}/incidents/{incident}")
                    shoot(window, out / f"incident-{name}.webp", tall=1080 if name == "desk" else 0)
                    if name == "desk":
                        window.get(f"{url}/figures?span=month")
                        shoot(window, out / "statistics-desk.webp")
                    else:
                        for code in ("en", "es"):
                            with open_state(state) as tx:
                                token = action_tokens.issue(
                                    tx, incident, person, Action.ACKNOWLEDGE, now
                                )
                            window.delete_all_cookies()
                            window.get("about:blank")
                            window.get(f"{url}/answer?lang={code}#{token}")
                            shoot(window, out / f"answer-{code}.webp")
    sizes = {path.name: path.stat().st_size for path in sorted(out.glob("*.webp"))}
    for name, size in sizes.items():
        print(f"{name:24} {size / 1000:6.1f} kB")
    print(f"{'together':24} {sum(sizes.values()) / 1000:6.1f} kB")
    return 0


def report_on_missed(state: Path, engine: AlertEngine, person: str, before: float) -> None:
    """Record "nothing found" for the unanswered incidents before a time."""
    missed = "SELECT id FROM incident WHERE missed_at < ? AND verdict IS NULL"
    with open_state(state) as tx:
        for (incident,) in tx.execute(missed, (before,)).fetchall():
            engine.record_feedback(tx, incident, person, Verdict.NOTHING_FOUND, before)


def run_command(*words: object) -> None:
    """Run a `plumewatch` command."""
    subprocess.run([sys.executable, "-m", "plumewatch", *map(str, words)], cwd=ROOT, check=True)


@contextmanager
def open_state(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the state database in a transaction."""
    with closing(sqlite.connect(path)) as database, sqlite.transaction(database) as tx:
        yield tx


def reopen(state: Path) -> tuple[str, float]:
    """Reopen the last vaping alert; return its id and the time of the screenshots."""
    with open_state(state) as tx:
        incident, opened = tx.execute(
            "SELECT id, opened_at FROM incident WHERE kind = 'vape' AND paged = 1"
            " ORDER BY opened_at DESC LIMIT 1"
        ).fetchone()
        tx.execute(
            "UPDATE incident SET status = 'notified', verdict = NULL, resolved_at = NULL,"
            " acknowledged_at = NULL, acknowledged_by = '', arrived_at = NULL, action = '',"
            " cleared_at = NULL, missed_at = NULL WHERE id = ?",
            (incident,),
        )
        for (trigger,) in tx.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            tx.execute(f'DROP TRIGGER "{trigger}"')
        tx.execute(
            "DELETE FROM incident_history WHERE incident = ? AND (at > ? OR what NOT IN"
            " ('opened', 'paged', 'notified'))",
            (incident, opened + FIRST_S),
        )
        tx.execute("DELETE FROM outbox WHERE created_at > ?", (opened + FIRST_S,))
        tx.execute("DELETE FROM incident_feedback WHERE incident = ?", (incident,))
        tx.execute(
            "UPDATE alert_event SET phase = 'updated', \"end\" = NULL, last_heard = ?"
            " WHERE incident = ?",
            (opened + AFTER_S - 5, incident),
        )
    return incident, opened + AFTER_S


class Series:
    """The school's series as of a given time."""

    def __init__(self, series: Any, sensors: list[str], now: float) -> None:
        self._series, self._sensors, self._now = series, sensors, now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._series, name)

    def read_latest(self) -> dict[str, Any]:
        """Return the last reading of each sensor."""
        found = {}
        for sensor in self._sensors:
            times, values = self._series.read_window(sensor, self._now - 86_400, self._now)
            if len(times):
                newest = {key: float(column[-1]) for key, column in values.items()}
                is_alive = times[-1] > self._now - SILENT_S
                at = self._now - 3.0 - hash(sensor) % 5 if is_alive else float(times[-1])
                found[sensor] = LatestReading(at, newest)
        return found


@contextmanager
def serve_page(config: PlumewatchConfig, now: float) -> Iterator[tuple[str, Any, AlertEngine]]:
    """Serve a school's staff page as of a given time."""
    policy = build_alert_policy(config)
    nowhere = (Secret("json://127.0.0.1:9/nobody"),)
    staff = tuple(replace(member, targets=nowhere) for member in policy.staff)
    engine = AlertEngine(config.build_registry(), replace(policy, staff=staff))
    school = build_school(config)
    with open_series(config) as opened:
        series: Any = Series(opened, [s.id for s in config.sensor], now)
        alive = {
            name: SensorStatus("alive" if last.time > now - SILENT_S else "offline", last.time, 5.0)
            for name, last in series.read_latest().items()
        }
        app = create_app(
            page_settings(
                database=DataPaths(config.data_dir).state,
                engine=engine,
                series=series,
                pipeline=lambda: PipelineStatus(sensors=alive),
                school=config.site,
                times=school.times,
                one_click=True,
                clock=lambda: now,
            )
        )
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", opened, engine
        server.should_exit = True
        thread.join(10)


@contextmanager
def open_browser(width: int, height: int, profile: Path) -> Iterator[Any]:
    """Open a browser window of a given size."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    flags = ("--headless", "--no-sandbox", "--hide-scrollbars", "--no-first-run", "--lang=en-US")
    for flag in (*flags, "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    try:
        yield driver
    finally:
        driver.quit()


def shoot(window: Any, path: Path, tall: int = 0) -> None:
    """Save the visible part of the window, or the first `tall` pixels of the page."""
    time.sleep(1.5)  # charts are drawn by script
    size = window.execute_script("return [innerWidth, innerHeight]")
    clip = {"x": 0, "y": 0, "width": size[0], "height": tall or size[1], "scale": 1}
    taken = window.execute_cdp_cmd(
        "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
    )
    keep(base64.b64decode(taken["data"]), path)


def keep(png: bytes, path: Path) -> None:
    """Write a picture as WebP, lossless if that is smaller."""
    made = []
    with Image.open(BytesIO(png)) as image:
        for lossless in (True, False):
            file = BytesIO()
            image.convert("RGB").save(file, "WEBP", quality=QUALITY, method=6, lossless=lossless)
            made.append(file.getvalue())
    path.write_bytes(min(made, key=len))


if __name__ == "__main__":
    sys.exit(main())
