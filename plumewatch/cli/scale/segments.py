"""`plumewatch segments`: write accepted readings to a history of Parquet files."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from plumewatch.cli.options import CONFIG, ConfigOption, Site, list_examples
from plumewatch.cli.printer import echo, show_progress
from plumewatch.errors import UsageError
from scale.errors import HistoryError

if TYPE_CHECKING:
    from scale.history import HistoryWriter
    from storage.registry import Registry

app = typer.Typer()

_SENSORS_A_BUCKET: Final = 1000
"""Sensors per bucket; a detector pass over many sensors costs barely more than one over a few."""


@app.command(
    rich_help_panel="Simulation and history",
    epilog=list_examples("plumewatch segments history", "plumewatch segments history --every 5"),
)
def segments(
    history: Annotated[Path, typer.Argument(help="Folder; created if it doesn't exist.")],
    *,
    config: ConfigOption = CONFIG,
    every: Annotated[
        float, typer.Option(help="Seconds between runs; 0 to run only once.", min=0)
    ] = 0.0,
) -> None:
    """Write accepted readings to Parquet files, each once, for Spark and other programs."""
    from scale.history import HistoryWriter

    site = Site.load(config)
    registry = site.config.build_registry()
    buckets = max(2, -(-len(registry.sensors) // _SENSORS_A_BUCKET))
    try:
        with HistoryWriter(history, buckets) as writer:
            while True:
                count, missed = _land_journal(site.paths.journal, registry, writer)
                if count or missed or not every:
                    _print_landed(count, missed, writer)
                if not every or threading.Event().wait(every):
                    return
    except HistoryError as error:
        raise UsageError(str(error)) from error


def _land_journal(path: Path, registry: Registry, writer: HistoryWriter) -> tuple[int, int]:
    from scale.landing import land_journal
    from storage.journal import JournalReader

    with JournalReader(path) as journal, show_progress("writing", 1.0) as update:
        return land_journal(journal, registry, writer, lambda n: update(completed=n))


def _print_landed(count: int, missed: int, writer: HistoryWriter) -> None:
    text = f"{count} readings written, {writer.position} in all, in {writer.buckets} buckets"
    if missed:
        text += (
            f"\n{missed} readings had been deleted from the journal before: run this more often, or"
            " let the journal keep more (journal.keep_days)"
        )
    echo(text, err=True)
