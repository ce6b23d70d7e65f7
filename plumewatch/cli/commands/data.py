"""Commands about what is stored: copies, files, the series, dashboards over it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from plumewatch.cli.commands.options import (
    ConfigOption,
    ForceOption,
    JsonOption,
    fail,
    group,
    manual,
)
from plumewatch.cli.exit_codes import USAGE
from plumewatch.cli.printer import Printer

app = typer.Typer()
export_app = group("What is stored, as files.")
storage_app = group("Where readings are stored for good.")
dashboards_app = group("Grafana dashboards: into files, or into a Grafana.")
app.add_typer(export_app, name="export")
app.add_typer(storage_app, name="storage")
app.add_typer(dashboards_app, name="dashboards")

UrlOption = Annotated[str, typer.Option("--url", help="Address of the Grafana.")]
TokenOption = Annotated[
    Path, typer.Option("--token-file", help="File with the token of a service account.")
]


@app.command(
    epilog=manual("plumewatch backup /backups", "plumewatch backup /backups/monday.tar.gz --json")
)
def backup(
    target: Annotated[
        Path, typer.Argument(help="Folder, in which one with the time is made; or FILE.tar[.gz].")
    ],
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Copy journal, incidents and series while the service runs, and prove the copy."""
    from plumewatch.cli.backup_command import run_backup  # noqa: PLC0415 - imported where needed

    raise typer.Exit(run_backup(config, target, Printer(as_json=as_json), time.time()))


@app.command(
    epilog=manual(
        "plumewatch restore --verify /backups/plumewatch-20260907T100500Z",
        "plumewatch restore /backups/monday.tar.gz --force",
    )
)
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
    as_json: JsonOption = False,
) -> None:
    """Prove a backup and put it in place; the service must not run."""
    from plumewatch.cli.backup_command import run_restore  # noqa: PLC0415

    printer = Printer(as_json=as_json)
    raise typer.Exit(
        run_restore(config, source, printer, time.time(), only_verify=verify, force=force)
    )


@storage_app.command(
    "setup",
    epilog=manual("plumewatch storage setup --reader-file deploy/influx-reader"),
)
def storage_setup(
    config: ConfigOption = Path("plumewatch.toml"),
    reader_file: Annotated[
        Path | None,
        typer.Option(
            "--reader-file", help="Make an account that may only read; where its secret goes."
        ),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Set retention and averages up where the configuration says readings are stored."""
    from plumewatch.cli.storage_command import run_setup  # noqa: PLC0415

    raise typer.Exit(run_setup(config, Printer(as_json=as_json), time.time(), reader_file))


@storage_app.command("retry", epilog=manual("plumewatch storage retry"))
def storage_retry(
    config: ConfigOption = Path("plumewatch.toml"), *, as_json: JsonOption = False
) -> None:
    """Store readings again that the series refused, when what was wrong is put right."""
    from plumewatch.cli.transfer_command import run_retry  # noqa: PLC0415

    raise typer.Exit(run_retry(config, Printer(as_json=as_json)))


@export_app.command(
    "readings",
    epilog=manual(
        "plumewatch export readings --from 2026-09-01 --to 2026-09-30 --format parquet",
        "plumewatch export readings --sensor n2-boys-1 --out boys.csv --force",
    ),
)
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
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write stored readings to a file, in time order, as many as there are."""
    from plumewatch.cli.transfer_command import run_export  # noqa: PLC0415

    if kind not in ("csv", "parquet"):
        raise fail(f"--format {kind}: csv or parquet", USAGE)
    raise typer.Exit(
        run_export(
            config,
            Printer(as_json=as_json),
            start=start,
            end=end,
            kind="csv" if kind == "csv" else "parquet",
            out=out,
            sensors=sensor or [],
            force=force,
            now=time.time(),
        )
    )


@app.command(
    "import",
    epilog=manual(
        "plumewatch import old.csv.gz --column pm25='PM2.5 (ug/m3)'",
        "plumewatch import log.csv --sensor n2-boys-1 --time-format '%m/%d/%Y %H:%M'",
    ),
)
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
    *,
    as_json: JsonOption = False,
) -> None:
    """Load old readings into the store; nothing of them alerts, and again changes nothing."""
    from plumewatch.cli.transfer_command import ImportOptions, columns_of, run_import  # noqa: PLC0415

    try:
        columns = columns_of(column or [])
    except ValueError as error:
        raise fail(str(error), USAGE) from error
    options = ImportOptions(columns, sensor, time_format, rejected)
    raise typer.Exit(run_import(config, files, options, Printer(as_json=as_json), time.time()))


@dashboards_app.command("build", epilog=manual("plumewatch dashboards build --out dashboards"))
def build(
    out: Annotated[Path, typer.Option("--out", help="Folder of the files.")] = Path("dashboards"),
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Configuration, for time zone and links."),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Write the dashboards as files for Grafana's provisioning; without --config, as shipped."""
    from plumewatch.cli.dashboards_command import run_build  # noqa: PLC0415

    raise typer.Exit(run_build(out, config, Printer(as_json=as_json)))


@dashboards_app.command(
    "push",
    epilog=manual("plumewatch dashboards push --url http://127.0.0.1:3000 --token-file token"),
)
def push(
    url: UrlOption,
    token_file: TokenOption,
    config: ConfigOption = Path("plumewatch.toml"),
    reader_file: Annotated[
        Path | None,
        typer.Option(
            "--reader-file",
            help="Secret of the account of `storage setup`, to make the data source.",
        ),
    ] = None,
    days: Annotated[
        float, typer.Option("--days", min=0, max=3660, help="Incidents written as annotations.")
    ] = 7.0,
    *,
    as_json: JsonOption = False,
) -> None:
    """Write folder, dashboards and annotations of incidents that differ; says what changed."""
    from plumewatch.cli.dashboards_command import run_push  # noqa: PLC0415

    printer = Printer(as_json=as_json)
    code = run_push(
        url, token_file, config, printer, reader_file=reader_file, days=days, now=time.time()
    )
    raise typer.Exit(code)


@dashboards_app.command(
    "diff",
    epilog=manual("plumewatch dashboards diff --url http://127.0.0.1:3000 --token-file token"),
)
def diff(
    url: UrlOption,
    token_file: TokenOption,
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Say what `push` would write; ends with 1 if anything, with 3 if the Grafana refuses."""
    from plumewatch.cli.dashboards_command import run_diff  # noqa: PLC0415

    raise typer.Exit(run_diff(url, token_file, config, Printer(as_json=as_json)))
