"""``plumewatch commission``: five minutes in a room, from the first instruction to the level."""

from __future__ import annotations

import csv
import json
import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from alerts.consumer import threshold_adjustments
from alerts.errors import SilenceError
from alerts.incidents import silences, staged_test
from alerts.incidents.engine import AlertEngine
from detection.quantities import QUANTITIES
from plumewatch.cli.audit_command import machine_user
from plumewatch.cli.commission.trial import STEPS, Timing, interval_of, responses
from plumewatch.cli.commission.verdict import asked_level
from plumewatch.cli.exit_codes import DONE, REFUSED, UNREACHABLE, USAGE
from plumewatch.cli.progress import progress
from plumewatch.config.faults import ConfigError, ConfigFault
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import alert_policy
from plumewatch.config.sharding import load_shard
from plumewatch.service.data_folder import prepare_state
from storage.errors import StorageError
from storage.lease import holder_of
from storage.reading import Reading
from storage.sqlite import connect, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from plumewatch.cli.commission.trial import Response, Step
    from plumewatch.cli.commission.verdict import Asked, Said
    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig
    from storage.registry import Room

_BEFORE_S: Final = 3_600.0
"""Air before the test, from which the detector learns what is usual."""
_SETTLE_S: Final = 5.0
"""Until the last reading of the test is stored."""
_LATE_S: Final = 30.0
_TICK_S: Final = 1.0


class Clock(Protocol):
    """Time of the test."""

    def now(self) -> float:
        """Unix seconds."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""


class MachineClock:
    """The machine's clock."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class _Found:
    """What one sensor showed."""

    sensor: str
    interval_s: float | None
    answers: dict[str, list[Response]]
    asked: Asked
    moved: float


def run_commission(
    config_path: Path,
    room: str,
    printer: Printer,
    *,
    ready: Callable[[str], None],
    clock: Clock | None = None,
    set_level: bool = True,
) -> int:
    """Guide a person through the test of a room, record it, judge it, set the level.

    Parameters
    ----------
    room : str
        Its id.
    ready : callable
        Given an instruction, returns when it is being done.
    clock : Clock, optional
        The machine's by default.
    set_level : bool
        Whether levels are moved to what the test asks for.

    Returns
    -------
    int
        0 every sensor of the room told the puff, and nothing else, from vaping; 1 one did not, or
        sent nothing; 2 bad usage or configuration; 3 no service runs, or its data cannot be read.
    """
    clock = clock or MachineClock()
    try:
        config = load_shard(config_path)
        sensors = _sensors(config, room)
        engine = AlertEngine(config.registry(), alert_policy(config))
    except ConfigError as error:
        printer.err.write(f"{error}\n")
        return USAGE
    if holder_of(DataPaths(config.data_dir).lock) is None:
        printer.err.write("no service takes readings in: start it first, `plumewatch run`\n")
        return UNREACHABLE
    where = config.registry().rooms[room]
    try:
        with _state(config) as db:
            timings = _guided(db, where, ready, clock, printer)
            found, record = _judged(config, db, sensors, where, timings)
            _tell(found, printer)
            who, end = machine_user(), timings[-1].end
            with transaction(db) as tx:
                mine = staged_test.marked(tx, engine, room, timings[0].start, end + _SETTLE_S, who)
                if set_level:
                    _set_levels(tx, config, found, mine, timings, printer)
    except (StorageError, SilenceError, sqlite3.Error) as error:
        printer.err.write(f"{error}\n")
        return UNREACHABLE
    except OSError as error:
        printer.err.write(f"{error.filename}: {error.strerror}; the record is lost\n")
        return UNREACHABLE
    printer.say(f"recorded in {record}", record=record)
    return DONE if found and all(f.asked.right for f in found) else REFUSED


def _sensors(config: PlumewatchConfig, room: str) -> list[str]:
    rooms = config.registry().rooms
    if room not in rooms:
        allowed = "one of " + ", ".join(sorted(rooms)[:20])
        raise ConfigError([ConfigFault("ROOM", repr(room), allowed)])
    found = [sensor.id for sensor in config.sensor if sensor.room == room]
    if not found:
        allowed = f"needs a [[sensor]] with room = {room!r}"
        raise ConfigError([ConfigFault("ROOM", repr(room), allowed)])
    return found


