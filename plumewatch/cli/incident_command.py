"""``plumewatch incident``: its file, and its verdict from the stored readings again."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from alerts.consumer import threshold_adjustments
from alerts.notify.pictures import IncidentPictures
from detection.events import EventKind
from detection.quantities import COLUMNS
from ingest.files.readings_export import slices
from plumewatch.cli.audit_command import on_record
from plumewatch.cli.exit_codes import DONE, REFUSED, USAGE, told
from plumewatch.cli.format_time import said
from plumewatch.cli.output_file import check_output
from plumewatch.cli.progress import busy, progress
from plumewatch.cli.replay_command import replay_policy
from plumewatch.config.paths import DataPaths
from plumewatch.config.report_settings import school_of
from plumewatch.config.settings import alert_budgets
from plumewatch.config.sharding import load_shard
from plumewatch.replay import judged
from plumewatch.service.data_folder import opened_series, opened_state
from reports.documents import pdf
from reports.incident_file import bundle, gather, parts, view
from storage.atomic_write import atomic_write
from storage.audit import AuditKind
from storage.errors import StorageError
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import tzinfo
    from pathlib import Path

    from detection.alert_thresholds import AlertBudgets
    from detection.events import Event
    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig
    from reports.incident_file import IncidentFile
    from storage.reading import Reading
    from storage.timeseries import Series

_WARM_UP_S: Final = 86_400.0
"""Readings before the incident from which the detector learns its baselines again."""
_NEAR_S: Final = 10.0
_LEVEL_S: Final = 900.0


@told()
def run_file(
    config_path: Path, incident: str, out: Path, printer: Printer, now: float, *, force: bool
) -> int:
    """Write the file of an incident: ``.pdf``, or ``.zip`` with everything.

    Returns
    -------
    int
        0 done, 1 there is no such incident, 2 bad usage or configuration, 3 state or series cannot
        be read.
    """
    kind = out.suffix.lower()
    try:
        config = load_shard(config_path)
        found = _found(config, incident)
        if found is None:
            return _no(incident)
        check_output(out, force=force, endings=(".pdf", ".zip"))
        with opened_series(config) as series:
            readings = series.between(*found.span, found.sensors)
            pictures = IncidentPictures(
                DataPaths(config.data_dir).state, config.registry(), series, config.timezone
            )
            picture = pictures.svg(incident) or ""
        calendar = school_of(config).calendar(*found.span)
        with busy("drawing"):
            made = pdf("incident", view(found, calendar, picture, len(readings)))
        on_record(config, AuditKind.EXPORT, {"incident": incident, "format": kind[1:]}, now)
        with atomic_write(out) as partial:
            if kind == ".pdf":
                partial.write_bytes(made)
            else:
                bundle(partial, parts(found, made, picture, readings, COLUMNS))
    except OSError as error:
        sys.stderr.write(f"{out}: {error.strerror or error}\n")
        return USAGE
    printer.sum_up(
        f"{out}: {len(readings)} readings, {len(found.notices)} notices",
        wrote=out,
        readings=len(readings),
        notices=len(found.notices),
    )
    return DONE


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a detection was, and what it is when its readings are judged again.

    Attributes
    ----------
    stored : dict
        Row of the event.
    again : Event or None
        None if the detector does not say it again.
    """

    stored: dict[str, object]
    again: Event | None

    @property
    def same(self) -> bool:
        """Whether kind and end are the same: standing, or taken back."""
        if self.again is None:
            return False
        return (self.again.phase.value == "withdrawn") is (self.stored["phase"] == "withdrawn")


@told()
def run_rerun(config_path: Path, incident: str, printer: Printer, now: float) -> int:
    """Judge the stored readings of an incident again and compare.

    Returns
    -------
    int
        0 the same verdict, 1 another one, or it cannot be judged again, 2 bad configuration, 3
        state or series cannot be read.
    """
    config = load_shard(config_path)
    found = _found(config, incident)
    if found is None:
        return _no(incident)
    if found.incident["kind"] == EventKind.OFFLINE.value:
        sys.stderr.write("silence is judged when it happens, not from readings\n")
        return REFUSED
    with opened_series(config) as series:
        verdicts = compared(config, series, found)
    same = bool(verdicts) and all(verdict.same for verdict in verdicts)
    on_record(config, AuditKind.RERUN, {"incident": incident, "same": str(same)}, now)
    if not verdicts:
        sys.stderr.write(f"readings of {', '.join(found.sensors)} are not stored any more\n")
        return REFUSED
    printer.table(
        ("Sensor", "", "Kind", "Onset", "Alerted", "Confidence", "Phase", "Detector"),
        (row for verdict in verdicts for row in _rows(verdict, config.zone())),
    )
    printer.say("same verdict" if same else "another verdict", same=same)
    return DONE if same else REFUSED


