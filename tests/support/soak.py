"""``make soak``: inject random faults for minutes or hours, and compare results with the ledger.

Each round is one vaping episode in a new room. Its readings are published in two parts, with a
fault between or during them. Then the fault is removed, and every reading acknowledged to the
publisher must be stored once. At the end, every room must have exactly one incident, notified at
least once and at most once more per kill. The same seed gives the same order of faults; the exact
times of kills depend on the machine.

With ``--store InfluxDB``, the series is in a real InfluxDB, which is also killed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.support.broker import Mosquitto
from tests.support.disk_shim import DiskShim
from tests.support.fork_server import Launcher
from tests.support.influx import Influxd
from tests.support.launcher import INFLUX_POINTS, POINTS, ForkedService
from tests.support.oracle import assert_all_stored, assert_notified
from tests.support.plumes import readings_of_puff
from tests.support.proxy import Fault, Proxy
from tests.support.service import Publisher, Receiver
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from storage.reading import Reading

__all__ = ["Soak", "main"]

BROKER = "max_inflight_messages 100\nmax_queued_messages 1000000\nautosave_interval 1"
ROOM = """
[[room]]
id = "R{0}"
name = "Room {0}"
building = "Building {0}"

[[sensor]]
id = "s{0}"
room = "R{0}"
"""
_NETWORK = {
    "network: slow": Fault(latency_s=0.05, jitter_s=0.1),
    "network: narrow": Fault(bytes_per_s=20_000),
    "network: sliced": Fault(slice_bytes=11),
    "network: swallows all": Fault(blackhole=True),
    "network: cut after 700 bytes": Fault(cut_after=700),
}
_DISK = {"disk: full": "is full", "disk: EIO": "fails to write", "disk: no sync": "fails to sync"}
_RESTARTS_WITHIN_S = 120.0
_KILLS_MORE_OFTEN = 3


class Soak:
    """A broker, a proxy, a disk shim, a service, a publisher, a receiver, and their faults.

    Parameters
    ----------
    folder : Path
    seed : int
    rooms : int
        Maximum number of rounds.
    store : str
        ``"SQLite"`` or ``"InfluxDB"``.
    """

    def __init__(self, folder: Path, seed: int, rooms: int, store: str = "SQLite") -> None:
        self.store = store
        self.rooms = rooms
        self.done = 0
        self.rounds: Counter[str] = Counter()
        self.slowest_s: Counter[str] = Counter()
        self.memory: list[tuple[int, int]] = []
        self._folder = folder
        self._rng = random.Random(seed)
        self._stack = ExitStack()
        self._bad = 0
        self.faults: dict[str, Callable[[], None]] = {
            "kill -9": self._kill,
            "kill -9 twice": self._kill_twice,
            "crash point": self._crash,
            "SIGTERM": self._stop,
            "broker: SIGTERM": self._broker_restart,
            "broker: kill -9, nothing queued": self._broker_kill,
            "network: reset": lambda: self.proxy.reset(),  # noqa: PLW0108 - made on entry
            "bad messages": self._bad_messages,
            "none": lambda: None,
            **{name: self._network(fault) for name, fault in _NETWORK.items()},
            **{name: self._disk(what) for name, what in _DISK.items()},
        }

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        self.broker = enter(Mosquitto(BROKER))
        self.proxy = enter(Proxy(self.broker.port))
        home = self._folder / "service"
        home.mkdir()
        self.shim = DiskShim(self._folder, home / "data", self.proxy.port)
        launcher = enter(Launcher(self.shim.environment))
        self.receiver = enter(Receiver())
        influx_url = ""
        if self.store == "InfluxDB":
            (self._folder / "influx").mkdir()
            self.influx = enter(Influxd(self._folder / "influx"))
            influx_url = self.influx.url
            self.faults["InfluxDB: kill -9"] = self._influx_kill
        self.service = ForkedService(
            home,
            self.proxy.port,
            push_url=self.receiver.url,
            launcher=launcher,
            influx_url=influx_url,
        )
        patient = "[alerts]\nnotices_per_hour = 1000\n"  # at most one per round
        text = self.service.config.read_text().replace("[alerts]\n", patient)
        self.service.config.write_text(text)
        with self.service.config.open("a") as config:
            config.writelines(ROOM.format(k) for k in range(self.rooms))
        enter(self.service)
        self.publisher = enter(Publisher(self.broker.port))
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def round(self) -> str:
        """Run one episode with one fault; return its name."""
        names = list(self.faults)
        weights = [_KILLS_MORE_OFTEN if "-9" in name else 1 for name in names]
        (name,) = self._rng.choices(names, weights)
        began = time.monotonic()
        sent = readings_of_puff(f"s{self.done}", start=time.time() - 190.0, seconds=190.0)
        cut = self._rng.randrange(1, len(sent))
        self.publisher.send_readings(sent[:cut])
        time.sleep(self._rng.uniform(0.0, 0.1))
        self._publish_during(sent[cut:], self.faults[name])
        self._heal()
        self.done += 1
        self._await_stored()
        self.rounds[name] += 1
        self.slowest_s[name] = max(time.monotonic() - began, self.slowest_s[name])
        process = psutil.Process(self.service.pid)
        self.memory.append((process.memory_info().rss, process.num_fds()))
        return name

    def judge(self) -> None:
        """Compare all results with the ledger; raise AssertionError if they differ."""
        assert_all_stored(self.service, self.publisher)
        rooms = [f"R{k}" for k in range(self.done)]
        assert_notified(
            self.service,
            self.receiver,
            rooms=rooms,
            kills=self.service.kills,
            besides=["service"],  # four within 30 s are reported, if there are enough rounds
        )
        letters = self.service.dead_letters()
        assert letters == ({"malformed": self._bad} if self._bad else {}), letters
        assert "Traceback" not in self.service.log, self.service.log[-5000:]

    def _influx_kill(self) -> None:
        self.influx.end()
        time.sleep(self._rng.uniform(0.0, 2.0))
        self.influx.start()

    def _publish_during(self, rest: list[Reading], fault: Callable[[], None]) -> None:
        """Publish the rest in two halves, before and after the fault."""
        half = len(rest) // 2
        self.publisher.send_readings(rest[:half])
        fault()
        self.publisher.send_readings(rest[half:])

    def _heal(self) -> None:
        self.proxy.fault = Fault()
        self.shim.disk("works")
        if not self.service.running:
            self.service.start()

    def _await_stored(self) -> None:
        self.publisher.settle(_RESTARTS_WITHIN_S)
        eventually(
            lambda: len(self.service.journal()) >= len(self.publisher.acknowledged) - self._bad,
            lambda: f"round {self.done} lost readings\n{self.service.log[-3000:]}",
            _RESTARTS_WITHIN_S,
        )

    def _kill(self) -> None:
        self.service.end(signal.SIGKILL)
        self.service.start(connected=self._rng.random() < 0.5)

    def _kill_twice(self) -> None:
        self._kill()
        time.sleep(self._rng.uniform(0.0, 0.5))  # the service may die while starting
        self._kill()

    def _crash(self) -> None:
        points = POINTS if self.store == "SQLite" else {**POINTS, **INFLUX_POINTS}
        point = self._rng.choice(list(points))
        self.service.end(signal.SIGTERM)
        self.service.start(crash=point, at_pass=self._rng.randint(1, 3))
        deadline = time.monotonic() + self._rng.uniform(1.0, 3.0)
        while self.service.running and time.monotonic() < deadline:
            time.sleep(0.02)
        self.service.end(signal.SIGKILL)

    def _stop(self) -> None:
        assert self.service.end(signal.SIGTERM) == 0
        self.service.start()

    def _broker_restart(self) -> None:
        self.broker.restart()

    def _broker_kill(self) -> None:
        """Kill the broker after it has delivered acknowledged messages, because its memory is
        lost."""
        self._await_stored()
        time.sleep(1.5)  # its autosave contains the session
        self.broker.kill9()
        self.broker.start()

    def _bad_messages(self) -> None:
        count = self._rng.randint(1, 200)
        for k in range(count):
            topic = f"plumewatch/v1/s{k}/reading"  # one each, because many of one are a flood
            self.publisher.send(topic, b"no json", key=("bad", self._bad + k))
        self._bad += count

    def _network(self, fault: Fault) -> Callable[[], None]:
        def begin() -> None:
            self.proxy.fault = fault
            time.sleep(self._rng.uniform(0.2, 3.0))
            if fault.blackhole:
                self.proxy.reset()  # swallowed bytes are not delivered later

        return begin

    def _disk(self, what: str) -> Callable[[], None]:
        def begin() -> None:
            self.shim.disk(what)
            time.sleep(self._rng.uniform(0.2, 3.0))

        return begin


def _report(soak: Soak, seed: int, took_s: float) -> str:
    """Return the results as text; checks for lost or duplicate readings have already passed."""
    rss, fds = soak.memory[-1]
    pushes = [push for push in soak.receiver.pushes if push["reason"] == "opened"]
    opened = Counter(push["kind"] for push in pushes)
    return "\n".join(
        (
            *(
                f"{n:5} {name}, at most {soak.slowest_s[name]:.1f} s"
                for name, n in soak.rounds.items()
            ),
            (
                f"Series in {soak.store}, seed {seed}: {soak.done} rounds in {took_s / 60:.1f} min,"
                f" {soak.service.kills} kills of the service, load {os.getloadavg()[1]:.0f}."
            ),
            (
                f"{len(soak.publisher.acknowledged):,} messages acknowledged, each stored once;"
                f" {soak.done} episodes, as many incidents,"
                f" {opened['vape'] - soak.done} notices more than once."
            ),
            f"Service at the end: {rss / 1e6:.0f} MB, {fds} open files.",
        )
    )


def main() -> int:
    """Run for a time and print the table; return 1 if the ledger does not match."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--store", choices=("SQLite", "InfluxDB"), default="SQLite")
    chosen = parser.parse_args()
    sys.stdout.write(f"seed {chosen.seed}\n")
    began = time.monotonic()
    rooms = int(20 + chosen.minutes * 60)
    with (
        tempfile.TemporaryDirectory() as folder,
        Soak(Path(folder), chosen.seed, rooms, chosen.store) as soak,
    ):
        try:
            while time.monotonic() - began < chosen.minutes * 60 and soak.done < rooms:
                name = soak.round()
                if soak.done % 10 == 0 or os.isatty(1):
                    sys.stdout.write(f"round {soak.done}: {name}\n")
                    sys.stdout.flush()
            soak.judge()
        except AssertionError as error:
            sys.stdout.write(f"{soak.service.log[-4000:]}\n")
            sys.stdout.write(f"FAILED in round {soak.done}, seed {chosen.seed}: {error}\n")
            return 1
        sys.stdout.write(f"{_report(soak, chosen.seed, time.monotonic() - began)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
