"""Measure pages, API lists, reports and load for a whole district in one installation.

Usage: python benchmarks/district.py [--quick] [--schools 40] [--sensors 2000] [--days 300]
                                     [--parts pages reports]

The first run of a day creates a district's data folder in ``.bench``: a school year of incidents,
two weeks of averages, and a week of sensor health. The benchmark then publishes a reading from
every sensor every five seconds, while it requests each page as the district's administrator and as
a person at one school. The goal is 300 ms at the 95th percentile. Finally, it measures reports.
"""

from __future__ import annotations

import re
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import load_rig as rig

from alerts.access import api_tokens, sessions
from alerts.page.guard import name_cookie
from storage.sqlite import connect, transaction
from storage.timeseries.sqlite import SqliteSeries
from tests.support.school_year import STAFF, fill_state

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from sqlite3 import Connection

GOAL_MS = 300.0
PARTS = ("pages", "reports")
_INTERVAL_S = 5.0
_A_DAY = 0.25
"""Incidents per room and school day: twelve a day at a school with fifty rooms."""
_PEOPLE = 7
_ADMIN, _PERSON = "district-admin", "ap-0"
_AVERAGES_DAYS, _MINUTES_DAYS, _HEALTH_DAYS = 14, 1, 8
_AVERAGE = """
INSERT INTO {table} (sensor, time, n, pm25, pm25_min, pm25_max, co2, co2_min, co2_max, rh, rh_min,
    rh_max, voc_index, voc_index_min, voc_index_max)
WITH RECURSIVE k (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM k WHERE i + 1 < ?2)
SELECT ?1, (?3 + ?4 * i) * 1000000000, ?4 / 5, 5 + i % 7, 4.0, 30.0, 600 + i % 90, 450.0, 900.0,
    41.0, 39.0, 44.0, 95 + i % 17, 90.0, 120.0 FROM k
"""
_READING = """
INSERT OR IGNORE INTO reading (sensor, time, received, pm25, co2, rh, temp, voc_index)
WITH RECURSIVE k (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM k WHERE i + 1 < ?2)
SELECT ?1, (?3 + 5 * i) * 1000000000, ?3 + 5 * i, 5 + i % 7, 600 + i % 90, 41.0, 21.4, 95 + i % 17
    FROM k
"""
_SENSOR = "bench-0000"


@dataclass(frozen=True, slots=True)
class District:
    """The size of the district."""

    schools: int
    sensors: int
    days: int

    @property
    def first(self) -> date:
        """Return the first day of the district's school year, which ends today."""
        return datetime.now(UTC).date() - timedelta(days=self.days - 1)

    def of_school(self, number: int) -> range:
        """Return the room numbers of a school."""
        each = self.sensors // self.schools
        return range(number * each, (number + 1) * each)


# ---- test data


def write_configuration(folder: Path, district: District, broker_port: int) -> Path:
    """Write the configuration: the common part, and a file per school."""
    (folder / "sites").mkdir(exist_ok=True)
    for number in range(district.schools):
        path = folder / "sites" / f"school-{number:02d}.toml"
        path.write_text(_school(number, district.of_school(number)), encoding="utf-8")
    people = [(_ADMIN, "admin"), ("district-analyst", "analyst"), ("helpdesk", "helpdesk"), *STAFF]
    lines = [
        'district = "Lincoln Schools"\ntimezone = "America/New_York"',
        *rig.head_of_config(folder, broker_port),
        *(_person(name, role, '["*"]') for name, role in people),
    ]
    config = folder / "plumewatch.toml"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return config


def _school(number: int, rooms: Sequence[int]) -> str:
    lines = [f'name = "School {number:02d}"']
    for k, room in enumerate(rooms):
        building, floor = ("Main", "Annex")[k % 2], k // 2 % 3 + 1
        lines.append(
            f'[[room]]\nid = "r{room}"\nname = "Restroom {k // 6 + 1}"\nbuilding = "{building}"\n'
            f'floor = "{floor}"\n[[sensor]]\nid = "{rig.sensor_name(room)}"\nroom = "r{room}"'
        )
    roles = ("staff", "staff", "staff", "facilities", "facilities", "analyst")
    lines.append(_person(f"ap-{number}", "staff"))
    lines += [_person(f"p{k}-{number}", role) for k, role in enumerate(roles[: _PEOPLE - 1])]
    return "\n".join(lines) + "\n"


def _person(name: str, role: str, sites: str = "") -> str:
    where = f"\nsites = {sites}" if sites else ""
    return f'[[staff]]\nid = "{name}"\nname = "{name}"\nrole = "{role}"{where}'


