"""`plumewatch simulate`: a simulated school, published like real devices or written to files."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from plumewatch.cli.exit_codes import DONE, UNREACHABLE, USAGE, UsageError
from plumewatch.cli.printer import Printer
from sensor_sim.attacks_at_sensor import apply_to_trace
from sensor_sim.attacks_on_wire import apply_to_messages
from sensor_sim.errors import (
    BrokerAddressError,
    BrokerRefusedError,
    BrokerUnreachableError,
    ScenarioError,
)
from sensor_sim.export import ReadingsCsv, TruthCsv
from sensor_sim.publish import (
    BrokerAddress,
    Ledger,
    Prefetched,
    Publisher,
    PublishSettings,
    live_offset,
    shift_trace,
)
from sensor_sim.scenario import Scenario, load_scenario
from sensor_sim.school import School
from sensor_sim.simulate import simulate
from sensor_sim.wire import Fleet, WireNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensor_sim.attacks_at_sensor import TraceAttack
    from sensor_sim.publish import PublishReport
    from sensor_sim.schedule import Activity
    from sensor_sim.simulate import Chunk
    from sensor_sim.trace import Truth
    from sensor_sim.wire import WireMessage


DEFAULT_START: Final = datetime(2026, 9, 14, tzinfo=UTC)
"""A Monday of term, midnight."""

_DAY_S: Final = 86_400.0
_MAX_DAYS: Final = 3660
_ACTIVITIES: Final = ("ordinary", "hard_restroom", "demo")
_SCHOOLS: Final = {"small": School.small, "district": School.district}
_FILE_CHUNK_S: Final = 900.0
_WIRE_CHUNK_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """What to simulate and where it goes.

    Attributes
    ----------
    school : str
        ``small``, ``district``, or the path of a scenario file.
    seed : int
        Same seed, same readings.
    days : float
        Simulated length, days.
    publish : str or None
        Broker to publish to, ``[mqtt[s]://][user[:password]@]host[:port]``.
    out : Path or None
        Readings as CSV, ``.csv`` or ``.csv.gz``; either this or `publish`.
    truth : Path or None
        What really happened, as CSV.
    speed : str
        Simulated seconds in a second, or ``max`` for as fast as the broker acknowledges.
    start : str or None
        Start of the simulation, ISO 8601, UTC if it names no zone. `DEFAULT_START` by default;
        now with `live`.
    live : bool
        Shift event times to the wall clock; see `sensor_sim.publish.live_offset`.
    ledger : Path or None
        File to which ``sensor,seq`` of each acknowledged message is appended.
    patience_s : float
        How long to keep trying when the broker is not there or goes away, s.
    vape_rate, nuisance_rate : float or None
        Factors on how often it happens; the scenario's by default.
    activity : str or None
        ``ordinary``, ``hard_restroom`` or ``demo``; the scenario's by default.
    """

    school: str = "small"
    seed: int = 1
    days: float = 1.0
    publish: str | None = None
    out: Path | None = None
    truth: Path | None = None
    speed: str = "1"
    start: str | None = None
    live: bool = False
    ledger: Path | None = None
    patience_s: float = 0.0
    vape_rate: float | None = None
    nuisance_rate: float | None = None
    activity: str | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """Options after all checks."""

    scenario: Scenario
    seed: int
    start: float
    offset_s: float
    duration_s: float
    speed: float
    address: BrokerAddress | None


def run_simulate(options: SimulateOptions, printer: Printer | None = None) -> int:
    """Simulate a school.

    Parameters
    ----------
    printer : Printer, optional
        Where progress and messages go.

    Returns
    -------
    int
        Exit code: 0 done, 2 bad usage or scenario (all faults are listed), 3 the broker is not
        reachable or refuses (one sentence).
    """
    printer = printer or Printer()
    console = Console(file=printer.err)
    try:
        plan = _check(options)
        if plan.address is None:
            _write(options, plan, console, printer)
        else:
            asyncio.run(_publish(options, plan, plan.address, console, printer))
    except UsageError as exc:
        console.print(str(exc), markup=False, highlight=False, soft_wrap=True)
        return USAGE
    except (BrokerUnreachableError, BrokerRefusedError) as exc:
        console.print(str(exc), markup=False, highlight=False, soft_wrap=True)
        return UNREACHABLE
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        where = f"{exc.filename}: " if exc.filename else ""
        console.print(f"cannot write: {where}{reason}", markup=False, highlight=False)
        return USAGE
    return DONE


def _check(options: SimulateOptions) -> _Plan:
    faults = [*_number_faults(options), *_file_faults(options)]
    if not 0 < options.days <= _MAX_DAYS:
        options = replace(options, days=1.0)
    if (options.publish is None) == (options.out is None):
        faults.append("--publish, --out: exactly one of them is needed")
    if options.publish is None and (options.live or options.ledger):
        faults.append("--live, --ledger: only with --publish")
    speed = _speed(options.speed, faults)
    address = None
    if options.publish is not None:
        try:
            address = BrokerAddress.parse(options.publish)
        except BrokerAddressError as exc:
            faults.append(f"--publish: {exc}")
    duration_s = options.days * _DAY_S
    start, offset = _axis(options, duration_s, speed, faults)
    scenario = _scenario(options, start, faults)
    if faults or scenario is None:
        raise UsageError("\n".join(faults))
    return _Plan(scenario, options.seed, start, offset, duration_s, speed, address)


def _number_faults(options: SimulateOptions) -> Iterator[str]:
    if not 0 <= options.seed < 2**31:
        yield f"--seed: {options.seed} (allowed: 0 to 2147483647)"
    if not 0 < options.days <= _MAX_DAYS:
        yield f"--days: {options.days} (allowed: above 0 to {_MAX_DAYS})"
    if not 0 <= options.patience_s <= _DAY_S:
        yield f"--patience: {options.patience_s} (allowed: 0 to 86400 seconds)"
    for name, rate in (("vape", options.vape_rate), ("nuisance", options.nuisance_rate)):
        if rate is not None and not 0 <= rate <= 1000:
            yield f"--{name}-rate: {rate} (allowed: 0 to 1000)"
    if options.activity is not None and options.activity not in _ACTIVITIES:
        yield f"--activity: {options.activity!r} (allowed: {', '.join(_ACTIVITIES)})"


def _speed(text: str, faults: list[str]) -> float:
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = math.nan
    if not speed > 0 or (math.isinf(speed) and text != "max"):
        faults.append(f"--speed: {text!r} (allowed: a number above 0, or max)")
        return 1.0
    return speed


def _file_faults(options: SimulateOptions) -> Iterator[str]:
    for name, path in (("--out", options.out), ("--truth", options.truth)):
        if path is None:
            continue
        if not path.name.endswith((".csv", ".csv.gz")):
            yield f"{name}: {path} (allowed: a name that ends in .csv or .csv.gz)"
        elif not path.parent.is_dir():
            yield f"{name}: {path} (allowed: a file in a folder that exists)"
        elif path.is_dir():
            yield f"{name}: {path} (allowed: a file, not a folder)"
    if options.out is not None and options.truth is not None and options.out == options.truth:
        yield f"--truth: {options.truth} (allowed: another file than --out)"


def _axis(
    options: SimulateOptions, duration_s: float, speed: float, faults: list[str]
) -> tuple[float, float]:
    """Start of the simulation and what is added to its times on the wire, s."""
    now = time.time()
    if options.start is None:
        start = DEFAULT_START.timestamp()
        if options.live:
            start = float(math.floor(start + live_offset(start, duration_s, speed, now)))
        return start, 0.0
    try:
        moment = datetime.fromisoformat(options.start)
    except ValueError:
        faults.append(f"--start: {options.start!r} (allowed: ISO 8601, such as 2026-09-14T07:30)")
        return DEFAULT_START.timestamp(), 0.0
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    start = aware.timestamp()
    return start, live_offset(start, duration_s, speed, now) if options.live else 0.0


def _scenario(options: SimulateOptions, start: float, faults: list[str]) -> Scenario | None:
    made = _SCHOOLS.get(options.school)
    if made is not None:
        school = made()
        zone = timezone(timedelta(seconds=school.utc_offset_s))
        scenario = Scenario(school, zone)
    else:
        path = Path(options.school)
        if not path.exists() and path.suffix != ".toml":
            allowed = "small, district, or a scenario file"
            faults.append(f"--school: {options.school!r} (allowed: {allowed})")
            return None
        try:
            scenario = load_scenario(path, start)
        except ScenarioError as exc:
            faults.append(str(exc))
            return None
    if options.vape_rate is not None:
        scenario = replace(scenario, vape_rate=options.vape_rate)
    if options.nuisance_rate is not None:
        scenario = replace(scenario, nuisance_rate=options.nuisance_rate)
    if options.activity in _ACTIVITIES:
        scenario = replace(scenario, activity=cast("Activity", options.activity))
    return scenario


class _Run:
    """Chunks of a run after its attacks at the sensors, and the truth of both."""

    def __init__(self, plan: _Plan, chunk_s: float, truth: TruthCsv | None) -> None:
        self._plan = plan
        self._truth = truth
        self._attacks = plan.scenario.trace_attacks(plan.start, plan.seed)
        self._chunks = simulate(
            plan.scenario.school,
            seed=plan.seed,
            start=plan.start,
            duration_s=plan.duration_s,
            chunk_s=chunk_s,
            vape_rate=plan.scenario.vape_rate,
            nuisance_rate=plan.scenario.nuisance_rate,
            activity=plan.scenario.activity,
        )

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks; their truth goes to its file."""
        waiting = self._attack_truths()
        for chunk in self._chunks:
            traces = tuple(apply_to_trace(trace, self._attacks) for trace in chunk.traces)
            begun = [t for t in waiting if t.start < chunk.end]
            waiting = [t for t in waiting if t.start >= chunk.end]
            if self._truth is not None:
                truths = sorted((*chunk.truths, *begun), key=_truth_order)
                self._truth.add(_shifted(truth, self._plan.offset_s) for truth in truths)
            yield replace(chunk, traces=traces)

    def messages(self) -> Iterator[WireMessage]:
        """Yield what goes on the wire, after the attacks there."""
        plan = self._plan
        fleet = Fleet(WireNetwork(zone=plan.scenario.zone))
        attacks = plan.scenario.message_attacks(plan.start, plan.seed, plan.offset_s)

        def plain() -> Iterator[WireMessage]:
            for chunk in self.chunks():
                yield from fleet.encode(
                    shift_trace(trace, plan.offset_s) if plan.offset_s else trace
                    for trace in chunk.traces
                )

        return apply_to_messages(plain(), attacks)

    def _attack_truths(self) -> list[Truth]:
        rooms = {device.id: device.room for device in self._plan.scenario.school.devices}
        finish = self._plan.start + self._plan.duration_s
        return [
            replace(truth, end=min(truth.end, finish))
            for attack in self._attacks
            if (truth := _truth_of(attack, rooms)).start < finish
        ]


def _shifted(truth: Truth, offset_s: float) -> Truth:
    if not offset_s:
        return truth
    return replace(
        truth,
        start=truth.start + offset_s,
        end=truth.end + offset_s,
        arrival=truth.arrival + offset_s,
        peak_time=truth.peak_time + offset_s,
    )


def _truth_of(attack: TraceAttack, rooms: dict[str, str]) -> Truth:
    return attack.truth(rooms[attack.sensor])


def _truth_order(truth: Truth) -> tuple[float, str, str]:
    return truth.start, truth.session, truth.sensor


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[count]:,} {task.fields[what]}"),
        console=console,
    )


