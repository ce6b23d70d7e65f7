"""The command line. Heavy parts are imported by the command that needs them.

Exit codes: 0 done, 1 the input was refused, 2 bad usage or configuration, 3 a service that is
needed is not reachable.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from plumewatch.cli_options import ConfigOption  # noqa: TC001 - typer reads it
from plumewatch.cli_reports import APPS
from plumewatch.dashboards_command import app as dashboards_app

__all__ = ["app", "main"]

DONE, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3
_MOST_TO_DECODE = 64 * 1024 * 1024

app = typer.Typer(
    name="plumewatch",
    help="Vape-sensor telemetry and alerting for schools.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

mapping_app = typer.Typer(
    help="Formats of devices that no decoder knows, from the configuration.", no_args_is_help=True
)
app.add_typer(mapping_app, name="mapping")

levels_app = typer.Typer(help="What each sensor alerts from, and what that costs.")
app.add_typer(levels_app, name="levels")

routes_app = typer.Typer(help="Who is told of what, when and why.", no_args_is_help=True)
app.add_typer(routes_app, name="routes")

export_app = typer.Typer(help="What is stored, as files.", no_args_is_help=True)
app.add_typer(export_app, name="export")

storage_app = typer.Typer(help="Where readings are stored for good.", no_args_is_help=True)
app.add_typer(storage_app, name="storage")

for called, group in APPS.items():
    app.add_typer(group, name=called)

staff_app = typer.Typer(help="Who may sign in on the staff page.", no_args_is_help=True)
app.add_typer(staff_app, name="staff")

app.add_typer(dashboards_app, name="dashboards")


def main() -> None:
    """Run the command line; a broken pipe or Ctrl-C is no traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(DONE)


def _fail(message: str, code: int) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(code)


@app.command()
def version(*, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Print the version of the program and of the detector's model."""
    from detection.model import Model  # noqa: PLC0415 - imported where needed
    from plumewatch import __version__  # noqa: PLC0415

    if as_json:
        typer.echo(json.dumps({"version": __version__, "model": Model.shipped().version}))
    else:
        typer.echo(f"plumewatch {__version__} (detector model {Model.shipped().version})")


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("plumewatch.toml"),
) -> None:
    """Write a commented starter configuration."""
    from plumewatch.starter import STARTER  # noqa: PLC0415

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(STARTER)
    except FileExistsError as error:
        raise _fail(f"{path}: exists already; choose another name", USAGE) from error
    except OSError as error:
        raise _fail(f"{path}: {error.strerror}", USAGE) from error
    typer.echo(f"wrote {path}; next: edit it, then `plumewatch check --config {path}`")


@app.command()
def check(
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a finding.")] = False,
) -> None:
    """List all faults of a configuration, then try broker, store and notifiers."""
    from plumewatch.check import run_check  # noqa: PLC0415

    raise typer.Exit(run_check(config, as_json=as_json, out=sys.stdout))


@app.command()
def run(
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another service holds the data folder.")
    ] = False,
) -> None:
    """Run the service: ingest, detection, alerts and the staff page."""
    from plumewatch.running import run_service  # noqa: PLC0415

    raise typer.Exit(run_service(config, standby=standby))


@app.command()
def status(
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a sensor.")] = False,
) -> None:
    """Print what is known and counted of every registered sensor."""
    from plumewatch.status import run_status  # noqa: PLC0415

    raise typer.Exit(run_status(config, sys.stdout, as_json=as_json))


@app.command()
def backup(
    target: Annotated[
        Path, typer.Argument(help="Folder, in which one with the time is made; or FILE.tar[.gz].")
    ],
    config: ConfigOption = Path("plumewatch.toml"),
) -> None:
    """Copy journal, incidents and series while the service runs, and prove the copy."""
    from plumewatch.backup_command import run_backup  # noqa: PLC0415

    raise typer.Exit(run_backup(config, target, sys.stdout, time.time()))


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="What `plumewatch backup` wrote.")],
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only prove it; change nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Move databases that are there already aside.")
    ] = False,
) -> None:
    """Prove a backup and put it in place; the service must not run."""
    from plumewatch.backup_command import run_restore  # noqa: PLC0415

    raise typer.Exit(
        run_restore(config, source, sys.stdout, time.time(), only_verify=verify, force=force)
    )


