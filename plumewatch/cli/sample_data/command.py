"""`plumewatch sample-data`: a new folder with configuration and data of a made-up school."""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plumewatch.cli.options import CONFIG
from plumewatch.cli.sample_data.incidents import fill_series, fill_state, made_up_detections
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from plumewatch.cli.printer import Printer


_SCHOOL: Final = Path(__file__).with_name("school.toml")


def sample_data(folder: Path, weeks: int = 12, seed: int = 1, *, printer: Printer) -> None:
    """Fill a folder with the data of a made-up school, to try pages, reports and dashboards."""
    from plumewatch.config.load import load

    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; it must be a new folder") from error
    path = folder / CONFIG
    path.write_text(_SCHOOL.read_text(encoding="utf-8"), encoding="utf-8")
    config = load(path)
    last = datetime.fromtimestamp(time.time(), config.zone()).date()
    first = last - timedelta(weeks=weeks)
    rng = random.Random(f"{seed} {last}")  # noqa: S311 - made-up data
    alerts = list(made_up_detections(config, first, last, rng))
    incidents = fill_state(config, first, alerts, rng)
    readings = fill_series(config, first, last, alerts, rng)
    printer.say(
        f"{folder}: {incidents} incidents and {readings:,} readings of a made-up school, {first} to"
        f" {last - timedelta(days=1)}. Try:\n"
        f"  plumewatch run --config {path}\n"
        f"  plumewatch report summary --config {path} --from {first} --to {last} --format pdf",
        folder=folder,
        incidents=incidents,
        readings=readings,
        first=str(first),
        last=str(last),
    )