def _write(options: SimulateOptions, plan: _Plan, console: Console, printer: Printer) -> None:
    out = cast("Path", options.out)
    devices = plan.scenario.school.devices
    on_wire = plan.scenario.message_attacks(plan.start, plan.seed)
    if on_wire:
        names = ", ".join(sorted({type(attack).__name__ for attack in on_wire}))
        console.print(f"attacks on the wire have no place in a file: {names}", markup=False)
    quantities = {channel for device in devices for channel in device.channels}
    with ExitStack() as stack:
        readings = stack.enter_context(ReadingsCsv(out, quantities, [d.id for d in devices]))
        truth = stack.enter_context(TruthCsv(options.truth)) if options.truth else None
        progress = stack.enter_context(_progress(console))
        task = progress.add_task("simulating", total=plan.duration_s, count=0, what="readings")
        for chunk in _Run(plan, _FILE_CHUNK_S, truth).chunks():
            readings.add(chunk.traces)
            progress.update(task, completed=chunk.end - plan.start, count=readings.rows)
    if readings.left_out:
        console.print(f"{readings.left_out:,} readings came too late for their time: left out")
    printer.sum_up(
        f"{readings.rows:,} readings in {out}",
        wrote=out,
        readings=readings.rows,
        left_out=readings.left_out,
    )