@app.command("timeline")
def show_timeline(
    config: ConfigOption = Path("plumewatch.toml"),
    room: Annotated[str, typer.Option("--room", help="Id of a room; the first one if empty.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="What is detected there.")] = "vape",
    at: Annotated[str, typer.Option("--at", help="Local time, 2026-09-07T10:05.")] = "",
) -> None:
    """Print who would be told when after an alert, and what keeps notices few."""
    from plumewatch.timeline_command import run_timeline  # noqa: PLC0415

    raise typer.Exit(run_timeline(config, sys.stdout, room=room, kind=kind, at=at))


@levels_app.callback(invoke_without_command=True)
def levels(
    context: typer.Context,
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a sensor.")] = False,
) -> None:
    """Print each sensor's level, budget, expected false alarms and cost in sensitivity."""
    if context.invoked_subcommand is not None:
        return
    from plumewatch.levels import run_levels  # noqa: PLC0415

    raise typer.Exit(run_levels(config, sys.stdout, as_json=as_json))


@levels_app.command("moves")
def level_moves(
    config: ConfigOption = Path("plumewatch.toml"),
    sensor: Annotated[str, typer.Option("--sensor", help="Only of this sensor.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")] = 20,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a move.")] = False,
) -> None:
    """Print the moves that feedback made, newest first."""
    from plumewatch.levels import run_moves  # noqa: PLC0415

    raise typer.Exit(run_moves(config, sys.stdout, sensor=sensor, limit=limit, as_json=as_json))


@levels_app.command("undo")
def level_undo(
    number: Annotated[int, typer.Argument(help="Number of the move (see `levels moves`).")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays on record.")],
    config: ConfigOption = Path("plumewatch.toml"),
    who: Annotated[str, typer.Option("--who", help="Who says so; you by default.")] = "",
) -> None:
    """Take a move of a sensor's level back."""
    from plumewatch.levels import run_undo  # noqa: PLC0415

    raise typer.Exit(run_undo(config, number, sys.stdout, reason=reason, who=who, now=time.time()))


@routes_app.command("test")
def routes_test(
    labels: Annotated[
        list[str], typer.Argument(help="What happened, as in: room=N2-boys kind=vape")
    ],
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    at: Annotated[
        str,
        typer.Option("--at", help="As in 2026-09-07T10:05, in the school's zone; now if empty."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON line.")] = False,
) -> None:
    """Print who would be told of an incident, in what order, and why."""
    from plumewatch.routes_command import run_test  # noqa: PLC0415

    raise typer.Exit(run_test(config, labels, sys.stdout, at=at, as_json=as_json))


@routes_app.command("gaps")
def routes_gaps(
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    start: Annotated[str, typer.Option("--from", help="First day, as in 2026-09-07.")] = "",
    days: Annotated[int, typer.Option("--days", min=1, max=400, help="How many days.")] = 14,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a gap.")] = False,
) -> None:
    """List every lesson period in which a room has nobody on duty in reach."""
    from plumewatch.routes_command import run_gaps  # noqa: PLC0415

    raise typer.Exit(run_gaps(config, sys.stdout, start=start, days=days, as_json=as_json))


@storage_app.command("setup")
def storage_setup(
    config: ConfigOption = Path("plumewatch.toml"),
    reader_file: Annotated[
        Path | None,
        typer.Option(
            "--reader-file", help="Make an account that may only read; where its secret goes."
        ),
    ] = None,
) -> None:
    """Set retention and averages up where the configuration says readings are stored."""
    from plumewatch.storage_command import run_setup  # noqa: PLC0415

    raise typer.Exit(run_setup(config, sys.stdout, time.time(), reader_file))


@storage_app.command("retry")
def storage_retry(config: ConfigOption = Path("plumewatch.toml")) -> None:
    """Store readings again that the series refused, when what was wrong is put right."""
    from plumewatch.transfer_command import run_retry  # noqa: PLC0415

    raise typer.Exit(run_retry(config, sys.stdout))


@export_app.command("readings")
def export_readings(
    start: Annotated[
        str,
        typer.Option("--from", help="Date, date with time, or Unix seconds; oldest if left out."),
    ] = "",
    end: Annotated[
        str, typer.Option("--to", help="The same; a date includes that day; newest if left out.")
    ] = "",
    kind: Annotated[str, typer.Option("--format", help="csv or parquet.")] = "csv",
    out: Annotated[
        Path | None, typer.Option("--out", help="File; readings.csv or readings.parquet.")
    ] = None,
    sensor: Annotated[
        list[str] | None, typer.Option("--sensor", help="Only of this sensor; may be repeated.")
    ] = None,
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there.")
    ] = False,
) -> None:
    """Write stored readings to a file, in time order, as many as there are."""
    from plumewatch.transfer_command import run_export  # noqa: PLC0415

    if kind not in ("csv", "parquet"):
        raise _fail(f"--format {kind}: csv or parquet", USAGE)
    raise typer.Exit(
        run_export(
            config,
            start=start,
            end=end,
            kind="csv" if kind == "csv" else "parquet",
            out=out,
            sensors=sensor or [],
            force=force,
            now=time.time(),
        )
    )


@app.command("import")
def import_readings(
    files: Annotated[list[Path], typer.Argument(help="Old readings, .csv or .csv.gz.")],
    config: ConfigOption = Path("plumewatch.toml"),
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="KEY=HEADER, such as pm25='PM2.5 (ug/m3)'; may be repeated."),
    ] = None,
    sensor: Annotated[
        str, typer.Option("--sensor", help="Sensor of files without such a column.")
    ] = "",
    time_format: Annotated[
        str, typer.Option("--time-format", help="Such as '%m/%d/%Y %H:%M'; the school's zone.")
    ] = "",
    rejected: Annotated[
        Path | None, typer.Option("--rejected", help="Where to list the rows that are left out.")
    ] = None,
) -> None:
    """Load old readings into the store; nothing of them alerts, and again changes nothing."""
    from plumewatch.transfer_command import ImportOptions, columns_of, run_import  # noqa: PLC0415

    try:
        columns = columns_of(column or [])
    except ValueError as error:
        raise _fail(str(error), USAGE) from error
    options = ImportOptions(columns, sensor, time_format, rejected)
    raise typer.Exit(run_import(config, files, options, time.time()))


@app.command("dead-letters")
def dead_letters(
    number: Annotated[
        int | None, typer.Argument(help="Show this one whole, its content escaped.")
    ] = None,
    config: ConfigOption = Path("plumewatch.toml"),
    reason: Annotated[str, typer.Option("--reason", help="Only those refused for it.")] = "",
    source: Annotated[
        str, typer.Option("--source", help="Only of this decoder, or of topics that begin so.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 20,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a message.")] = False,
) -> None:
    """List refused messages, newest first, or show one."""
    from plumewatch.status import run_dead_letters  # noqa: PLC0415

    raise typer.Exit(
        run_dead_letters(
            config,
            sys.stdout,
            number=number,
            reason=reason,
            source=source,
            limit=limit,
            as_json=as_json,
        )
    )


@app.command()
def replay(
    readings: Annotated[list[Path], typer.Argument(help="Recorded readings, .csv or .csv.gz.")],
    alerts: Annotated[Path, typer.Option("--alerts", help="Where to write the alerts (CSV).")],
    events: Annotated[
        Path | None, typer.Option("--events", help="Where to write all events (CSV).")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Rooms and rules of a real school.")
    ] = None,
) -> None:
    """Push recorded readings through the production path, on their own clock."""
    from plumewatch.replay_command import run_replay  # noqa: PLC0415

    raise typer.Exit(run_replay(readings, alerts, events, config))


@app.command()
def decode(
    topic: Annotated[str | None, typer.Option("--topic", help="MQTT topic of the message.")] = None,
    file: Annotated[Path | None, typer.Argument(help="Payload; standard input without it.")] = None,
    *,
    lines: Annotated[
        bool,
        typer.Option("--lines", help="Instead of --topic: a topic and a payload a line."),
    ] = False,
    is_hex: Annotated[bool, typer.Option("--hex", help="The payload is hex digits.")] = False,
    is_base64: Annotated[bool, typer.Option("--base64", help="The payload is base64.")] = False,
    decoder: Annotated[
        str | None,
        typer.Option("--decoder", help="Decoder, or mapping:NAME, instead of the topic's."),
    ] = None,
    retained: Annotated[
        bool, typer.Option("--retained", help="As delivered from the broker's store.")
    ] = False,
    flags: Annotated[bool, typer.Option("--flags", help="Show quality flags too.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Whose mappings and routes count too.")
    ] = None,
) -> None:
    """Print what a message means, one JSON line a reading."""
    from plumewatch.decode import DecodeOptions, decode_command  # noqa: PLC0415

    try:
        with nullcontext(sys.stdin.buffer) if file is None else file.open("rb") as source:
            data = source.read(_MOST_TO_DECODE + 1)
    except OSError as error:
        raise _fail(f"{file}: {error.strerror}", USAGE) from error
    if len(data) > _MOST_TO_DECODE:
        raise _fail(f"rejected: too_large: more than {_MOST_TO_DECODE} bytes", REFUSED)
    options = DecodeOptions(decoder, lines, is_hex, is_base64, retained, flags)
    raise typer.Exit(decode_command(topic, data, sys.stdout, sys.stderr, options, config))


@staff_app.command("list")
def staff_list(
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a person.")] = False,
) -> None:
    """Print staff, their roles, and who can sign in."""
    from plumewatch.staff_command import run_list  # noqa: PLC0415

    raise typer.Exit(run_list(config, time.time(), sys.stdout, as_json=as_json))


@staff_app.command("password")
def staff_password(
    person: Annotated[str, typer.Argument(help="Id of a `staff` block.")],
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    generate: Annotated[
        bool, typer.Option("--generate", help="Make one and print it, to be changed by its owner.")
    ] = False,
) -> None:
    """Set a password, asked for or from standard input; ends the person's sessions."""
    from plumewatch.staff_command import run_password  # noqa: PLC0415

    now = time.time()
    raise typer.Exit(
        run_password(config, person, now, source=sys.stdin, out=sys.stdout, generate=generate)
    )


@staff_app.command("sign-out")
def staff_sign_out(
    person: Annotated[str, typer.Argument(help="Id, also of one who is not listed any more.")],
    config: ConfigOption = Path("plumewatch.toml"),
) -> None:
    """Sign a person out everywhere."""
    from plumewatch.staff_command import run_sign_out  # noqa: PLC0415

    raise typer.Exit(run_sign_out(config, person, time.time(), sys.stdout))


@mapping_app.command("suggest")
def mapping_suggest(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Payloads, one a line or one a file; standard input without any."),
    ] = None,
    topic: Annotated[
        str, typer.Option("--topic", help="MQTT topic of the payloads, or with {captures}.")
    ] = "",
    name: Annotated[str, typer.Option("--name", help="Name of the mapping.")] = "",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Whose time zone local times are in.")
    ] = None,
) -> None:
    """Propose a mapping (TOML) from payloads or Home Assistant discovery messages."""
    from plumewatch.mapping_command import run_suggest  # noqa: PLC0415

    data = None if files else sys.stdin.buffer.read()
    raise typer.Exit(
        run_suggest(
            topic,
            files or [],
            data,
            sys.stdout,
            sys.stderr,
            name=name,
            config=config,
            now=time.time(),
        )
    )


