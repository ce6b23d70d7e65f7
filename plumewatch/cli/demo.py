"""A simulated school on this machine, through the production path, for `plumewatch demo`.

Starts, all on loopback: an embedded broker, the simulator (as its own process, publishing what real
devices publish), the service with the staff page, and a small receiver in place of a phone's
push service. Only the clock differs from production: school life runs `SPEED` times faster, and the
service is given the same fast clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
import tomllib
from collections import Counter, deque
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from detection.events import EventPhase, evidence_sentence
from plumewatch.config.load import parse
from plumewatch.errors import UnreachableError
from plumewatch.service.app import Service
from plumewatch.service.resources import Observer
from plumewatch.service.supervisor import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from alerts.engine import AlertRecord
    from detection.events import Event
    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig

SPEED: Final = 20.0
_SEED: Final = 11
_START: Final = datetime(2026, 9, 14, 9, 30, tzinfo=UTC)
"""A Monday morning of term."""
_DAYS: Final = 2.0
_VOC_KEYS: Final = ("voc_index", "tvoc_ppb", "tvoc_ugm3", "voc_raw")
_SCHOOL: Final = Path(__file__).with_name("demo_school.toml")
_SCENARIO: Final = Path(__file__).with_name("demo_scenario.toml")


class Demo:
    """All parts of the demo, and what they have shown so far."""

    def __init__(self, folder: Path, port: int, printer: Printer, *, plain: bool) -> None:
        self._folder = folder
        self._port = port
        self._printer = printer
        self._console = Console(file=printer.out)
        self._live = self._console.is_terminal and not (plain or printer.as_json)
        self._began: float | None = None
        self._kinds: Counter[str] = Counter()
        self._log: deque[Text] = deque(maxlen=10)
        self._pushes = 0
        self._last_push = ""
        self._rate: deque[tuple[float, int]] = deque(maxlen=20)

    async def run(self, seconds: float) -> None:
        """Run until Ctrl-C, or for `seconds` if above 0; raises `UnreachableError` on failure."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        receiver = await asyncio.start_server(self._receive_push, "127.0.0.1", 0)
        push_port = receiver.sockets[0].getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as free:
            broker_port = int(free.getsockname()[1])
        config = self._config(broker_port, push_port)
        self._registry = config.registry()
        async with _broker(broker_port), receiver:
            self._service = Service(
                config,
                clock=self._clock,
                receive_clock=self._receive_clock,
                one_click=True,
                observer=Observer(self._on_events, self._on_alerts),
            )
            if seconds > 0:
                loop.call_later(seconds, stop.set)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._show(stop), name="screen")
                    group.create_task(self._simulate(broker_port, stop), name="simulator")
                    group.create_task(self._service.run(stop), name="service")
            except* ServiceError as errors:
                raise UnreachableError(str(errors.exceptions[0])) from None
        counts = self._counts()
        text = ", ".join(f"{n} {name}" for name, n in counts.items())
        self._line(f"demo ended: {text} received", ended=True, **counts)

    def _clock(self) -> float:
        """Unix seconds of the simulated school; it starts with the simulator's first message."""
        elapsed = 0.0 if self._began is None else time.monotonic() - self._began
        return _START.timestamp() + elapsed * SPEED

    def _receive_clock(self) -> float:
        if self._began is None:
            self._began = time.monotonic()
        return self._clock()

    def _config(self, broker_port: int, push_port: int) -> PlumewatchConfig:
        tree = tomllib.loads(_SCHOOL.read_text(encoding="utf-8"))
        tree["broker"]["port"] = broker_port
        tree["web"] = {"port": self._port}
        for person in tree["staff"]:
            (target,) = person["notify"]
            os.environ[target["url_env"]] = f"ntfy://127.0.0.1:{push_port}/{person['id']}"
        return parse(tree, base=self._folder)

    async def _simulate(self, broker_port: int, stop: asyncio.Event) -> None:
        """Run the simulator; end the demo with its last line if it fails."""
        words = f"simulate --seed {_SEED} --days {_DAYS} --speed {SPEED} --activity demo"
        words += f" --start {_START.isoformat()} --publish 127.0.0.1:{broker_port} --patience 30"
        simulator = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "plumewatch", *words.split()),
            *("--school", str(_SCENARIO)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        ended = asyncio.ensure_future(simulator.communicate())
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            with contextlib.suppress(ProcessLookupError):
                simulator.terminate()
            _, errors = await ended
        if not stop.is_set():
            stop.set()
            if simulator.returncode:
                last = errors.decode(errors="replace").strip().splitlines()[-1:]
                raise ServiceError(f"the simulator ended: {(last or ['without a message'])[0]}")

    async def _receive_push(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Stand for a push service: read one POST, show it, respond with 200."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError, TimeoutError):
            async with asyncio.timeout(10):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                body = json.loads(await reader.readexactly(min(length, 65_536)))
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
                )
                await writer.drain()
                self._pushes += 1
                title = body.get("title", "")
                self._last_push = f"{title}\n{body.get('message', '')}".strip()
                self._note("push received", f"{title} (to {body.get('topic', '')})", "magenta")
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

    def _counts(self) -> dict[str, object]:
        counters = self._service.detection.counts
        return {
            "readings": counters.readings,
            "events": counters.events,
            "alerts": counters.alerts,
            "pushes": self._pushes,
        }

    async def _show(self, stop: asyncio.Event) -> None:
        """Redraw twice a second, or print a line every five seconds."""
        waits = [asyncio.ensure_future(e.wait()) for e in (self._service.ready, stop)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        screen = Live(console=self._console, auto_refresh=False) if self._live else None
        with screen or contextlib.nullcontext():
            turn = 0
            while not stop.is_set():
                self._rate.append((time.monotonic(), self._service.detection.counts.readings))
                if screen is not None:
                    screen.update(self._screen(), refresh=True)
                elif turn % 10 == 0:
                    page = f"http://127.0.0.1:{self._port}"
                    self._line(self._summary(), page=page, **self._counts())
                turn += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await stop.wait()

    def _summary(self) -> str:
        (t0, n0), (t1, n1) = self._rate[0], self._rate[-1]
        rate = (n1 - n0) / (t1 - t0) if t1 > t0 else 0.0
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self._kinds.items())) or "none yet"
        return (
            f"{rate:.0f} readings/s, {len(self._registry.rooms)} rooms,"
            f" events: {kinds}; alerts: {self._service.detection.counts.alerts};"
            f" pushes: {self._pushes};"
            f" staff page http://127.0.0.1:{self._port}"
        )

    def _screen(self) -> Group:
        school_time = datetime.fromtimestamp(self._clock(), UTC).strftime("%A %H:%M:%S")
        latest = self._service.series.latest()
        title = f"Rooms at {school_time} ({SPEED:.0f} times real time)"
        rooms = Table("Room", "Sensor", "PM2.5 µg/m³", "VOC", "RH %", title=title, expand=True)
        for sensor in self._registry.sensors.values():
            room = self._registry.rooms[sensor.room]
            values = latest[sensor.id].values if sensor.id in latest else {}
            rooms.add_row(
                f"{room.building}, {room.floor}, {room.name}",
                sensor.model,
                f"{values['pm25']:.1f}" if "pm25" in values else "-",
                next((f"{values[k]:.0f} ({k})" for k in _VOC_KEYS if k in values), "-"),
                f"{values['rh']:.0f}" if "rh" in values else "-",
            )
        return Group(
            Panel(Text(self._summary()), title="Plumewatch demo"),
            rooms,
            Panel(Group(*self._log) if self._log else Text("waiting for events"), title="Events"),
            Panel(Text(self._last_push or "none yet"), title="Last push a phone received"),
            Text(f"staff page: http://127.0.0.1:{self._port}   Ctrl-C ends the demo", style="bold"),
        )


@contextlib.asynccontextmanager
async def _broker(port: int) -> AsyncIterator[None]:
    """Run the embedded broker for as long as the block runs."""
    try:
        from iotcore import Broker
    except ImportError as error:
        raise UnreachableError(
            "the demo needs its embedded broker: pip install 'plumewatch[demo]'"
        ) from error
    broker = Broker(port=port, listen="127.0.0.1")
    try:
        await asyncio.to_thread(broker.start)
    except (OSError, RuntimeError) as error:
        raise UnreachableError(f"the embedded broker does not start: {error}") from error
    try:
        yield
    finally:
        await asyncio.to_thread(broker.stop)
