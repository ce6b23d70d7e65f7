"""Commands over recorded and simulated air."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from plumewatch.cli.commands.options import JsonOption, manual
from plumewatch.cli.printer import Printer

app = typer.Typer()


@app.command(
    epilog=manual(
        "plumewatch replay readings.csv.gz --alerts alerts.csv --events events.csv",
        "plumewatch replay monday.csv tuesday.csv --alerts alerts.csv --config plumewatch.toml",
    )
)
def replay(
    readings: Annotated[list[Path], typer.Argument(help="Recorded readings, .csv or .csv.gz.")],
    alerts: Annotated[Path, typer.Option("--alerts", help="Where to write the alerts (CSV).")],
    events: Annotated[
        Path | None, typer.Option("--events", help="Where to write all events (CSV).")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Rooms and rules of a real school.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Push recorded readings through the production path, on their own clock."""
    from plumewatch.cli.replay_command import run_replay  # noqa: PLC0415 - imported where needed

    raise typer.Exit(run_replay(readings, alerts, events, config, Printer(as_json=as_json)))


@app.command(
    epilog=manual(
        "plumewatch simulate --days 1 --out readings.csv.gz --truth truth.csv",
        "plumewatch simulate --publish 127.0.0.1:1883 --live --days 0.1 --patience 60",
    )
)
def simulate(
    school: Annotated[
        str, typer.Option("--school", help="small, district, or a scenario file.")
    ] = "small",
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same readings.")] = 1,
    days: Annotated[float, typer.Option("--days", help="Simulated length, days.")] = 1.0,
    speed: Annotated[
        str, typer.Option("--speed", help="Simulated seconds in a second, or max.")
    ] = "1",
    publish: Annotated[
        str | None, typer.Option("--publish", help="Broker: [mqtt[s]://][user@]host[:port].")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Readings as .csv or .csv.gz instead.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="What really happened, as CSV.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="Start of the simulation, ISO 8601.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option("--ledger", help="Append each acknowledged sensor,seq here.")
    ] = None,
    patience: Annotated[
        float, typer.Option("--patience", help="Seconds to keep trying a broker that is away.")
    ] = 0.0,
    vape_rate: Annotated[
        float | None, typer.Option("--vape-rate", help="Factor on how often vaping happens.")
    ] = None,
    nuisance_rate: Annotated[
        float | None, typer.Option("--nuisance-rate", help="Factor on everything else.")
    ] = None,
    activity: Annotated[
        str | None, typer.Option("--activity", help="ordinary, hard_restroom or demo.")
    ] = None,
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Shift event times to the wall clock.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Simulate a school: publish what real devices publish, or write readings and truth."""
    from plumewatch.cli.simulate import SimulateOptions, run_simulate  # noqa: PLC0415

    options = SimulateOptions(
        school=school,
        seed=seed,
        days=days,
        publish=publish,
        out=out,
        truth=truth,
        speed=speed,
        start=start,
        live=live,
        ledger=ledger,
        patience_s=patience,
        vape_rate=vape_rate,
        nuisance_rate=nuisance_rate,
        activity=activity,
    )
    raise typer.Exit(run_simulate(options, Printer(as_json=as_json)))
