"""`plumewatch demo`: run a simulated school on this machine, through the production path.

The demo runs on loopback: an embedded broker, the simulator as a process, the service with the
staff page, and a small receiver in place of a phone's push service. Only the clock differs from
production: the school runs `SPEED` times faster. Simulated staff answer some pushes; the others
are left to the person trying the demo.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
import tomllib
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from detection.events import EventKind, EventPhase, describe_evidence
from language.messages import _
from language.plain_text import escape
from plumewatch.cli.demo.truth import TruthScore
from plumewatch.cli.options import CONFIG
from plumewatch.config.paths import DataPaths
from plumewatch.errors import UnreachableError
from plumewatch.service.app import Service
from plumewatch.service.resources import Observer, ServiceError
from plumewatch.service.run import Running
from plumewatch.service.web_server import WebServer
from storage.http_client import Reach, RequestError, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from starlette.requests import Request

    from alerts.engine import AlertRecord
    from detection.events import Event
    from plumewatch.config.model import PlumewatchConfig
    from storage.registry import Registry

SPEED: Final = 20.0
_SEED: Final = 11
_START: Final = datetime(2026, 9, 14, 9, 30, tzinfo=UTC)
"""A Monday morning during the school year."""
_DAYS: Final = 2.0
_UNANSWERED: Final = 3
"""Every third push is left to the person trying the demo, as are the next ones about its room."""
_MAX_BYTES: Final = 65_536
_PRESS_S: Final = 2.0
_SUMMARY_S: Final = 5.0
_SCHOOL: Final = Path(__file__).parents[1] / "school.toml"


class Demo:
    """All parts of the demo, and its results so far."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._console = Console()
        self._began: float | None = None
        self._kinds: Counter[str] = Counter()
        self._truth = TruthScore()
        self._staff: set[asyncio.Task[None]] = set()
        self._asked = 0
        self._left = ""
        self._alerts: dict[str, list[tuple[str, float]]] = {}
        self._pushes = 0

    async def run(self, seconds: float) -> None:
        """Run until Ctrl-C, or for `seconds` if above 0; raises `UnreachableError` on failure."""
        app = Starlette(routes=[Route("/", self._receive_push, methods=["POST"])])
        phones = WebServer("push receiver", app, "127.0.0.1", 0)
        with socket.create_server(("127.0.0.1", 0)) as free:
            broker_port = int(free.getsockname()[1])
        self._write_config(broker_port, phones.port)
        self._console.print(
            f"Plumewatch demo: a simulated school, {SPEED:.0f} times faster than real time."
            f" Times below are school time. Staff page: http://127.0.0.1:{self._port}"
        )
        async with _run_broker(broker_port):
            self._running = Running(self._folder / CONFIG.name, self._make_service)
            if seconds > 0:
                asyncio.get_running_loop().call_later(seconds, self._running.end)
            work = (phones.serve(), self._show(), self._simulate(broker_port))
            tasks = [asyncio.create_task(one) for one in work]
            try:
                await self._running.serve()
            finally:
                for task in (*tasks, *self._staff):
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, ServiceError):
                raise error
        counters = self._running.service.detection.counts
        self._console.print(f"The detector {self._truth.describe(self._clock())}")
        if text := self._truth.explain(len(self._registry.rooms), self._clock()):
            self._console.print(text)
        self._console.print(
            f"demo ended: {counters.readings} readings, {self._kinds.total()} events,"
            f" {counters.alerts} alerts, {self._pushes} pushes received; an alert may cover"
            " several events, and several vaping sessions in a room"
        )

    def _make_service(self, config: PlumewatchConfig, **passed: Any) -> Service:
        # In a resumed session with more than 100 queued messages, the embedded broker doesn't
        # answer the subscription until they are acknowledged.
        DataPaths(config.data_dir).client_id.unlink(missing_ok=True)
        return Service(
            config,
            clock=self._clock,
            receive_clock=self._receive_clock,
            one_click=True,
            observer=Observer(self._on_events, self._on_alerts),
            banner=self._build_banner,
            **passed,
        )

    @property
    def _registry(self) -> Registry:
        return self._running.service.resources.registry

    def _clock(self) -> float:
        """Return the simulated school's time, which starts with the simulator's first message."""
        elapsed = 0.0 if self._began is None else time.monotonic() - self._began
        return _START.timestamp() + elapsed * SPEED

    def _receive_clock(self) -> float:
        if self._began is None and self._running.service.ingestion.source.state.received:
            self._began = time.monotonic()
        return self._clock()

    def _write_config(self, broker_port: int, push_port: int) -> None:
        text = _SCHOOL.read_text(encoding="utf-8").replace(
            "[broker]\n", f"[web]\nport = {self._port}\n[broker]\nport = {broker_port}\n"
        )
        secrets, data = self._folder / "secrets", DataPaths(self._folder / "data")
        for folder in (secrets, data.root):
            folder.mkdir(mode=0o700, exist_ok=True)
        for person in tomllib.loads(text)["staff"]:
            address = secrets / f"{person['id']}-push"
            address.write_text(f"ntfy://127.0.0.1:{push_port}/{person['id']}\n", encoding="utf-8")
        (self._folder / CONFIG.name).write_text(text, encoding="utf-8")
        data.demo.touch()

    def _build_banner(self) -> str:
        return _(
            "Simulated school, %(speed)s times faster than real time. The detector"
            " %(found)s. Only a simulation knows the truth.",
            speed=f"{SPEED:.0f}",
            found=self._truth.describe(self._clock()),
        )

    async def _simulate(self, broker_port: int) -> None:
        """Run the simulator, and end the demo with it."""
        words = f"simulate --seed {_SEED} --days {_DAYS} --speed {SPEED} --activity demo --truth"
        words += f" --start {_START.isoformat()} --publish 127.0.0.1:{broker_port}"
        simulator = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "plumewatch", *words.split()),
            *("--config", str(self._folder / CONFIG.name)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert simulator.stdout is not None  # noqa: S101 - it is a pipe
        try:
            async for line in simulator.stdout:
                self._truth.add_line(line.decode(errors="replace").strip())
            if await simulator.wait():
                raise ServiceError("the simulator ended; its message is above")
        finally:
            self._running.end()
            with contextlib.suppress(ProcessLookupError):
                simulator.terminate()
            await simulator.wait()

    async def _receive_push(self, request: Request) -> JSONResponse:
        body, actions = await request.json(), request.headers.get("x-actions", "[]")
        self._pushes += 1
        person, title = body.get("topic", ""), body.get("title", "")
        self._note("push received", f"{title} (to {person})", "magenta")
        self._answer(person, title.partition(": ")[0], json.loads(actions))
        return JSONResponse({})

    def _answer(self, person: str, place: str, actions: Sequence[Mapping[str, Any]]) -> None:
        """Let simulated staff press the first button of a push, for most pushes."""
        if not actions or actions[0].get("action") != "http":
            return
        self._asked += 1
        if self._asked % _UNANSWERED == 0 or place == self._left:
            self._left = place
            self._note("left to you", f"nobody answers this push to {person}", "yellow")
            return
        task = asyncio.create_task(self._respond(person, actions[0]), name=f"staff-{person}")
        self._staff.add(task)
        task.add_done_callback(self._staff.discard)

    async def _respond(self, person: str, action: Mapping[str, Any]) -> None:
        name = self._running.service.alerting.engine.policy.find_name(person)
        try:
            await asyncio.sleep(_PRESS_S)
            taken = await self._post("/answer", action["body"])
            if not taken.get("mine"):
                return
            self._note("responding", f"{name} (simulated)", "green")
            await asyncio.sleep(2 * _PRESS_S)
            token = f"token={taken['feedback']}&via=ntfy"
            await self._post("/answer/arrive", token)
            await asyncio.sleep(_PRESS_S)
            found = self._choose_finding(taken["incident"])
            answered = await self._post("/answer/feedback", f"{token}&{found}")
            self._note("answered", f"{answered.get('what', '')} ({name}, simulated)", "green")
        except (RequestError, ValueError, KeyError) as error:
            self._note("not answered", f"{name}: {error!r}", "yellow")

    def _choose_finding(self, incident: str) -> str:
        happened = any(self._truth.is_explained(*alert) for alert in self._alerts.get(incident, ()))
        return "verdict=confirmed" if happened else "verdict=nothing_found"

    async def _post(self, path: str, body: str) -> dict[str, Any]:
        answer = await request(
            "POST",
            f"http://127.0.0.1:{self._port}{path}",
            Reach(allow_private=True),
            body=body.encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            max_bytes=_MAX_BYTES,
        )
        found: dict[str, Any] = json.loads(answer.body)
        return found

    def _on_events(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.phase is EventPhase.ALERTED:
                self._kinds[event.kind.value] += 1
                room = self._registry.find_room(event.sensor)
                if event.kind is EventKind.VAPE and room is not None:
                    self._truth.add_alert(room.id, event.onset)
                self._note(f"event {event.kind.value}", describe_evidence(event), "cyan")

    def _on_alerts(self, alerts: Sequence[AlertRecord]) -> None:
        for alert in alerts:
            room = self._registry.find_room(alert.sensor)
            if room is not None:
                self._alerts.setdefault(alert.incident, []).append((room.id, alert.onset))
            where = f"{room.building}, {room.floor}, {room.name}" if room else alert.sensor
            self._note("ALERT", f"{alert.kind.value}: {where} ({alert.incident})", "bold red")

    def _note(self, what: str, text: str, style: str) -> None:
        stamp = datetime.fromtimestamp(self._clock(), UTC).strftime("%H:%M:%S")
        self._console.print(Text.assemble((f"{stamp} ", "dim"), (f"{what}  ", style), escape(text)))

    async def _show(self) -> None:
        """Print a summary at regular intervals if it changed, until canceled."""
        before, at, shown, explained = 0, time.monotonic(), "", ""
        while True:
            await asyncio.sleep(_SUMMARY_S)
            counters, now = self._running.service.detection.counts, time.monotonic()
            rate = max(counters.readings - before, 0) / (now - at)
            before, at = counters.readings, now
            kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self._kinds.items()))
            summary = (
                f"{len(self._registry.rooms)} rooms, events: {kinds or 'none yet'};"
                f" alerts: {counters.alerts}; pushes: {self._pushes};"
                f" {self._truth.describe(self._clock())};"
                f" staff page http://127.0.0.1:{self._port}"
            )
            if not rate or summary != shown:
                self._console.print(f"{rate:.0f} readings/s, {summary}")
                shown = summary if rate else ""
            rooms = len(self._registry.rooms)
            if not explained and (explained := self._truth.explain(rooms, self._clock())):
                self._console.print(explained)


@contextlib.asynccontextmanager
async def _run_broker(port: int) -> AsyncIterator[None]:
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