@contextmanager
def _state(config: PlumewatchConfig) -> Iterator[sqlite3.Connection]:
    with closing(connect(DataPaths(config.data_dir).state)) as db:
        prepare_state(db)
        yield db


def _guided(
    db: sqlite3.Connection,
    room: Room,
    ready: Callable[[str], None],
    clock: Clock,
    printer: Printer,
) -> list[Timing]:
    """Lead through the steps, with notices of the room silenced; incidents stay on record."""
    length = sum(step.seconds for step in STEPS)
    began = clock.now()
    with transaction(db) as tx:
        silence = silences.add(
            tx,
            matchers=[f'room="{room.id}"'],
            owner=machine_user(),
            reason="commissioning test",
            starts_at=began,
            ends_at=began + 3 * length,
            now=began,
        )
    try:
        timings = []
        for number, step in enumerate(STEPS, start=1):
            ready(f"{number}/{len(STEPS)} {step.instruction} ({step.seconds:.0f} s)")
            start = clock.now()
            _pass(step, clock)
            timings.append(Timing(step, start, clock.now()))
        clock.wait(_SETTLE_S)
    finally:
        with transaction(db) as tx:
            silences.end(tx, silence.id, machine_user(), clock.now())
    printer.say("thank you; air the room now", done=True)
    return timings


def _pass(step: Step, clock: Clock) -> None:
    with progress() as bar:
        task = bar.add_task(step.name, total=step.seconds)
        begun = clock.now()
        while (left := begun + step.seconds - clock.now()) > 0:
            clock.wait(min(left, _TICK_S))
            bar.update(task, completed=clock.now() - begun)


def _judged(
    config: PlumewatchConfig,
    db: sqlite3.Connection,
    sensors: Sequence[str],
    room: Room,
    timings: Sequence[Timing],
) -> tuple[list[_Found], Path]:
    start, end = timings[0].start, timings[-1].end
    paths = DataPaths(config.data_dir)
    readings = _stored(paths.journal, start - _BEFORE_S, frozenset(sensors))
    found = []
    for sensor in sensors:
        mine = [r for r in readings if r.sensor == sensor and r.time < end]
        during = [r for r in mine if r.time >= start]
        moved = threshold_adjustments.current_adjustment(db, sensor)
        found.append(
            _Found(
                sensor,
                interval_of(during),
                responses(mine, timings),
                asked_level(config, sensor, mine, timings, moved),
                moved,
            )
        )
    stamp = datetime.fromtimestamp(start, UTC).strftime("%Y%m%dT%H%M%SZ")
    record = paths.root / "commissioning" / f"{room.id}-{stamp}"
    _keep(record, readings, room, timings, found)
    return found, record


def _stored(journal: Path, since: float, sensors: frozenset[str]) -> list[Reading]:
    """Read accepted readings from the journal, by event time."""
    decoder = msgspec.msgpack.Decoder(Reading)
    with closing(connect(journal, read_only=True)) as db:
        rows = db.execute(
            "SELECT body FROM journal WHERE received >= ? ORDER BY offset", (since,)
        ).fetchall()
    found = [decoder.decode(row["body"]) for row in rows]
    return sorted((r for r in found if r.sensor in sensors), key=lambda r: r.time)


