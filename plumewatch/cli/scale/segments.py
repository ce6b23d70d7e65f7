"""`plumewatch segments`: accepted readings as a history of Parquet."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from plumewatch.cli.options import JsonOption, Site, examples
from plumewatch.cli.printer import Printer, progress
from plumewatch.errors import UsageError
from scale.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scale.history import HistoryWriter
    from storage.registry import Registry

app = typer.Typer()

_SENSORS_A_BUCKET: Final = 1000
"""A detector processes many sensors in one pass at hardly more cost than few."""


@app.command(
    rich_help_panel="Simulation and history",
    epilog=examples(
        "plumewatch segments history --config plumewatch.toml",
        "plumewatch segments history --recording readings.csv.gz",
    ),
)
def segments(
    history: Annotated[Path, typer.Argument(help="Folder; made if it does not exist.")],
    *,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Whose journal and sensor places.")
    ] = None,
    recording: Annotated[
        list[Path] | None, typer.Option(help="A .csv or .csv.gz instead; may be repeated.")
    ] = None,
    buckets: Annotated[
        int | None,
        typer.Option(
            help="Of a new history; one per thousand sensors if left out.", min=1, max=4096
        ),
    ] = None,
    every: Annotated[float, typer.Option(help="Repeat at this interval, s; 0 ends.", min=0)] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Land accepted readings as Parquet, each once: for Spark, any other program."""
    from scale.history import HistoryWriter
    from storage.registry import Registry

    site = Site.load(config) if config else None
    printer = Printer(as_json=as_json)
    if site is None and not recording:
        raise UsageError("--config FILE: whose journal to land; or --recording FILE")
    registry = Registry() if site is None else site.config.registry()
    default_buckets = max(2, -(-len(registry.sensors) // _SENSORS_A_BUCKET))
    try:
        with HistoryWriter(history, buckets, default_buckets) as writer:
            if site is None or recording:
                count = _land_recordings(recording or [], registry, writer)
                _print_landed(count, 0, writer, printer)
                return
            while True:
                count, missed = _land_journal(site.paths.journal, registry, writer)
                if count or missed or not every:
                    _print_landed(count, missed, writer, printer)
                if not every or threading.Event().wait(every):
                    return
    except HistoryError as error:
        raise UsageError(str(error)) from error


def _land_journal(path: Path, registry: Registry, writer: HistoryWriter) -> tuple[int, int]:
    from scale.landing import land_journal
    from storage.journal import JournalReader

    with JournalReader(path) as journal, progress("landing", 1.0) as update:
        return land_journal(journal, registry, writer, lambda n: update(completed=n))


def _land_recordings(paths: Sequence[Path], registry: Registry, writer: HistoryWriter) -> int:
    from ingest.files.recordings import read_recordings
    from scale.landing import land_recordings

    with progress("landing", sum(path.stat().st_size for path in paths)) as update:
        readings = read_recordings(paths, lambda n: update(advance=n))
        return land_recordings(readings, registry, writer)


def _print_landed(count: int, missed: int, writer: HistoryWriter, printer: Printer) -> None:
    text = f"{count} readings landed, {writer.position} in all, in {writer.buckets} buckets"
    if missed:
        text += (
            f"\n{missed} readings had been deleted from the journal before: run this more often, or"
            " let the journal keep more (journal.keep_days)"
        )
    printer.sum_up(text, landed=count, missed=missed, readings=writer.position)