@mapping_app.command("test")
def mapping_test(config: ConfigOption = Path("plumewatch.toml")) -> None:
    """Run the examples of every mapping of a configuration."""
    from plumewatch.mapping_command import run_test  # noqa: PLC0415

    raise typer.Exit(run_test(config, sys.stdout, sys.stderr))


@app.command("http-template")
def http_template(
    decoder: Annotated[str, typer.Argument(help="Format of the device, such as halo.")] = "halo",
    url: Annotated[
        str, typer.Option("--url", help="Where the device reaches the HTTP door.")
    ] = "http://127.0.0.1:8421",
) -> None:
    """Print what to paste into a device that posts over HTTP."""
    from plumewatch.http_template import run_template  # noqa: PLC0415

    raise typer.Exit(run_template(decoder, url, sys.stdout, sys.stderr))


@app.command()
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
) -> None:
    """Simulate a school: publish what real devices publish, or write readings and truth."""
    from plumewatch.simulate import SimulateOptions, run_simulate  # noqa: PLC0415

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
    raise typer.Exit(run_simulate(options))


@app.command()
def demo(
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Port of the staff page.")
    ] = 8420,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, help="Stop by itself after this; 0 runs on.")
    ] = 0,
    *,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live screen.")] = False,
) -> None:
    """Run a simulated school, broker, detector, alerts and staff page on this machine."""
    from plumewatch.demo import run_demo  # noqa: PLC0415

    raise typer.Exit(run_demo(port=port, seconds=seconds, plain=plain))
