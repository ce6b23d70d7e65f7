"""`plumewatch storage` and `export`: set up the time-series store, and export readings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from language.plain_text import pluralize
from plumewatch.cli.options import (
    CONFIG,
    ConfigOption,
    ForceOption,
    Site,
    check_output,
    list_examples,
)
from plumewatch.cli.printer import echo, show_progress
from plumewatch.config.faults import list_known
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from storage.reading import Reading
    from storage.timeseries import Series

app = typer.Typer()
_AT_ONCE: Final = 50_000
"""Maximum number of readings in memory, if each sensor reports once a second."""
export_app = typer.Typer(help="Write stored records to files.", no_args_is_help=True)
app.add_typer(export_app, name="export", rich_help_panel="Storage")
storage_app = typer.Typer(help="The long-term store of the readings.", no_args_is_help=True)
app.add_typer(storage_app, name="storage", rich_help_panel="Storage")


@storage_app.command(
    "setup",
    epilog=list_examples(
        "plumewatch storage setup --reader-file deploy/influx-reader",
        "plumewatch storage setup --admin-token-file admin --service-file secrets/influx-token",
    ),
)
def storage_setup(
    *,
    config: ConfigOption = CONFIG,
    reader_file: Annotated[
        Path | None,
        typer.Option(help="Create a read-only account and write its secret to this file."),
    ] = None,
    service_file: Annotated[
        Path | None,
        typer.Option(help="Create an account for readings only and write its secret to this file."),
    ] = None,
    admin_token_file: Annotated[
        Path | None,
        typer.Option(help="File with the administrator's token or password, used once."),
    ] = None,
    admin_username: Annotated[
        str, typer.Option(help="Administrator's name on an InfluxDB 1.x.")
    ] = "",
) -> None:
    """Set up retention and averages in the store that the configuration names."""
    from plumewatch.cli.setup.site_files import create_secret_files
    from plumewatch.config.secrets import load_secret_at
    from plumewatch.config.settings import build_retention, read_influx_settings
    from storage.timeseries.influx_setup import set_up_server

    site = Site.load(config)
    retention = build_retention(site.config)
    secret = None
    if admin_token_file:
        secret = load_secret_at("admin_token", admin_token_file).reveal()
    admin = read_influx_settings(site.config, admin_username, secret)
    files = {True: service_file, False: reader_file}
    paths = {writes: path for writes, path in files.items() if path is not None}
    if admin is None:
        if paths or secret is not None:
            raise UsageError("the embedded store is a file, without accounts")
        echo(
            f"readings are kept in {site.paths.series} for {pluralize(retention.raw_days, 'day')},"
            f" averages of 1 min for {retention.minute_days} and of 15 min for"
            f" {retention.quarter_hour_days} days; there is nothing to set up"
        )
        return
    with show_progress("setting up"), create_secret_files(paths.values()):
        for writes, account in set_up_server(admin, retention, list(paths), echo).items():
            paths[writes].write_text(f"{account.secret}\n", encoding="utf-8")
    for path in paths.values():
        echo(f"its secret is in {path}")


@export_app.command(
    "readings",
    epilog=list_examples(
        "plumewatch export readings --from 2026-09-01 --to 2026-09-30",
        "plumewatch export readings --from 2026-09-07 --sensor n2-boys-1 --out boys.csv",
    ),
)
def export_readings(
    *,
    start: Annotated[str, typer.Option("--from", help="Date, date with time, or Unix seconds.")],
    end: Annotated[
        str,
        typer.Option("--to", help="Same formats; a date includes that whole day; now if left out."),
    ] = "",
    out: Annotated[Path, typer.Option(help="File.")] = Path("readings.csv"),
    sensor: Annotated[
        list[str] | None, typer.Option(help="Only this sensor; may be repeated.")
    ] = None,
    config: ConfigOption = CONFIG,
    force: ForceOption = False,
) -> None:
    """Write stored readings to a CSV file, in time order; `plumewatch replay` reads it."""
    from ingest.recordings import write_recordings
    from plumewatch.service.data_folder import open_series
    from storage.audit import AuditKind, append, find_machine_user

    site = Site.load(config)
    now, known = time.time(), {one.id for one in site.config.sensor}
    sensors = sensor or sorted(known)
    first = site.parse_time(start)
    last = site.parse_time(end, end=True) if end else now
    if first >= last:
        raise UsageError("--from is not before --to")
    if unknown := [name for name in sensors if name not in known]:
        there = list_known(unknown[0], known)
        raise UsageError(f"--sensor {unknown[0]}: no sensor has this id; the ids are: {there}")
    check_output(out, force=force)
    with open_series(site.config) as series, show_progress("exporting"):
        detail = {"readings": " ".join(sensor or ["all"])[:200], "from": start, "to": end}
        with site.transaction() as tx:
            append(tx, AuditKind.EXPORT, find_machine_user(), detail, now)
        count = write_recordings(out, _read_slices(series, first, last, sensors))
    echo(f"{out}: {pluralize(count, 'reading')}", err=True)


def _read_slices(
    series: Series, start: float, end: float, sensors: Collection[str]
) -> Iterator[Reading]:
    """Yield the readings of a span in time order; only some are in memory at a time."""
    while start < end:
        until = min(start + _AT_ONCE / len(sensors), end)
        yield from series.read_between(start, until, sensors)
        start = until
