"""Measure what the dashboards' queries cost an InfluxDB 1.x server.

Usage: python benchmarks/dashboard_cost.py [--rooms 100] [--days 90]

Fills a real InfluxDB as the service does, then runs every query of every dashboard over the whole
period, one at a time. Prints each response time and the server's CPU time. Exits 1 if a dashboard
costs more than 4 s of CPU time (2 s on two idle cores).
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import load_rig as rig
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dashboards.boards import DashboardSettings
from dashboards.build import build_all
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.influx_setup import set_up
from storage.timeseries.records import MEASUREMENTS
from storage.timeseries.resolution import QUARTER_HOUR, Retention
from tests.support import grafana
from tests.support.influx import Influxd, influxql

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 5_000
ENOUGH_S = 4.0
DATABASE = "school"
KINDS = ("vape", "vape", "vape", "smoke", "spray", "tamper")


class Cost(NamedTuple):
    """A query, its response time, and the server's CPU time, seconds."""

    dashboard: str
    panel: str
    answer_s: float
    cpu_s: float


def format_tags(room: int) -> str:
    """Return the tags of a sensor."""
    building = "North" if room % 2 else "South"
    place = f"building={building},floor={room % 3},model=sen55,room=room-{room:03}"
    return f"{place},sensor=sensor-{room:03},site=School"


def draw_fields(names: set[str], chance: random.Random) -> str:
    """Return random numbers for the fields."""
    return ",".join(f"{name}={chance.randint(1, 60)}" for name in sorted(names))


def format_numbers(measurement: str, **known: str) -> str:
    """Return all numeric fields of a record; fields without a known value are 1."""
    found = dict.fromkeys(MEASUREMENTS[measurement].numbers, "1")
    return ",".join(f"{name}={value}" for name, value in (found | known).items())


def generate_lines(rooms: int, start: float, end: float) -> Iterator[tuple[str, str]]:
    """Yield the policy and line of every record to store."""
    chance = random.Random(1)
    averaged = {f"{key}{end}" for key in ("pm25", "co2", "rh") for end in ("", "_min", "_max")}
    averaged |= {"voc_index", "temp", "n"}
    for room in range(rooms):
        ours = format_tags(room)
        values = [draw_fields(averaged, chance) for _ in range(50)]
        for k in range(int((end - start) // 900)):
            at = int(start // 900 + k) * 900
            yield "m15", f"{QUARTER_HOUR.measurement},{ours} {values[k % 50]} {at}000000000"
        name = f'room_name="Room {room}",room_choice="Room {room} | room-{room:03}"'
        health = format_numbers("sensor_health", urgency="0", changed="0", tamper="0", faults="0")
        words = f'{name},state="alive",condition="ok"'
        for k in range(int((end - start) // 300)):
            yield "m1", f"sensor_health,{ours} {health},{words} {int(start + 300 * k)}000000000"
        sums = format_numbers("sensor_hour", urgency="0")
        for k in range(int((end - start) // 3_600)):
            yield "m15", f"sensor_hour,{ours} {sums} {int(start) + 3_600 * k}000000000"
        raw = [draw_fields({"pm25", "co2", "rh", "temp", "voc_index"}, chance) for _ in range(50)]
        for k in range(8_640):
            yield "", f"reading,{ours} {raw[k % 50]} {int(end - 10 * k)}000000000"
    for k in range(int((end - start) // 86_400) * rooms // 10):
        at, kind = chance.uniform(start, end), KINDS[k % len(KINDS)]
        words = f'id="e{k}",phase="ended",sentence="why",detail=""'
        ours, event = format_tags(chance.randrange(rooms)), format_numbers("event")
        yield "m15", f"event,{ours},kind={kind} {event},{words} {at * 1e9:.0f}"
        place = ours.replace("model=sen55,", "").split(",sensor=")[0] + ",site=School"
        counted = format_numbers("incident", test="0", open="0", suppressed="0")
        words = f'id="i{k}",status="resolved",verdict="confirmed",cause=""'
        yield "m15", f"incident,kind={kind},{place} {counted},{words} {at * 1e9:.0f}"


def fill(http: InfluxHttp, rooms: int, start: float, end: float) -> int:
    """Write all data; return the number of rows."""
    waiting: dict[str, list[str]] = {"": [], "m1": [], "m15": []}
    count = 0
    for policy, line in generate_lines(rooms, start, end):
        waiting[policy].append(line)
        count += 1
        if len(waiting[policy]) == BATCH:
            http.write("\n".join(waiting[policy]).encode(), policy)
            waiting[policy].clear()
    for policy, rest in waiting.items():
        http.write("\n".join(rest).encode(), policy)
    return count


def measure_costs(url: str, server: psutil.Process, start: float, end: float) -> Iterator[Cost]:
    """Run every query; return the costs."""
    for name, dashboard in build_all(DashboardSettings()).items():
        chosen = dict(grafana.EVERYWHERE)
        if name == "room":
            chosen["room"] = "room-001"
        folded = {panel["id"] for row in dashboard["panels"] for panel in row.get("panels", ())}
        for panel, target in grafana.questions(dashboard):
            query = grafana.interpolated(
                target["query"],
                start,
                end,
                chosen,
                panel.get("interval", ""),
                panel.get("maxDataPoints", 800),
            )
            before, began = sum(server.cpu_times()[:2]), time.monotonic()
            influxql(url, query, DATABASE, epoch="ms")
            took = time.monotonic() - began
            of = f"{name}, folded" if panel["id"] in folded else name
            yield Cost(of, panel["title"], took, sum(server.cpu_times()[:2]) - before)


def main() -> int:
    """Fill the database, run the queries and print; return 1 if a dashboard costs too much."""
    asked = rig.options(__doc__, rooms=100, days=90)
    end = time.time()
    start = end - asked.days * 86_400.0
    with tempfile.TemporaryDirectory() as folder, Influxd(Path(folder)) as server:
        http = InfluxHttp(InfluxSettings(server.url, DATABASE))
        list(set_up(http, Retention()))
        began = time.monotonic()
        rows = fill(http, asked.rooms, start, end)
        print(f"{rows:,} rows of {asked.rooms} rooms, {asked.days} days", end="")
        print(f" written in {time.monotonic() - began:.0f} s")
        server.end(15)
        server.start()
        (process,) = (p for p in psutil.Process().children() if p.name() == "influxd")
        while (used := sum(process.cpu_times()[:2])) and time.sleep(5.0) is None:
            if sum(process.cpu_times()[:2]) - used < 0.5:  # wait until the data is compacted
                break
        found = list(measure_costs(server.url, process, start, end))
    print(f"{'dashboard':13} {'queries':>9} {'response':>9} {'CPU':>9}")
    worst = 0.0
    for name in dict.fromkeys(cost.dashboard for cost in found):
        mine = [cost for cost in found if cost.dashboard == name]
        cpu_s = sum(cost.cpu_s for cost in mine)
        worst = max(worst, cpu_s)
        answers = sum(cost.answer_s for cost in mine)
        print(f"{name:13} {len(mine):>9} {answers:>7.2f} s {cpu_s:>7.2f} s")
    print("slowest:")
    for cost in sorted(found, key=lambda cost: cost.cpu_s, reverse=True)[:5]:
        print(f"  {cost.dashboard}: {cost.panel}: {cost.answer_s:.2f} s, CPU {cost.cpu_s:.2f} s")
    return int(worst > ENOUGH_S)


if __name__ == "__main__":
    sys.exit(main())
