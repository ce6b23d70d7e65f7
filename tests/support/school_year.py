"""A fictional school: a configuration, and the data that a service would have stored.

Rows have the service's format, are written in bulk, and come from one seeded generator.
"""

from __future__ import annotations

import json
import random
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from alerts.notify.notice import Notice, NoticeReason
from plumewatch.service.data_folder import prepare_state
from storage.sqlite import connect, transaction
from storage.timeseries.records import Record
from storage.timeseries.sqlite import SqliteSeries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ZONE = ZoneInfo("America/New_York")
CAUSES = ("spray", "steam", "sanitizer", "dust", "other")
ACTIONS = ("none", "referral", "nurse", "facilities")
STAFF = (("ap", "staff"), ("dean", "staff"), ("fm", "facilities"), ("an", "analyst"))
KINDS = (("vape", 70), ("smoke", 4), ("tamper", 6), ("sensor_fault", 8), ("offline", 12))


def config_text(rooms: int, *, more: str = "", names: Callable[[int], str] | None = None) -> str:
    """Return a configuration with this many rooms in two buildings, with one sensor each."""
    lines = ['site = "Lincoln High"', 'timezone = "America/New_York"', more]
    for k in range(rooms):
        name = names(k) if names else f"Restroom {k}"
        building = ("North", "South")[k % 2]
        lines += ["[[room]]", f'id = "r{k}"', f"name = {json.dumps(name)}"]
        lines += [f'building = "{building}"', f'floor = "{k % 3 + 1}"']
        lines += ["[[sensor]]", f'id = "pw-{k}"', f'room = "r{k}"', 'model = "sen55"']
    for person, role in STAFF:
        lines += ["[[staff]]", f'id = "{person}"', f'name = "{person}"', f'role = "{role}"']
    return "\n".join(lines) + "\n"


def fill_state(
    path: Path,
    first: date,
    days: int,
    rooms: int,
    *,
    seed: int = 1,
    a_day: float = 1.5,
    sensor: str = "pw-{}",
) -> int:
    """Write incidents, notices, answers and feedback; return the number of incidents.

    `sensor` is the format of sensor ids, given a room number.
    """
    rng = random.Random(seed)
    with closing(connect(path)) as db:
        prepare_state(db)
        with transaction(db) as tx:
            made = list(_incidents(rng, first, days, rooms, a_day))
            for k, (at, kind, room) in enumerate(made):
                name = f"{datetime.fromtimestamp(at, ZONE):%Y%m%d}-{k:05d}"
                _write(tx, rng, name, at, kind, room, sensor.format(room))
    return len(made)


def _incidents(
    rng: random.Random, first: date, days: int, rooms: int, a_day: float
) -> Iterator[tuple[float, str, int]]:
    kinds, weights = zip(*KINDS, strict=True)
    for k in range(days):
        day = first + timedelta(days=k)
        busy = a_day * (1.0 if day.weekday() < 5 else 0.05)
        for room in range(rooms):
            favor = 2.5 if room % 7 == 0 else 0.75
            count = sum(rng.random() < busy * favor / 4 for _ in range(4))
            for _ in range(count):
                hour = rng.choice((8, 9, 10, 11, 11, 12, 12, 13, 14)) + rng.random()
                start = datetime(day.year, day.month, day.day, tzinfo=ZONE).timestamp()
                yield start + hour * 3600, rng.choices(kinds, weights)[0], room


