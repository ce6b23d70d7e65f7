"""The pump is killed with -9 again and again: every notice arrives, at most one more a kill."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from alerts.engine import AlertEngine
from alerts.incidents import schema
from alerts.notify import outbox
from alerts.policy import AlertPolicy, EscalationTimings, StaffMember
from alerts.secrets import Secret
from detection.events import Event, EventKind, EventPhase
from storage import sqlite
from storage.registry import Registry, Room, Sensor
from tests.support import alert_records as stored

TIMINGS = EscalationTimings(notices_per_hour=1000, storm_rooms=999)  # every one by itself
ROOT = Path(__file__).parents[2]
COUNT = 120
KILLS = 5
CHILD = """
import asyncio, sys
from pathlib import Path
from alerts.engine import AlertEngine
from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
from alerts.notify.pump import OutboxPump, PumpSettings
from alerts.policy import AlertPolicy, StaffMember
from alerts.secrets import Secret
from storage.registry import Registry

async def main():
    staff = (StaffMember("a", "A", targets=(Secret(sys.argv[2]),)),)
    engine = AlertEngine(Registry(), AlertPolicy(staff=staff))
    pump = OutboxPump(
        Path(sys.argv[1]),
        engine,
        AppriseNotifier(NotifySettings(allow_private=True)),
        asyncio.Event(),
        settings=PumpSettings(per_channel=1, first_retry_s=0.1),
    )
    print("ready", flush=True)
    await pump.run()

asyncio.run(main())
"""


def test_killed_pump_loses_nothing_and_repeats_little(tmp_path):
    rng = random.Random(random.randrange(10**6))  # repeats under the seed pytest prints
    arrived = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            arrived[json.loads(body)["incident"]] += 1
            time.sleep(0.01)
            try:
                self.send_response(200)
                self.end_headers()
            except OSError:
                self.close_connection = True

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"json://127.0.0.1:{server.server_address[1]}/"
    database = tmp_path / "state.db"
    db = sqlite.connect(database)
    sqlite.migrate(db, schema.COMPONENT, schema.SCRIPTS)
    registry = Registry.of(
        (Room(f"r{n}", f"R{n}", "1", "Main", "School") for n in range(COUNT)),
        (Sensor(f"s{n}", f"r{n}") for n in range(COUNT)),
    )
    policy = AlertPolicy(staff=(StaffMember("a", "A", targets=(Secret(url),)),), timings=TIMINGS)
    now = time.time()
    with sqlite.transaction(db) as tx:
        AlertEngine(registry, policy).on_events(
            tx,
            [
                Event(
                    sensor=f"s{n}",
                    kind=EventKind.VAPE,
                    phase=EventPhase.ALERTED,
                    onset=now - 6,
                    alerted=now,
                    peak_time=now,
                    end=None,
                    confidence=0.9,
                    probabilities={"vape": 0.9},
                    evidence={},
                    model_version="m",
                )
                for n in range(COUNT)
            ],
            now,
        )

    def waiting():
        return outbox.backlog(db)[0]

    kills = 0
    deadline = time.monotonic() + 90
    while waiting() and time.monotonic() < deadline:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(database), url],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert child.stdout.readline() == b"ready\n"
        if kills < KILLS:
            time.sleep(rng.uniform(0.05, 0.4))
        while kills >= KILLS and waiting() and time.monotonic() < deadline:
            time.sleep(0.02)
        child.kill()
        child.wait(60)
        child.stdout.close()
        kills += 1
    server.shutdown()
    server.server_close()
    assert len(arrived) == COUNT
    assert set(stored.notices(db, "status")) == {"sent"}
    assert stored.incidents(db, "status") == ["notified"] * COUNT
    db.close()
    assert arrived.total() <= COUNT + kills