async def _publish(
    options: SimulateOptions,
    plan: _Plan,
    address: BrokerAddress,
    console: Console,
    printer: Printer,
) -> None:
    begin = plan.start + plan.offset_s
    with ExitStack() as stack:
        truth = stack.enter_context(TruthCsv(options.truth)) if options.truth else None
        ledger = stack.enter_context(Ledger(options.ledger)) if options.ledger else None
        progress = stack.enter_context(_progress(console))
        task = progress.add_task("publishing", total=plan.duration_s, count=0, what="messages")
        shown = 0.0

        def show(report: PublishReport, sent: float) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown > 0.1:
                shown = now
                progress.update(task, completed=sent - begin, count=report.messages)

        settings = PublishSettings(speed=plan.speed, patience_s=options.patience_s)
        publisher = Publisher(address, settings, ledger=ledger, on_progress=show)
        report = await publisher.run(Prefetched(_Run(plan, _WIRE_CHUNK_S, truth).messages()))
        progress.update(task, completed=plan.duration_s, count=report.messages)
    rate = report.messages / max(report.wall_s, 1e-9)
    printer.sum_up(
        f"{report.messages:,} messages to {address}, {rate:,.0f} a second",
        messages=report.messages,
        broker=str(address),
        seconds=round(report.wall_s, 3),
    )