def _write(tx, rng: random.Random, name: str, at: float, kind: str, room: int, sensor: str) -> None:
    notified = at + rng.uniform(0.2, 2.0)
    acked = notified + rng.lognormvariate(4.0, 1.2) if rng.random() < 0.85 else None
    closed = at + rng.uniform(120, 1200)
    verdict = rng.choices(
        (None, "confirmed", "false_alarm", "nothing_found", "test"), (40, 30, 15, 13, 2)
    )[0]
    cause = rng.choice(CAUSES) if verdict == "false_alarm" else ""
    who = rng.choice(("ap", "dean"))
    onset = at - rng.uniform(3, 20)
    missed = (
        closed
        if kind in {"vape", "smoke", "tamper"} and acked is None and verdict is None
        else None
    )
    own = random.Random(name)  # separate, so that the other rows stay the same
    arrived = acked + own.lognormvariate(4.0, 0.8) if acked and own.random() < 0.7 else None
    if verdict in {"confirmed", "false_alarm"} and kind in {"offline", "sensor_fault"}:
        verdict, cause = "fixed", own.choice(("battery", "unplugged"))
    action = own.choice(("", *ACTIONS)) if verdict == "confirmed" else ""
    number = f"26/{own.randrange(1000)}" if action == "referral" else ""
    tx.execute(
        "INSERT INTO incident (id, kind, room, sensor, status, onset, opened_at, confidence, paged,"
        " suppressed_by, notified_at, acknowledged_at, acknowledged_by, resolved_at, verdict,"
        " resolve_due, severity, resolved_by, arrived_at, action, case_number,"
        " missed_at)"
        " VALUES (?,?,?,?,'resolved',?,?,?,1,'',?,?,?,?,?,?,'warning','plumewatch',?,?,?,?)",
        (
            *(name, kind, f"r{room}", sensor, onset, at, rng.uniform(0.5, 1), notified, acked),
            *(who if acked else "", closed, verdict, closed, arrived, action, number),
            missed,
        ),
    )
    evidence = {"pm25": [4.0, rng.uniform(10, 200), 6.0, 40.0], "rh": [41.0, 0.5, 3.0, None]}
    tx.execute(
        'INSERT INTO alert_event (id, sensor, room, incident, kind, phase, onset, alerted, "end",'
        " peak_time, confidence, probabilities, evidence, details, model_version, masked,"
        " thc_likely, first_heard, last_heard, decided_confidence,"
        " decided_probabilities, decided_evidence, decided_details)"
        " VALUES (?,?,?,?,?,'ended',?,?,?,?,0.9,?,?,'[]','plume-3',0,0,?,?,"
        "0.9,?10,?11,'[]')",
        (
            *(f"e{name}", sensor, f"r{room}", name, kind, onset, at, closed - 60, at + 5),
            *(json.dumps({kind: 0.9}), json.dumps(evidence), at, closed - 60),
        ),
    )
    history = [(at, "plumewatch", "opened", "{}"), (notified, "plumewatch", "notified", "{}")]
    if acked:
        history.append((acked, who, "acknowledged", '{"channel": "page"}'))
    history.append((closed, "plumewatch", "resolved", "{}"))
    tx.executemany(
        "INSERT INTO incident_history VALUES (?,?,?,?,?,?)",
        [(name, k, *line) for k, line in enumerate(history, start=1)],
    )
    if verdict:
        tx.execute(
            "INSERT INTO incident_feedback VALUES (?,1,?,?,?,?,'')",
            (name, closed + 60, who, verdict, cause),
        )
    opened = Notice(name, NoticeReason.OPENED, kind, f"r{room}", "", "", at)
    notice = msgspec.json.encode(opened).decode()
    people = ("ap", "dean") if kind in ("vape", "smoke") else ("fm",)
    for person in people:
        sent = rng.random() < 0.97
        tx.execute(
            "INSERT INTO outbox (incident, person, target, channel, reason, priority, notice,"
            " created_at, due_at, expires_at, status, finished_at) VALUES"
            " (?,?,'ntfy-1','ntfy','opened','normal',?,?,?,?,?,?)",
            (name, person, notice, at, at, at + 3600, "sent" if sent else "failed", notified),
        )
    steps = ((1, "tell", notified), (2, "tell", notified + 180), (3, "end", notified + 360))
    for seq, action, due in steps:
        stopped = acked is not None and acked < due
        tx.execute(
            'INSERT INTO escalation_step VALUES (?,?,1,?,?,\'{"name": "", "people": []}\',?)',
            (name, seq, action, due, min(acked, closed) if stopped else due),
        )


def fill_health(path: Path, first: date, days: int, rooms: int, *, every_s: float = 300.0) -> None:
    """Write each sensor's health; one in ten is offline for an hour a day."""
    start = datetime(first.year, first.month, first.day, tzinfo=ZONE).timestamp()
    with SqliteSeries(path) as series:
        for room in range(rooms):
            series.record(
                [
                    Record(
                        "sensor_health",
                        start + (k + 1) * every_s - 0.5,
                        {
                            "period_s": every_s,
                            "online_s": 0.0 if room % 10 == 9 and k % 288 < 12 else every_s,
                            "received": every_s / 5 - (k % 50 == 0),
                            "missing": float(k % 50 == 0),
                            "expected": every_s / 5,
                        },
                        sensor=f"pw-{room}",
                    )
                    for k in range(round(days * 86_400 / every_s))
                ]
            )


def moment(day: date) -> float:
    """Return when a day begins at the school, Unix seconds."""
    return datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC).timestamp()