def make_data(folder: Path, district: District) -> None:
    """Fill the data folder."""
    data = folder / "data"
    data.mkdir(parents=True)
    started = time.monotonic()
    count = fill_state(
        data / "state.db",
        district.first,
        district.days,
        district.sensors,
        a_day=_A_DAY,
        sensor="bench-{:04d}",
    )
    print(f"made {count:,} incidents in {time.monotonic() - started:.0f} s", flush=True)
    now = int(time.time()) // 900 * 900
    with SqliteSeries(data / "series.db"):
        pass
    with closing(connect(data / "series.db")) as db:
        db.execute("PRAGMA synchronous=OFF")
        for k in range(district.sensors):
            name = rig.sensor_name(k)
            with transaction(db) as tx:
                tx.execute("INSERT OR IGNORE INTO sensor (id, name) VALUES (?, ?)", (k + 1, name))
                for table, days, step in (
                    ("reading_15m", min(_AVERAGES_DAYS, district.days), 900),
                    ("reading_1m", _MINUTES_DAYS, 60),
                ):
                    steps = days * 86_400 // step
                    start = now - steps * step
                    tx.execute(_AVERAGE.format(table=table), (k + 1, steps, start, step))
                records = min(_HEALTH_DAYS, district.days) * 288
                if k in district.of_school(0):  # pages query the other quantities only as averages
                    tx.execute(_READING, (k + 1, 17_280, now - 86_400))
                rig.write_health(tx, name, records, now - records * 300)
    print(f"made the series in {time.monotonic() - started:.0f} s", flush=True)


# ---- measurements


@dataclass(frozen=True, slots=True)
class Asked:
    """One person's requests for one page."""

    path: str
    who: str
    times_ms: list[float]
    cpu_ms: float
    size_kb: float

    @property
    def p95(self) -> float:
        """Return the 95th percentile in milliseconds."""
        ordered = sorted(self.times_ms)
        return ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]


def pages(incident: str) -> list[str]:
    """Return the paths of the main pages, for a room and an incident at the first school."""
    return [
        *("/", "/?site=school-00", "/rooms/r0", "/rooms/r0?span=day"),
        *("/incidents", f"/incidents/{incident}", "/silences", "/duty"),
        *("/air", "/figures", "/reports", "/sensors"),
        *("/levels", "/commission", "/settings", "/tokens", "/wall"),
    ]


def lists(incident: str) -> list[str]:
    """Return the paths of the API's lists."""
    since = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    until = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    span = f"from={since}&to={until}"
    return [
        *("/api/v1/incidents", "/api/v1/incidents?limit=200", f"/api/v1/incidents/{incident}"),
        *("/api/v1/incidents?status=open", "/api/v1/rooms", "/api/v1/rooms/r0"),
        *("/api/v1/sensors", f"/api/v1/sensors/{_SENSOR}", "/api/v1/sensors?room=r0"),
        *("/api/v1/reports", f"/api/v1/readings?sensors={_SENSOR}&{span}&step=60"),
    ]


def ask(base: str, data: Path, pid: int, repeats: int, only: Sequence[str]) -> Iterator[Asked]:
    """Request every page as both people, except pages that their role cannot see."""
    with closing(connect(data / "state.db")) as db, transaction(db) as tx:
        now = time.time()
        own = frozenset({"school-00"})
        people = {
            "district": (sessions.start(tx, _ADMIN, now, 86_400.0), _token(tx, _ADMIN, None)),
            "school": (sessions.start(tx, _PERSON, now, 86_400.0), _token(tx, _PERSON, own)),
        }
        found = tx.execute("SELECT id FROM incident WHERE room = 'r0' ORDER BY opened_at DESC")
        incident = str(found.fetchone()[0])
    for who, (cookie, token) in people.items():
        browser = httpx.Client(base_url=base, cookies={name_cookie(secure=False): cookie})
        program = httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"})
        for client, paths in ((browser, pages(incident)), (program, lists(incident))):
            with client:
                for path in paths:
                    if not path.startswith(tuple(only)):
                        continue
                    times, size, used = [], 0.0, rig.cpu_s(pid)
                    for _ in range(repeats):
                        began = time.perf_counter()
                        answer = client.get(path, timeout=60.0)
                        times.append((time.perf_counter() - began) * 1e3)
                        size = len(answer.content) / 1e3
                    cpu_ms = (rig.cpu_s(pid) - used) / repeats * 1e3
                    if answer.status_code == 200:
                        yield Asked(re.sub(r"\?(q|from)=.*", "", path), who, times, cpu_ms, size)
                    elif answer.status_code not in (403, 404, 303):
                        print(f"{who} {path}: {answer.status_code} {answer.text[:300]}")


