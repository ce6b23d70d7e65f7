"""``plumewatch demo``: a simulated school on this machine, through the production path.

Starts, all on loopback: an embedded broker, the simulator (as its own process, publishing what real
devices publish), the service with the staff page, and a small receiver that stands for a phone's
push service. Only the clock differs from production: school life runs `SPEED` times faster, and the
service is given the same fast clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections import Counter, deque
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from detection.events import EventPhase, evidence_sentence
from plumewatch.config.load import parse
from plumewatch.service.app import Service
from plumewatch.service.detection_loop import Observer
from plumewatch.service.supervisor import ServiceError
from sensor_sim.wire import wire_identity
from storage.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alerts.incidents.engine import AlertRecord
    from alerts.notify.pump import DeliveryOutcome
    from detection.events import Event
    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig

SPEED: Final = 20.0
_SEED: Final = 11
_START: Final = datetime(2026, 9, 14, 9, 30, tzinfo=UTC)
"""A Monday morning of term."""
_DAYS: Final = 2.0

_ROOMS: Final = (
    ("n1-girls", "Girls' restroom", "North", "1st floor", "sen55", "native", 2),
    ("n1-boys", "Boys' restroom", "North", "1st floor", "sps30+sgp40", "tasmota", 5),
    ("n2-girls", "Girls' restroom", "North", "2nd floor", "pms5003+bme680", "tasmota", 5),
    ("n2-boys", "Boys' restroom", "North", "2nd floor", "sen55", "native", 2),
    ("gym-locker", "Locker room", "Gym", "1st floor", "opcn3+sgp30", "native", 5),
    ("gym-staff", "Staff restroom", "Gym", "1st floor", "airgradient", "airgradient", 10),
)

_STAFF: Final = {
    "assistant-principal": ("Assistant principal", "staff"),
    "monitor-north": ("Hall monitor, North", "staff"),
    "monitor-gym": ("Hall monitor, Gym", "staff"),
    "custodian": ("Custodian", "facilities"),
    "analyst": ("Analyst", "analyst"),
}
_WHO_HEARS: Final[dict[str, Any]] = {
    "routing": {
        "receiver": "hall",
        "routes": [
            {
                "matchers": ['kind=~"tamper|sensor_fault|offline|integrity|ambient"'],
                "receiver": "facilities",
            }
        ],
    },
    "receiver": [
        {
            "id": "hall",
            "leads": {"North": ["assistant-principal"], "Gym": ["assistant-principal"]},
            "catch_all": ["assistant-principal"],
        }
    ],
    "zone": [
        {"id": "north-1", "building": "North", "floor": "1st floor", "next": ["north-2", "gym"]},
        {"id": "north-2", "building": "North", "floor": "2nd floor"},
        {"id": "gym", "building": "Gym"},
    ],
    "shift": [
        {
            "id": f"hall-{zones[0]}",
            "receiver": "hall",
            "people": [person],
            "zones": zones,
            "start": "07:30",
            "end": "16:00",
        }
        for person, zones in (("monitor-north", ["north-1", "north-2"]), ("monitor-gym", ["gym"]))
    ],
}
"""Monitors by building during the day; the assistant principal when none of them answers."""


def run_demo(printer: Printer, *, port: int, seconds: float, plain: bool) -> int:
    """Run the demo until Ctrl-C, or for `seconds` if above 0.

    Returns
    -------
    int
        0 ended on request, 3 a port is in use or the broker cannot be started.
    """
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    plain = plain or printer.as_json
    try:
        with tempfile.TemporaryDirectory(prefix="plumewatch-demo-") as folder:
            demo = _Demo(Path(folder), port, printer, plain=plain)
            return asyncio.run(demo.run(seconds))
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 3


class _Demo:
    """All parts of the demo and what they have shown so far."""

    def __init__(self, folder: Path, port: int, printer: Printer, *, plain: bool) -> None:
        self._folder = folder
        self._port = port
        self._printer = printer
        self._console = Console(file=printer.out)
        self._live = self._console.is_terminal and not plain
        self._began: float | None = None
        self._kinds: Counter[str] = Counter()
        self._registry = Registry()
        self._log: deque[Text] = deque(maxlen=10)
        self._pushes = 0
        self._delivered = 0
        self._last_push = ""
        self._rate: deque[tuple[float, int]] = deque(maxlen=20)

    def _clock(self) -> float:
        """Unix seconds of the simulated school; it starts with the simulator's first message."""
        if self._began is None:
            return _START.timestamp()
        return _START.timestamp() + (time.monotonic() - self._began) * SPEED

    def _stamp(self) -> float:
        """Receive time of a message, which starts the clock."""
        if self._began is None:
            self._began = time.monotonic()
        return self._clock()

    async def run(self, seconds: float) -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        receiver = await asyncio.start_server(self._receive, "127.0.0.1", 0)
        push_port = receiver.sockets[0].getsockname()[1]
        broker_port = _free_port()
        config = self._config(broker_port, push_port)
        self._registry = config.registry()
        async with _broker(broker_port), receiver:
            service = Service(
                config,
                clock=self._clock,
                receive_clock=self._stamp,
                one_click=True,
                observer=Observer(self._on_events, self._on_alerts, self._on_delivery),
            )
            simulator = await self._simulator(broker_port)
            if seconds > 0:
                loop.call_later(seconds, stop.set)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._show(service, stop), name="screen")
                    group.create_task(self._watch_simulator(simulator, stop), name="simulator")
                    group.create_task(service.run(stop), name="service")
            except* ServiceError as errors:
                raise errors.exceptions[0] from None
            finally:
                if simulator.returncode is None:
                    simulator.terminate()
                    await simulator.wait()
        self._line(
            f"demo ended: {service.detection.counts.readings} readings,"
            f" {service.detection.counts.events} events, {service.detection.counts.alerts} alerts,"
            f" {self._pushes} pushes received",
            ended=True,
            **self._counts(service),
        )
        return 0

    def _config(self, broker_port: int, push_port: int) -> PlumewatchConfig:
        for person in _STAFF:
            os.environ[_push_variable(person)] = f"ntfy://127.0.0.1:{push_port}/{person}"
        tree: dict[str, Any] = {
            "site": "Simulated High School",
            "timezone": "UTC",
            "data_dir": "data",
            "broker": {
                "port": broker_port,
                "client_id": "plumewatch-demo",
                "canary": False,  # the embedded broker never answers who asks for its $SYS topics
            },
            "web": {"port": self._port},
            "ingest": {"decoders": ["native", "tasmota", "airgradient"]},
            "alerts": {"allow_private_targets": True},
            "room": [
                {"id": room, "name": name, "building": building, "floor": floor}
                for room, name, building, floor, *_ in _ROOMS
            ],
            "sensor": [
                {
                    "id": wire_identity(wire, room),
                    "room": room,
                    "model": model,
                    "interval_s": interval,
                }
                for room, _, _, _, model, wire, interval in _ROOMS
            ],
            "staff": [
                {
                    "id": person,
                    "name": name,
                    "role": role,
                    "notify": [{"url_env": _push_variable(person)}],
                }
                for person, (name, role) in _STAFF.items()
            ],
            **_WHO_HEARS,
        }
        return parse(tree, base=self._folder)

    def _scenario(self) -> Path:
        buildings: dict[str, dict[str, list[str]]] = {}
        for room, _, building, floor, model, wire, interval in _ROOMS:
            device = (
                f'{{ id = "{room}", model = "{model}", wire = "{wire}", interval_s = {interval} }}'
            )
            entry = f'[[buildings.floors.rooms]]\nid = "{room}"\ndevices = [{device}]\n'
            buildings.setdefault(building, {}).setdefault(floor[0], []).append(entry)
        lines = ['name = "Simulated High School"']
        for building, floors in buildings.items():
            lines.append(f'[[buildings]]\nid = "{building}"')
            for floor, rooms in floors.items():
                lines += [f'[[buildings.floors]]\nid = "{floor}"', *rooms]
        path = self._folder / "school.toml"
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    async def _simulator(self, broker_port: int) -> asyncio.subprocess.Process:
        arguments = (
            *("simulate", "--school", str(self._scenario()), "--seed", str(_SEED)),
            *("--days", str(_DAYS), "--speed", str(SPEED), "--start", _START.isoformat()),
            *("--activity", "demo", "--publish", f"127.0.0.1:{broker_port}", "--patience", "30"),
        )
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "plumewatch",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def _watch_simulator(
        self, simulator: asyncio.subprocess.Process, stop: asyncio.Event
    ) -> None:
        """End the demo with the simulator's last words if it fails."""
        ended = asyncio.ensure_future(simulator.communicate())
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            with contextlib.suppress(ProcessLookupError):
                simulator.terminate()
        _, errors = await ended
        stopped.cancel()
        if not stop.is_set():
            stop.set()
            if simulator.returncode:
                last = errors.decode(errors="replace").strip().splitlines()[-1:] or ["no word"]
                raise ServiceError(f"the simulator ended: {last[0]}")

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Stand for a push service: take one POST, show it, say 200."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError, TimeoutError):
            async with asyncio.timeout(10):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = next(
                    int(line.split(":")[1])
                    for line in head.split("\r\n")
                    if line.lower().startswith("content-length:")
                )
                body = json.loads(await reader.readexactly(min(length, 65_536)))
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
                )
                await writer.drain()
                self._pushes += 1
                self._last_push = f"{body.get('title', '')}\n{body.get('message', '')}".strip()
                told = f"{body.get('title', '')} (to {body.get('topic', '')})"
                self._note("push received", told, "magenta")
        writer.close()

    def _on_events(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.phase is EventPhase.ALERTED:
                self._kinds[event.kind.value] += 1
                self._note(f"event {event.kind.value}", evidence_sentence(event), "cyan")
            elif event.phase is EventPhase.WITHDRAWN:
                self._kinds[f"{event.kind.value} withdrawn"] += 1

    def _on_alerts(self, alerts: Sequence[AlertRecord]) -> None:
        for alert in alerts:
            room = self._registry.room_of(alert.sensor)
            where = f"{room.building}, {room.floor}, {room.name}" if room else alert.sensor
            self._note("ALERT", f"{alert.kind.value}: {where} ({alert.incident})", "bold red")

    def _on_delivery(self, outcome: DeliveryOutcome) -> None:
        self._delivered += outcome.error is None

    def _note(self, what: str, text: str, style: str) -> None:
        stamp = datetime.fromtimestamp(self._clock(), UTC).strftime("%H:%M:%S")
        line = Text.assemble((f"{stamp} ", "dim"), (f"{what}  ", style), text)
        self._log.append(line)
        if not self._live:
            self._line(line, time=self._clock(), what=what, text=text)

    def _line(self, shown: Text | str, **fields: object) -> None:
        if self._printer.as_json:
            self._printer.object(fields)
        else:
            self._console.print(shown)

    def _counts(self, service: Service) -> dict[str, object]:
        counters = service.detection.counts
        return {
            "readings": counters.readings,
            "events": counters.events,
            "alerts": counters.alerts,
            "pushes": self._pushes,
        }

    async def _show(self, service: Service, stop: asyncio.Event) -> None:
        """Redraw twice a second, or print a line every five seconds."""
        ready, stopped = (asyncio.ensure_future(e.wait()) for e in (service.ready, stop))
        await asyncio.wait((ready, stopped), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        stopped.cancel()
        screen = Live(console=self._console, auto_refresh=False) if self._live else None
        with screen or contextlib.nullcontext():
            turn = 0
            while not stop.is_set():
                self._rate.append((time.monotonic(), service.detection.counts.readings))
                if screen is not None:
                    screen.update(self._screen(service), refresh=True)
                elif turn % 10 == 0:
                    page = f"http://127.0.0.1:{self._port}"
                    self._line(self._summary(service), page=page, **self._counts(service))
                turn += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await stop.wait()

    def _readings_per_s(self) -> float:
        (t0, n0), (t1, n1) = self._rate[0], self._rate[-1]
        return (n1 - n0) / (t1 - t0) if t1 > t0 else 0.0

    def _summary(self, service: Service) -> str:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self._kinds.items())) or "none yet"
        return (
            f"{self._readings_per_s():.0f} readings/s, {len(service.registry.rooms)} rooms,"
            f" events: {kinds}; alerts: {service.detection.counts.alerts}; pushes: {self._pushes};"
            f" staff page http://127.0.0.1:{self._port}"
        )

    def _screen(self, service: Service) -> Group:
        school_time = datetime.fromtimestamp(self._clock(), UTC).strftime("%A %H:%M:%S")
        latest = service.series.latest()
        rooms = Table(title=f"Rooms at {school_time} ({SPEED:.0f} times life)", expand=True)
        for column in ("room", "sensor", "PM2.5 µg/m³", "VOC", "RH %"):
            rooms.add_column(column)
        for sensor in service.registry.sensors.values():
            room = service.registry.rooms[sensor.room]
            values = latest[sensor.id].values if sensor.id in latest else {}
            voc = next((f"{values[k]:.0f} ({k})" for k in _VOC_KEYS if k in values), "-")
            rooms.add_row(
                f"{room.building}, {room.floor}, {room.name}",
                sensor.model,
                f"{values['pm25']:.1f}" if "pm25" in values else "-",
                voc,
                f"{values['rh']:.0f}" if "rh" in values else "-",
            )
        page = f"staff page: http://127.0.0.1:{self._port}   Ctrl-C ends the demo"
        return Group(
            Panel(Text(self._summary(service)), title="Plumewatch demo"),
            rooms,
            Panel(Group(*self._log) if self._log else Text("waiting for events"), title="Events"),
            Panel(Text(self._last_push or "none yet"), title="Last push a phone received"),
            Text(page, style="bold"),
        )


_VOC_KEYS: Final = ("voc_index", "tvoc_ppb", "tvoc_ugm3", "voc_raw")


def _push_variable(person: str) -> str:
    return f"PLUMEWATCH_DEMO_PUSH_{person.upper().replace('-', '_')}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextlib.asynccontextmanager
async def _broker(port: int) -> Any:
    """Run the embedded broker for as long as the block runs."""
    try:
        from iotcore import Broker  # noqa: PLC0415 - part of an extra
    except ImportError as error:
        raise ServiceError(
            "the demo needs its embedded broker: pip install 'plumewatch[demo]'"
        ) from error
    broker = Broker(port=port, listen="127.0.0.1")
    try:
        await asyncio.to_thread(broker.start)
    except (OSError, RuntimeError) as error:
        raise ServiceError(f"the embedded broker does not start: {error}") from error
    try:
        yield
    finally:
        await asyncio.to_thread(broker.stop)