def _keep(
    folder: Path,
    readings: Sequence[Reading],
    room: Room,
    timings: Sequence[Timing],
    found: Sequence[_Found],
) -> None:
    """Write readings for `plumewatch replay`, the test for `report --staged`, and the result."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys = [key for key in QUANTITIES if any(key in r.values for r in readings)]
    with (folder / "readings.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("time", "sensor", *keys))
        rows.writerows(
            (f"{r.time:.3f}", r.sensor, *(r.values.get(key, "") for key in keys)) for r in readings
        )
    with (folder / "staged.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("time", "room"))
        rows.writerows((f"{t.start:.3f}", room.id) for t in timings if t.step.vaping)
    result = {
        "room": room.id,
        "steps": [{"step": t.step.name, "start": t.start, "end": t.end} for t in timings],
        "sensors": [
            {
                "sensor": f.sensor,
                "interval_s": f.interval_s,
                "answers": {k: [asdict(a) for a in v] for k, v in f.answers.items()},
                "said": {k: [asdict(s) for s in v] for k, v in f.asked.said.items()},
                "right": f.asked.right,
                "level_moved": f.asked.moved,
            }
            for f in found
        ],
    }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")


def _tell(found: Sequence[_Found], printer: Printer) -> None:
    for one in found:
        if one.interval_s is None:
            text = f"{one.sensor}: sent nothing during the test: plumewatch check"
            printer.say(text, sensor=one.sensor, heard=False)
            continue
        printer.table(
            ("Sensor", "Step", "Rose", "First after", "Back to a third in", "Detector said"),
            (
                (
                    {
                        "sensor": one.sensor,
                        "step": name,
                        "answers": [asdict(a) for a in answers],
                        "said": [asdict(s) for s in one.asked.said[name]],
                    },
                    (one.sensor, name, *_cells(answers, one.asked.said[name])),
                )
                for name, answers in one.answers.items()
            ),
        )
        printer.say(
            _conclusion(one), sensor=one.sensor, right=one.asked.right, says=_conclusion(one)
        )


def _cells(answers: Sequence[Response], said: Sequence[Said]) -> tuple[str, str, str, str]:
    seen = [a for a in answers if a.seen]
    first = min(seen, key=lambda a: a.delay_s or 0.0, default=None)
    risen = ", ".join(
        f"{QUANTITIES[a.quantity].label} +{a.peak:.3g} {QUANTITIES[a.quantity].unit}".rstrip()
        for a in seen
    )
    particles = [a for a in seen if a.quantity.startswith(("pm", "n")) and a.fall_s is not None]
    fall = "" if not particles else f"{particles[0].fall_s:.0f} s"
    told = "; ".join(
        f"{s.kind} {s.confidence:.2f} after {s.late_s:.0f} s{', taken back' * s.withdrawn}"
        for s in said
    )
    after = "" if first is None else f"{first.delay_s:.0f} s"
    return risen or "nothing", after, fall, told or "nothing"


def _conclusion(one: _Found) -> str:
    """Say in a sentence what this sensor in this room can see, and how late."""
    puff = next(step.name for step in STEPS if step.vaping)
    said = [s for s in one.asked.said[puff] if s.kind == "vape" and not s.withdrawn]
    seen = [a for a in one.answers.get(puff, []) if a.seen]
    wrong = [
        name
        for name, events in one.asked.said.items()
        if name != puff and any(s.kind == "vape" and not s.withdrawn for s in events)
    ]
    every = f"a reading each {one.interval_s:.3g} s"
    if said and not wrong:
        late = said[0].late_s
        what = f"{one.sensor} tells a puff in the farthest stall after {late:.0f} s ({every})"
        return what + (", which is late: hang it nearer, or away from the vent" * (late > _LATE_S))
    if wrong:
        return f"{one.sensor} takes {' and '.join(wrong)} for vaping, at every level allowed"
    if seen:
        return (
            f"{one.sensor} sees the puff ({every}) and the detector does not tell it from other"
            " things: a shorter interval, or a place nearer to the stalls"
        )
    return (
        f"{one.sensor} does not see a puff in the farthest stall ({every}): hang it nearer, away"
        " from door and vent (docs/placement.md), or add a second one"
    )


def _set_levels(
    tx: sqlite3.Connection,
    config: PlumewatchConfig,
    found: Sequence[_Found],
    incidents: Sequence[str],
    timings: Sequence[Timing],
    printer: Printer,
) -> None:
    who, at = machine_user(), timings[-1].end
    room_of = {sensor.id: sensor.room for sensor in config.sensor}
    for one in found:
        if one.asked.moved == one.moved or not one.asked.right:
            printer.say(f"{one.sensor}: level left as it is", sensor=one.sensor, moved=None)
            continue
        incident = incidents[0] if incidents else ""
        if not incident:
            puff = next(t for t in timings if t.step.vaping)
            day = datetime.fromtimestamp(at, UTC).astimezone(config.zone()).strftime("%Y%m%d")
            incident = staged_test.staged(tx, one.sensor, room_of[one.sensor], puff.start, who, day)
        move = threshold_adjustments.adjust_from_test(
            tx,
            incident=incident,
            sensor=one.sensor,
            to=one.asked.moved,
            who=who,
            at=at,
            reason="staged test",
        )
        printer.say(
            f"{one.sensor}: level moved from {move.before:+.3g} to {move.after:+.3g};"
            f" `plumewatch levels undo {move.seq}` takes it back",
            sensor=one.sensor,
            moved=move.after,
            move=move.seq,
        )
