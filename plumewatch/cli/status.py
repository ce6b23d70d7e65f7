"""``plumewatch status`` and ``plumewatch dead-letters``: what the data folder says, read-only."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plumewatch.cli.exit_codes import DONE, REFUSED, UNREACHABLE, told
from plumewatch.config.paths import DataPaths
from plumewatch.config.sharding import load_shard
from plumewatch.service.sensor_status import stored_statuses
from storage.dead_letters import (
    StoredDeadLetter,
    count_dead_letters,
    find_dead_letters,
    get_dead_letter,
    visible,
)
from storage.errors import StorageError
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from alerts.page.settings import SensorStatus
    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig


def run_status(config_path: Path, printer: Printer) -> int:
    """Print every registered sensor: state, last reading, interval, firmware, what was noted.

    Returns
    -------
    int
        0 done, 2 bad configuration, 3 there is no data folder of a service to read.
    """

    def show(config: PlumewatchConfig, state: sqlite3.Connection) -> int:
        registry = config.registry()
        statuses = stored_statuses(state, registry)

        def row(name: str, status: SensorStatus) -> tuple[Mapping[str, object], Sequence[object]]:
            room = registry.room_of(name)
            cells = (
                name,
                status.state,
                room.name if room else "",
                "never" if status.heard is None else moment(status.heard, config),
                f"{status.interval_s:.3g} s",
                status.firmware,
                ", ".join(f"{key} {n:,}" for key, n in status.counts.items()),
            )
            return {"sensor": name, "room": registry.sensors[name].room, **asdict(status)}, cells

        printer.table(
            (
                "Sensor",
                "State",
                "Room",
                "Last live reading",
                "Reports every",
                "Firmware",
                "Counted",
            ),
            (row(name, status) for name, status in statuses.items()),
        )
        return DONE

    return with_data(config_path, lambda paths: paths.state, show)


def run_dead_letters(
    config_path: Path,
    printer: Printer,
    *,
    number: int | None = None,
    reason: str = "",
    source: str = "",
    limit: int = 20,
) -> int:
    """Print counts and the newest refused messages, or one of them whole.

    Returns
    -------
    int
        0 done, 1 there is no message of this number, 2 bad configuration, 3 there is no data
        folder of a service to read.
    """

    def show(config: PlumewatchConfig, journal: sqlite3.Connection) -> int:
        if number is not None:
            found = get_dead_letter(journal, number)
            if found is None:
                sys.stderr.write(f"no refused message {number}, or not any more\n")
                return REFUSED
            _one(found, config, printer)
            return DONE
        letters = find_dead_letters(journal, reason=reason, source=source, limit=limit)
        if not printer.as_json:
            printer.table(
                ("Reason", "Decoder", "Messages"),
                (
                    ({}, (why, decoder or "none reached", f"{n:,}"))
                    for (why, decoder), n in count_dead_letters(journal).items()
                ),
            )
            printer.say("")
        printer.table(
            ("No.", "Received", "Reason", "Source", "Detail"),
            (
                (
                    _fields(found),
                    (
                        found.id,
                        moment(found.letter.received, config),
                        found.letter.reason,
                        found.source,
                        found.letter.detail,
                    ),
                )
                for found in letters
            ),
        )
        return DONE

    return with_data(config_path, lambda paths: paths.journal, show)


@told()
def with_data(
    config_path: Path,
    file: Callable[[DataPaths], Path],
    show: Callable[[PlumewatchConfig, sqlite3.Connection], int],
) -> int:
    """Run `show` over a database of a configuration's data folder, read-only.

    Returns
    -------
    int
        What `show` returned; 2 bad configuration, 3 there is no such database.
    """
    config = load_shard(config_path)
    try:
        with closing(connect(file(DataPaths(config.data_dir)), read_only=True)) as connection:
            return show(config, connection)
    except (StorageError, sqlite3.Error) as error:
        sys.stderr.write(f"{error}: has `plumewatch run` been started with this configuration?\n")
        return UNREACHABLE


def _one(found: StoredDeadLetter, config: PlumewatchConfig, printer: Printer) -> None:
    fields = _fields(found)
    shown = {**fields, "received": moment(found.letter.received, config)}
    printer.say("\n".join(f"{key:<9}{value}" for key, value in shown.items()), **fields)


def _fields(found: StoredDeadLetter) -> dict[str, Any]:
    letter = found.letter
    return {
        "id": found.id,
        "received": letter.received,
        "topic": letter.topic,
        "reason": letter.reason,
        "detail": letter.detail,
        "decoder": letter.decoder,
        "size": letter.size,
        "payload": visible(letter.payload),
    }


def moment(at: float, config: PlumewatchConfig) -> str:
    """Say a time in the school's zone."""
    local = datetime.fromtimestamp(at, UTC).astimezone(config.zone())
    return local.isoformat(sep=" ", timespec="seconds")
