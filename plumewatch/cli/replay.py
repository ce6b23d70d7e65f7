"""`plumewatch replay` and `simulate`: recorded and simulated readings."""

from __future__ import annotations

import math
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from plumewatch.cli.options import JsonOption, Site, examples
from plumewatch.cli.printer import Printer, progress
from plumewatch.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensor_sim.publish import BrokerAddress, PublishReport
    from sensor_sim.scenarios.scenario import Scenario
    from sensor_sim.schedule import Activity
    from sensor_sim.simulation_run import SimulationRun


app = typer.Typer()

_MONDAY: Final = datetime(2026, 9, 14, tzinfo=UTC)
"""Default start of a simulation: a Monday of term, midnight."""
_DAY_S: Final = 86_400.0
_MOST_DAYS: Final = 3660
_ACTIVITIES: Final = ("ordinary", "hard_restroom", "demo")
_FILE_CHUNK_S: Final = 900.0
_WIRE_CHUNK_S: Final = 60.0
STANDARD_OUTPUT: Final = Path("-")


@app.command(
    rich_help_panel="Recorded and simulated air",
    epilog=examples(
        "plumewatch replay readings.csv.gz --alerts alerts.csv --events events.csv",
        "plumewatch replay monday.csv tuesday.csv --alerts alerts.csv --config plumewatch.toml",
    ),
)
def replay(
    readings: Annotated[list[Path], typer.Argument(help="Recorded readings, .csv or .csv.gz.")],
    *,
    alerts: Annotated[Path, typer.Option(help="File for the alerts (CSV).")],
    events: Annotated[Path | None, typer.Option(help="File for all events (CSV).")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Rooms and rules of a real school.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Push recorded readings through the production path, on their own clock."""
    from detection.quantities import FINE_PARTICLES
    from plumewatch.config.settings import alert_budgets
    from plumewatch.replay import replay as replay_files
    from plumewatch.replay import replay_policy, write_alerts, write_events

    site = Site.load(config) if config else None
    printer = Printer(as_json=as_json)
    missing = [path for path in readings if not path.is_file()]
    faults = [
        f"{p}: {'is a folder, not a file' if p.is_dir() else 'no such file'}" for p in missing
    ]
    folders = [path.parent for path in (alerts, events) if path is not None]
    faults += [
        f"{folder}: no such folder to write into" for folder in folders if not folder.is_dir()
    ]
    if faults:
        raise UsageError("\n".join(faults))
    school = None if site is None else site.config
    with progress("replaying", sum(path.stat().st_size for path in readings)) as update:
        result = replay_files(
            readings,
            policy=replay_policy(school),
            registry=None if school is None else school.registry(),
            budgets=None if school is None else alert_budgets(school),
            on_bytes=lambda n: update(advance=n),
        )
    write_alerts(alerts, result.alerts)
    if events is not None:
        write_events(events, result)
    counts = {
        "readings": result.readings,
        "events": len(result.events),
        "alerts": len(result.alerts),
    }
    lines = [", ".join(f"{n} {name}" for name, n in counts.items())]
    if not result.has_particles and result.readings:
        columns = ", ".join(FINE_PARTICLES)
        lines.append(f"no particles in them ({columns}), so vaping cannot be detected")
    if result.replaced:
        lines.append(f"{result.replaced} stamped in the future: put between the rows around them")
    if result.unjudged:
        lines.append(f"{result.unjudged} skipped: not later than the sensor's reading before")
    printer.sum_up("\n".join(lines), **counts, replaced=result.replaced, unjudged=result.unjudged)


@app.command(
    rich_help_panel="Recorded and simulated air",
    epilog=examples(
        "plumewatch simulate --days 1 --out readings.csv.gz --truth truth.csv",
        "plumewatch simulate --publish 127.0.0.1:1883 --live --days 0.1 --patience 60",
    ),
)
def simulate(
    *,
    school: Annotated[str, typer.Option(help="small, district, or a scenario file.")] = "small",
    seed: Annotated[int, typer.Option(help="Same seed, same readings.")] = 1,
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
    ledger: Annotated[
        Path | None, typer.Option(help="Append each acknowledged sensor,seq here.")
    ] = None,
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for an unreachable broker.")
    ] = 0.0,
    vape_rate: Annotated[
        float | None, typer.Option(help="Factor on how often vaping happens.")
    ] = None,
    nuisance_rate: Annotated[float | None, typer.Option(help="Factor on everything else.")] = None,
    activity: Annotated[str | None, typer.Option(help="ordinary, hard_restroom or demo.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Shift event times to the wall clock.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Simulate a school: publish what real devices publish, or write readings and truth."""
    from sensor_sim.errors import BrokerAddressError
    from sensor_sim.publish import BrokerAddress, live_offset
    from sensor_sim.simulation_run import SimulationRun

    printer = Printer(as_json=as_json)
    faults = [
        f"--{name}: {value} (allowed: {allowed})"
        for name, value, ok, allowed in (
            ("seed", seed, 0 <= seed < 2**31, "0 to 2147483647"),
            ("days", days, 0 < days <= _MOST_DAYS, f"above 0 to {_MOST_DAYS}"),
            ("patience", patience, 0 <= patience <= _DAY_S, "0 to 86400 seconds"),
            ("vape-rate", vape_rate, 0 <= (vape_rate or 0) <= 1000, "0 to 1000"),
            ("nuisance-rate", nuisance_rate, 0 <= (nuisance_rate or 0) <= 1000, "0 to 1000"),
            ("activity", activity, activity in (None, *_ACTIVITIES), ", ".join(_ACTIVITIES)),
        )
        if not ok
    ]
    faults += _file_faults(out, truth, publish=publish is not None, live=live or ledger is not None)
    factor = math.inf if speed == "max" else _number(speed)
    if not factor > 0 or (math.isinf(factor) and speed != "max"):
        faults.append(f"--speed: {speed!r} (allowed: a number above 0, or max)")
    address = None
    try:
        address = None if publish is None else BrokerAddress.parse(publish)
    except BrokerAddressError as error:
        faults.append(f"--publish: {error}")
    begin = _start(start, faults)
    scenario = _scenario(school, begin, faults)
    if faults or scenario is None:
        raise UsageError("\n".join(faults))
    duration_s, offset_s = days * _DAY_S, 0.0
    if live:
        offset_s = live_offset(begin, duration_s, factor, time.time())
    if live and start is None:
        begin, offset_s = float(math.floor(begin + offset_s)), 0.0
        scenario = cast("Scenario", _scenario(school, begin, faults))
    scenario = replace(
        scenario,
        vape_rate=scenario.vape_rate if vape_rate is None else vape_rate,
        nuisance_rate=scenario.nuisance_rate if nuisance_rate is None else nuisance_rate,
        activity=cast("Activity", activity) if activity else scenario.activity,
    )
    run = SimulationRun(scenario, seed, begin, duration_s, offset_s)
    if address is None:
        _write(run, cast("Path", out), truth, printer)
    else:
        _publish(run, address, truth, ledger, factor, patience, printer)


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
        yield "--live, --ledger: only with --publish"


def _scenario(name: str, start: float, faults: list[str]) -> Scenario | None:
    from sensor_sim.errors import ScenarioError
    from sensor_sim.scenarios.scenario import Scenario, load_scenario
    from sensor_sim.school import School

    shipped = {"small": School.small, "district": School.district}.get(name)
    if shipped is not None:
        school = shipped()
        return Scenario(school, timezone(timedelta(seconds=school.utc_offset_s)))
    path = Path(name)
    if not path.exists() and path.suffix != ".toml":
        faults.append(f"--school: {name!r} (allowed: small, district, or a scenario file)")
        return None
    try:
        return load_scenario(path, start)
    except ScenarioError as error:
        faults.append(str(error))
        return None


def _write(run: SimulationRun, out: Path, truth: Path | None, printer: Printer) -> None:
    from sensor_sim.export import ReadingsCsv, TruthCsv

    devices = run.scenario.school.devices
    attacks = run.scenario.message_attacks(run.start, run.seed)
    if attacks:
        names = ", ".join(sorted({type(attack).__name__ for attack in attacks}))
        sys.stderr.write(f"attacks on the wire have no place in a file: {names}\n")
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
    ledger: Path | None,
    speed: float,
    patience_s: float,
    printer: Printer,
) -> None:
    import asyncio

    from sensor_sim.errors import BrokerRefusedError, BrokerUnreachableError
    from sensor_sim.export import TruthCsv, TruthStream
    from sensor_sim.publish import Ledger, Prefetched, Publisher, PublishSettings

    begin, shown = run.start + run.offset_s, 0.0
    with ExitStack() as stack:
        truths: TruthCsv | None = None
        if truth == STANDARD_OUTPUT:
            truths = TruthStream(sys.stdout.buffer)
        elif truth is not None:
            truths = stack.enter_context(TruthCsv(truth))
        acknowledged = stack.enter_context(Ledger(ledger)) if ledger else None
        update = stack.enter_context(progress("publishing", run.duration_s))

        def show(report: PublishReport, sent: float) -> None:
            nonlocal shown
            if time.monotonic() - shown > 0.1:
                shown = time.monotonic()
                text = f"publishing, {report.messages:,} messages"
                update(completed=sent - begin, description=text)

        settings = PublishSettings(speed=speed, patience_s=patience_s)
        publisher = Publisher(address, settings, ledger=acknowledged, on_progress=show)
        messages = Prefetched(run.messages(_WIRE_CHUNK_S, truths))
        try:
            report = asyncio.run(publisher.run(messages))
        except (BrokerUnreachableError, BrokerRefusedError) as error:
            raise UnreachableError(str(error)) from error
    rate = report.messages / max(report.wall_s, 1e-9)
    printer.sum_up(
        f"{report.messages:,} messages to {address}, {rate:,.0f} a second",
        messages=report.messages,
        broker=str(address),
        seconds=round(report.wall_s, 3),
    )
