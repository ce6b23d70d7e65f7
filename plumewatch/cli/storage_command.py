"""``plumewatch storage setup``: retention and averages where the readings are stored."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from plumewatch.cli.exit_codes import DONE, UNREACHABLE, USAGE, told
from plumewatch.cli.progress import progress
from plumewatch.config.paths import DataPaths
from plumewatch.config.sharding import load_shard
from plumewatch.config.timeseries_settings import influx_settings, retention_of
from storage.errors import StorageUnavailableError
from storage.timeseries.influx_http import InfluxHttp
from storage.timeseries.influx_setup import make_reader, set_up

if TYPE_CHECKING:
    from pathlib import Path

    from plumewatch.cli.printer import Printer
    from storage.timeseries.influx_http import InfluxSettings


@told()
def run_setup(path: Path, printer: Printer, now: float, reader_file: Path | None = None) -> int:
    """Set the store of a configuration up.

    Parameters
    ----------
    now : float
        Unix seconds.
    reader_file : Path, optional
        Where to write the secret of an account that may only read, made too.

    Returns
    -------
    int
        0 done, 2 the configuration has faults, 3 the server does not answer or refuses.
    """
    config = load_shard(path)
    settings = influx_settings(config)
    retention = retention_of(config)
    if settings is None:
        if reader_file is not None:
            sys.stderr.write("the embedded store is a file and has no accounts\n")
            return USAGE
        printer.say(
            f"readings are kept in {DataPaths(config.data_dir).series} for {retention.raw_days}"
            f" days, averages of 1 min for {retention.minute_days} and of 15 min for"
            f" {retention.quarter_hour_days} days; the service sees to it by itself",
            store=DataPaths(config.data_dir).series,
            raw_days=retention.raw_days,
            minute_days=retention.minute_days,
            quarter_hour_days=retention.quarter_hour_days,
        )
        return DONE
    said = ""
    with progress() as bar:
        task = bar.add_task("setting up", total=1.0)
        try:
            for sentence, share in set_up(InfluxHttp(settings), retention, now):
                bar.update(task, completed=share)
                if sentence != said:
                    printer.say(sentence, done=sentence)
                said = sentence
        except StorageUnavailableError as error:
            sys.stderr.write(f"{error}\n")
            return UNREACHABLE
    return 0 if reader_file is None else _reader(settings, reader_file, printer)


def _reader(settings: InfluxSettings, path: Path, printer: Printer) -> int:
    """Make the account and write its secret, for its owner only."""
    try:
        path.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        sys.stderr.write(f"{path}: {error.strerror}; the secret needs a new file\n")
        return USAGE
    try:
        secret, sentence = make_reader(InfluxHttp(settings))
        path.write_text(f"{secret}\n", encoding="utf-8")
    except (StorageUnavailableError, OSError) as error:
        path.unlink(missing_ok=True)
        sys.stderr.write(f"{error}\n")
        return UNREACHABLE
    printer.say(f"{sentence}; its secret is in {path}", done=sentence, secret_file=path)
    return DONE
