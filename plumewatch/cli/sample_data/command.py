"""`plumewatch sample-data`: a new folder with configuration and data of a made-up school."""

from __future__ import annotations

import random
import re
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from plumewatch.cli.options import CONFIG, examples
from plumewatch.cli.printer import echo
from plumewatch.errors import UsageError

app = typer.Typer()

_SCHOOL: Final = Path(__file__).parents[1] / "school.toml"
_CHANGES: Final = (
    ('site = "Simulated High School"', 'site = "Sample High School (made-up data)"'),
    ('timezone = "UTC"', 'timezone = "America/New_York"'),
)


@app.command(
    "sample-data",
    rich_help_panel="Simulation and history",
    epilog=examples("plumewatch sample-data sample --weeks 12"),
)
def sample_data(
    folder: Annotated[Path, typer.Argument(help="A new folder for configuration and data.")],
    *,
    weeks: Annotated[int, typer.Option(help="Length, up to yesterday.", min=1, max=52)] = 12,
    seed: Annotated[int, typer.Option(help="Same seed and day, same data.", min=0)] = 1,
) -> None:
    """Fill a folder with the data of a made-up school, to try pages, reports and dashboards."""
    from plumewatch.cli.sample_data.incidents import fill_series, fill_state, made_up_detections
    from plumewatch.config.load import load

    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; it must be a new folder") from error
    path = folder / CONFIG
    text = re.sub(r"notify = .*\n", "", _SCHOOL.read_text(encoding="utf-8"))
    for before, after in _CHANGES:
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
    config = load(path)
    last = datetime.fromtimestamp(time.time(), config.zone()).date()
    first = last - timedelta(weeks=weeks)
    rng = random.Random(f"{seed} {last}")  # noqa: S311 - made-up data
    alerts = list(made_up_detections(config, first, last, rng))
    incidents = fill_state(config, first, alerts, rng)
    readings = fill_series(config, first, last, alerts, rng)
    echo(
        f"{folder}: {incidents} incidents and {readings:,} readings of a made-up school, {first} to"
        f" {last - timedelta(days=1)}. Try:\n"
        f"  plumewatch staff password administrator --generate --config {path}\n"
        f"  plumewatch run --config {path}\n"
        f"  plumewatch report summary --config {path} --from {first} --to {last} --format pdf"
    )