def _token(tx: Connection, person: str, sites: frozenset[str] | None) -> str:
    scopes = list(api_tokens.Scope)
    return api_tokens.make(
        tx, "Benchmark", person, scopes, by=person, days=1, now=time.time(), sites=sites
    )


def under_load(folder: Path, district: District, options: argparse.Namespace) -> list[Asked]:
    """Request the pages while readings arrive; print the service's resource use."""
    print("| page | as | median, ms | p95, ms | CPU, ms | kB |\n|---|---|---|---|---|---|")
    rate = district.sensors / _INTERVAL_S
    asked = []
    with tempfile.TemporaryDirectory() as scratch, rig.mosquitto(Path(scratch)) as (port, _):
        config = write_configuration(folder, district, port)
        log = config.parent / "service.log"
        log.unlink(missing_ok=True)
        web = config.read_text().partition("[web]\nport = ")[2].split()[0]
        with rig.connected(config, [rig.start_service(config, options.profile)], 180) as (pid,):
            rig.wait_for(lambda: rig.answers(int(web)), "the page", 60)
            with rig.publisher(
                port, rig.steady, rate, options.seconds, district.sensors
            ) as publisher:
                time.sleep(5.0)  # wait for the first readings of all sensors
                used, began = rig.cpu_s(pid), time.monotonic()
                idle_s = min(20.0, options.seconds / 3)
                time.sleep(idle_s)
                share = (rig.cpu_s(pid) - used) / (time.monotonic() - began)
                print(
                    f"service at {rate:,.0f} readings/s: {share:.0%} of a core,"
                    f" {rig.memory_mb(pid):.0f} MB",
                    flush=True,
                )
                for one in ask(
                    f"http://127.0.0.1:{web}",
                    folder / "data",
                    pid,
                    options.repeats,
                    options.only,
                ):
                    asked.append(one)
                    print(
                        f"| {one.path} | {one.who} | {statistics.median(one.times_ms):.0f} |"
                        f" {one.p95:.0f} | {one.cpu_ms:.0f} | {one.size_kb:.0f} |",
                        flush=True,
                    )
                print(
                    f"readings still arrive: {not publisher.ready()}; {rig.memory_mb(pid):.0f} MB",
                    flush=True,
                )
    return asked


def reports(folder: Path, district: District) -> None:
    """Measure reports over the school year, for all schools and for one; print the results."""
    print("| report | of | seconds | CPU seconds | peak MB |\n|---|---|---|---|---|")
    for name, kind in (("summary", "pdf"), ("incidents", "xlsx"), ("response", "csv")):
        for site in ("", "School 00"):
            last = district.first + timedelta(days=district.days - 1)
            took, cpu, peak, _ = rig.time_report(folder, name, kind, district.first, last, site)
            print(
                f"| {name} {kind} | {site or 'all schools'} | {took:.1f} | {cpu:.1f} |"
                f" {peak:.0f} |",
                flush=True,
            )


def main() -> int:
    """Create missing data and measure; return 1 if a page misses the goal."""
    options = rig.options(
        __doc__,
        quick=(False, "a small district, a few seconds"),
        schools=40,
        sensors=2_000,
        days=300,
        repeats=(20, "requests for each page"),
        seconds=(600.0, "how long readings arrive"),
        only=([""], "paths that begin with one of these"),
        parts=([*PARTS], "what to measure"),
        profile=("", "write a cProfile of the service here"),
    )
    if options.quick:
        options.schools, options.sensors, options.days = 8, 80, 20
        options.repeats, options.seconds = 2, 10.0
    district = District(options.schools, options.sensors, options.days)
    today = f"{datetime.now(UTC):%Y%m%d}"
    folder = rig.ROOT / ".bench" / f"district-{district.schools}-{district.sensors}-{today}"
    if not (folder / "made").exists():
        for old in (rig.ROOT / ".bench").glob(f"district-{district.schools}-{district.sensors}-*"):
            shutil.rmtree(old)
        make_data(folder, district)
        (folder / "made").touch()
    rig.print_machine()
    print(f"{district.schools} schools, {district.sensors} sensors")
    asked = under_load(folder, district, options) if "pages" in options.parts else []
    if "reports" in options.parts:
        reports(folder, district)
    slow = [one for one in asked if one.p95 > GOAL_MS]
    for one in slow:
        print(f"{one.path} as {one.who}: {one.p95:.0f} ms, more than {GOAL_MS:.0f}")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