def compared(config: PlumewatchConfig, series: Series, found: IncidentFile) -> list[Verdict]:
    """Judge again, through the path of a replay; empty if the readings are not stored any more.

    The detector starts a day before the first evidence with the level its sensor alerted from
    then. Levels that had moved further than feedback can are reached as far as feedback can.
    """
    registry = config.registry()
    sensors = set(found.sensors)
    if found.incident["kind"] == EventKind.AMBIENT.value:
        rooms = registry.rooms.values()
        near = {r.id for r in rooms if r.building == found.incident["building"]}
        sensors |= {s.id for s in registry.sensors.values() if s.room in near}
    onset = found.incident["onset"]
    start, end = onset - _WARM_UP_S, found.span[1]
    if not series.between(onset, found.incident["opened_at"] + 1e-3, found.sensors):
        return []

    def readings() -> Iterator[Reading]:
        with progress() as bar:
            task = bar.add_task("judging again", total=end - start)
            for piece in slices(
                series, start, end, lambda at: bar.update(task, completed=at - start), sensors
            ):
                yield from piece

    result = judged(
        readings(),
        policy=replay_policy(config),
        registry=registry,
        budgets=_as_then(config, series, sensors, onset),
    )
    return [Verdict(event, _nearest(event, result.events.values())) for event in found.events]


def _as_then(
    config: PlumewatchConfig, series: Series, sensors: set[str], onset: float
) -> AlertBudgets:
    with closing(connect(DataPaths(config.data_dir).state, read_only=True)) as db:
        reports = threshold_adjustments.load_thresholds(db)
    moved = {}
    for sensor in sensors & reports.keys():
        health = series.records("sensor_health", onset - _LEVEL_S, onset, sensor=sensor)
        levels = [r.fields["level"] for r in health if "level" in r.fields]
        if levels:
            moved[sensor] = float(levels[-1]) - reports[sensor].model_level
    return replace(alert_budgets(config), moved=moved)


def _nearest(event: dict[str, object], events: Iterable[Event]) -> Event | None:
    onset = float(str(event["onset"]))
    near = [
        found
        for found in events
        if found.sensor == event["sensor"]
        and found.kind.value == event["kind"]
        and abs(found.onset - onset) <= _NEAR_S
    ]
    return min(near, key=lambda found: abs(found.onset - onset), default=None)


def _rows(
    verdict: Verdict, zone: tzinfo
) -> Iterator[tuple[Mapping[str, object], Sequence[object]]]:
    """One of what is stored, one of what was judged again; moments in the school's zone."""
    row, again = verdict.stored, verdict.again
    kept: dict[str, object] = {
        "sensor": row["sensor"],
        "judged": "stored",
        "kind": row["kind"],
        "onset": row["onset"],
        "alerted": row["alerted"],
        "confidence": row["confidence"],
        "phase": row["phase"],
        "detector": row["model_version"],
    }
    yield kept, _cells(kept, zone)
    if again is None:
        yield {"sensor": row["sensor"], "judged": "again", "kind": None}, ("", "again", "nothing")
        return
    found: dict[str, object] = {
        "sensor": row["sensor"],
        "judged": "again",
        "kind": again.kind.value,
        "onset": again.onset,
        "alerted": again.alerted,
        "confidence": again.confidence,
        "phase": again.phase.value,
        "detector": again.model_version,
    }
    yield found, ("", *_cells(found, zone)[1:])


def _cells(fields: Mapping[str, object], zone: tzinfo) -> list[str]:
    words = dict.fromkeys(("onset", "alerted"), lambda at: said(at, zone))
    return [
        words[key](value) if key in words else f"{value:.3f}" if key == "confidence" else str(value)
        for key, value in fields.items()
    ]


def _found(config: PlumewatchConfig, incident: str) -> IncidentFile | None:
    roles = {member.id: member.role for member in config.staff}
    path = DataPaths(config.data_dir).state
    if not path.exists():
        raise StorageError(f"{path}: has `plumewatch run` been started with this configuration?")
    with opened_state(path) as db:
        return gather(db, config.registry(), roles, incident)


def _no(incident: str) -> int:
    sys.stderr.write(f"there is no incident {incident[:80]!r}\n")
    return REFUSED
