"""`plumewatch simulate`: the sensors of a school, as files or as messages to a broker."""

from __future__ import annotations

import math
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from plumewatch.cli.options import JsonOption, examples
from plumewatch.cli.printer import Printer, progress
from plumewatch.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plumewatch.config.model import PlumewatchConfig
    from sensor_sim.publish import BrokerAddress
    from sensor_sim.school import School
    from sensor_sim.simulation_run import SimulationRun

app = typer.Typer()

_MONDAY: Final = datetime(2026, 9, 14, tzinfo=UTC)
"""Default start of a simulation: a Monday of term, midnight."""
_DAY_S: Final = 86_400.0
_MOST_DAYS: Final = 3660
_FILE_CHUNK_S: Final = 900.0
_WIRE_CHUNK_S: Final = 60.0
STANDARD_OUTPUT: Final = Path("-")


class Activity(StrEnum):
    """How much happens."""

    ORDINARY = "ordinary"
    HARD_RESTROOM = "hard_restroom"
    DEMO = "demo"


@app.command(
    rich_help_panel="Simulation and history",
    epilog=examples(
        "plumewatch simulate --days 1 --out readings.csv.gz --truth truth.csv",
        "plumewatch simulate --publish 127.0.0.1:1883 --live --days 0.1 --patience 60",
    ),
)
def simulate(
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Rooms and sensors of a real school."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same readings.", min=0, max=2**31 - 1)] = 1,
    days: Annotated[float, typer.Option(help="Simulated length, days.")] = 1.0,
    speed: Annotated[str, typer.Option(help="Simulated seconds in a second, or max.")] = "1",
    publish: Annotated[
        str | None, typer.Option(help="Broker: [mqtt[s]://][user@]host[:port].")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Readings as .csv or .csv.gz instead.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="What really happened, as CSV; - is standard output.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="Start of the simulation, ISO 8601.")] = None,
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for an unreachable broker.", min=0, max=_DAY_S)
    ] = 0.0,
    activity: Annotated[
        Activity, typer.Option(help="How much happens: a school, a busy room, a demo.")
    ] = Activity.ORDINARY,
    live: Annotated[
        bool, typer.Option("--live", help="Shift event times to the wall clock.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Simulate a school: publish what its sensors measure, or write readings and truth."""
    from plumewatch.config.load import load
    from sensor_sim.errors import BrokerAddressError
    from sensor_sim.publish import BrokerAddress
    from sensor_sim.simulation_run import SimulationRun, live_offset

    faults = [] if 0 < days <= _MOST_DAYS else [f"--days: {days} (allowed: to {_MOST_DAYS})"]
    faults += _file_faults(out, truth, publish=publish is not None, live=live)
    factor = math.inf if speed == "max" else _number(speed)
    if not factor > 0 or (math.isinf(factor) and speed != "max"):
        faults.append(f"--speed: {speed!r} (allowed: a number above 0, or max)")
    address = None
    try:
        address = None if publish is None else BrokerAddress.parse(publish)
    except BrokerAddressError as error:
        faults.append(f"--publish: {error}")
    begin = _start(start, faults)
    if faults:
        raise UsageError("\n".join(faults))
    duration_s, offset_s = days * _DAY_S, 0.0
    if live:
        offset_s = live_offset(begin, duration_s, factor, time.time())
    if live and start is None:
        begin, offset_s = float(math.floor(begin + offset_s)), 0.0
    school = _school(None if config is None else load(config), begin)
    run = SimulationRun(school, seed, begin, duration_s, offset_s, activity.value)
    printer = Printer(as_json=as_json)
    if address is not None:
        _publish(run, address, truth, factor, patience, printer)
    elif out is not None:
        _write(run, out, truth, printer)


def _start(text: str | None, faults: list[str]) -> float:
    if text is None:
        return _MONDAY.timestamp()
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        faults.append(f"--start: {text!r} (allowed: ISO 8601, such as 2026-09-14T07:30)")
        return _MONDAY.timestamp()
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _file_faults(
    out: Path | None, truth: Path | None, *, publish: bool, live: bool
) -> Iterator[str]:
    for name, path in (("--out", out), ("--truth", truth)):
        if path is None or (name == "--truth" and publish and path == STANDARD_OUTPUT):
            continue
        if not path.name.endswith((".csv", ".csv.gz")):
            yield f"{name}: {path} (allowed: a name that ends in .csv or .csv.gz)"
        elif not path.parent.is_dir():
            yield f"{name}: {path} (allowed: a file in a folder that exists)"
        elif path.is_dir():
            yield f"{name}: {path} (allowed: a file, not a folder)"
    if out is not None and out == truth:
        yield f"--truth: {truth} (allowed: another file than --out)"
    if publish == (out is not None):
        yield "--publish, --out: exactly one of them is needed"
    if live and not publish:
        yield "--live: only with --publish"


def _school(config: PlumewatchConfig | None, begin: float) -> School:
    """Return the school, by default a made-up one.

    A sensor of a model that the simulator does not know is a SEN55.
    """
    from sensor_sim.devices.models import MODELS, Device
    from sensor_sim.school import Restroom, School

    if config is None:
        return School.small()
    devices: dict[str, list[Device]] = {}
    for sensor in config.sensor:
        model = sensor.model.lower() if sensor.model.lower() in MODELS else "sen55"
        interval_s = max(1, round(sensor.interval_s))
        device = Device(sensor.id, sensor.room, model, interval_s)
        devices.setdefault(sensor.room, []).append(device)
    offset = datetime.fromtimestamp(begin, config.zone()).utcoffset() or timedelta()
    rooms = tuple(Restroom(room, "student", tuple(mine)) for room, mine in devices.items())
    return School(config.site, rooms, utc_offset_s=int(offset.total_seconds()))


def _write(run: SimulationRun, out: Path, truth: Path | None, printer: Printer) -> None:
    from sensor_sim.export import ReadingsCsv, TruthCsv

    devices = run.school.devices
    quantities = {channel for device in devices for channel in device.channels}
    with ExitStack() as stack:
        readings = stack.enter_context(ReadingsCsv(out, quantities, [d.id for d in devices]))
        truths = stack.enter_context(TruthCsv(truth)) if truth else None
        update = stack.enter_context(progress("simulating", run.duration_s))
        for chunk in run.chunks(_FILE_CHUNK_S, truths):
            readings.add(chunk.traces)
            text = f"simulating, {readings.rows:,} readings"
            update(completed=chunk.end - run.start, description=text)
    if readings.left_out:
        sys.stderr.write(f"{readings.left_out:,} readings came too late for their time: skipped\n")
    printer.sum_up(
        f"{readings.rows:,} readings in {out}",
        wrote=out,
        readings=readings.rows,
        left_out=readings.left_out,
    )


def _publish(
    run: SimulationRun,
    address: BrokerAddress,
    truth: Path | None,
    speed: float,
    patience_s: float,
    printer: Printer,
) -> None:
    import asyncio

    from sensor_sim.errors import BrokerRefusedError, BrokerUnreachableError
    from sensor_sim.export import TruthCsv, TruthStream
    from sensor_sim.publish import Publisher, prefetched

    begin, began, shown = run.start + run.offset_s, time.monotonic(), 0.0
    with ExitStack() as stack:
        truths: TruthCsv | None = None
        if truth == STANDARD_OUTPUT:
            truths = TruthStream(sys.stdout.buffer)
        elif truth is not None:
            truths = stack.enter_context(TruthCsv(truth))
        update = stack.enter_context(progress("publishing", run.duration_s))

        def show(published: int, sent: float) -> None:
            nonlocal shown
            if time.monotonic() - shown > 0.1:
                shown = time.monotonic()
                text = f"publishing, {published:,} messages"
                update(completed=sent - begin, description=text)

        publisher = Publisher(address, speed, patience_s, on_progress=show)
        try:
            asyncio.run(publisher.run(prefetched(run.messages(_WIRE_CHUNK_S, truths))))
        except (BrokerUnreachableError, BrokerRefusedError) as error:
            raise UnreachableError(str(error)) from error
    took = max(time.monotonic() - began, 1e-9)
    count = publisher.published
    printer.sum_up(
        f"{count:,} messages to {address}, {count / took:,.0f} a second",
        messages=count,
        broker=str(address),
        seconds=round(took, 3),
    )
