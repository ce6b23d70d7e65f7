"""`plumewatch commission`: five minutes in a room, from the first instruction to the threshold."""

from __future__ import annotations

import csv
import json
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer import Argument, Option

from plumewatch.cli.exit_codes import DONE, REFUSED
from plumewatch.cli.options import CONFIG, ConfigOption, JsonOption, command
from plumewatch.cli.printer import Printer, progress
from plumewatch.cli.site import Site
from plumewatch.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from detection.commissioning import CommissioningResult, Detected, Detections, Response, Timing
    from storage.reading import Reading

app = typer.Typer()

_BEFORE_S: Final = 3_600.0
"""Air before the test, from which the detector learns what is usual."""
_SETTLE_S: Final = 5.0
"""Until the last reading of the test is stored."""
_TICK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _SensorResult:
    sensor: str
    interval_s: float | None
    responses: dict[str, list[Response]]
    test: CommissioningResult
    adjusted_before: float


@command(
    app,
    "commission",
    "plumewatch commission N2-boys",
    "plumewatch commission N2-boys --no-level --json",
)
def commission(
    room: Annotated[str, Argument(help="Id of a `room` block.")],
    config: ConfigOption = CONFIG,
    *,
    level: Annotated[
        bool, Option("--level/--no-level", help="Adjust thresholds as the test asks for.")
    ] = True,
    as_json: JsonOption = False,
) -> int:
    """Test a room in five minutes: what its sensors see, and how late; the service must run."""
    from alerts import staged_test
    from alerts.engine import AlertEngine
    from plumewatch.config.settings import alert_policy
    from storage.audit import machine_user
    from storage.lease import holder_of

    site, printer = Site.load(config), Printer(as_json=as_json)
    rooms = site.config.registry().rooms
    if room not in rooms:
        raise UsageError(f"ROOM: {room!r}: one of {', '.join(sorted(rooms)[:20])}")
    sensors = [sensor.id for sensor in site.config.sensor if sensor.room == room]
    if not sensors:
        raise UsageError(f"ROOM: {room!r}: needs a [[sensor]] with room = {room!r}")
    engine = AlertEngine(site.config.registry(), alert_policy(site.config))
    if holder_of(site.paths.lock) is None:
        raise UnreachableError("no service receives readings: start it first, `plumewatch run`")
    timings = _guide(site, room, printer)
    start, end = timings[0].start, timings[-1].end
    readings = _stored_readings(site, start - _BEFORE_S, frozenset(sensors))
    results = [_evaluate(site, sensor, readings, timings) for sensor in sensors]
    stamp = datetime.fromtimestamp(start, UTC).strftime("%Y%m%dT%H%M%SZ")
    record = site.paths.root / "commissioning" / f"{room}-{stamp}"
    _write_record(record, readings, room, timings, results)
    for result in results:
        _print_result(result, printer)
    with site.transaction() as tx:
        incidents = staged_test.marked(tx, engine, room, start, end + _SETTLE_S, machine_user())
    if level:
        _adjust(site, room, results, incidents, timings, printer)
    printer.say(f"recorded in {record}", record=record)
    return DONE if all(result.test.is_right for result in results) else REFUSED


def _guide(site: Site, room: str, printer: Printer) -> list[Timing]:
    """Lead through the steps, with notices of the room silenced; incidents are recorded."""
    from alerts.errors import SilenceError
    from alerts.incidents import silences
    from detection.commissioning import STEPS, Timing
    from storage.audit import machine_user

    began = time.time()
    try:
        with site.transaction() as tx:
            silence = silences.add(
                tx,
                matchers=[f'room="{room}"'],
                owner=machine_user(),
                reason="commissioning test",
                starts_at=began,
                ends_at=began + 3 * sum(step.seconds for step in STEPS),
                now=began,
            )
    except SilenceError as error:
        raise UnreachableError(str(error)) from error
    try:
        timings = []
        for number, step in enumerate(STEPS, start=1):
            typer.echo(f"{number}/{len(STEPS)} {step.instruction} ({step.seconds:.0f} s)", err=True)
            if sys.stdin.isatty():
                typer.prompt("Press Enter as you begin", default="", show_default=False, err=True)
            start = time.time()
            with progress(step.name, step.seconds) as update:
                while (left := start + step.seconds - time.time()) > 0:
                    time.sleep(min(left, _TICK_S))
                    update(completed=time.time() - start)
            timings.append(Timing(step, start, time.time()))
        time.sleep(_SETTLE_S)
    finally:
        with site.transaction() as tx:
            silences.end(tx, silence.id, machine_user(), time.time())
    printer.say("thank you; air the room now", done=True)
    return timings


def _stored_readings(site: Site, since: float, sensors: frozenset[str]) -> list[Reading]:
    """Return accepted readings from the journal, by event time."""
    import msgspec

    from storage.reading import Reading

    decoder = msgspec.msgpack.Decoder(Reading)
    with site.read(site.paths.journal) as db:
        rows = db.execute(
            "SELECT body FROM journal WHERE received >= ? ORDER BY offset", (since,)
        ).fetchall()
    found = (decoder.decode(row["body"]) for row in rows)
    return sorted((r for r in found if r.sensor in sensors), key=lambda r: r.time)


def _evaluate(
    site: Site, sensor: str, readings: Sequence[Reading], timings: Sequence[Timing]
) -> _SensorResult:
    from dataclasses import replace

    from alerts.incidents.threshold_adjustments import current_adjustment
    from detection import commissioning
    from plumewatch.config.settings import alert_budgets
    from plumewatch.replay import judged, replay_policy

    mine = [r for r in readings if r.sensor == sensor and r.time < timings[-1].end]
    samples = [(r.time, r.values) for r in mine]
    budgets = alert_budgets(site.config)

    def detect(adjustment: float) -> Detections:
        """Run the detector on the test through the production path."""
        result = judged(
            iter(mine),
            policy=replay_policy(site.config),
            registry=site.config.registry(),
            budgets=replace(budgets, moved={sensor: adjustment}),
        )
        return commissioning.detections_by_step(result.events.values(), timings)

    with site.transaction() as tx:
        before = current_adjustment(tx, sensor)
    return _SensorResult(
        sensor,
        commissioning.median_interval(s for s in samples if s[0] >= timings[0].start),
        commissioning.responses(samples, timings),
        commissioning.find_adjustment(detect, timings, before),
        before,
    )


def _write_record(
    folder: Path,
    readings: Sequence[Reading],
    room: str,
    timings: Sequence[Timing],
    results: Sequence[_SensorResult],
) -> None:
    """Write readings for `plumewatch replay`, the test for `report --staged`, and the result."""
    from detection.quantities import QUANTITIES

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys = [key for key in QUANTITIES if any(key in r.values for r in readings)]
    with (folder / "readings.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("time", "sensor", *keys))
        rows.writerows(
            (f"{r.time:.3f}", r.sensor, *(r.values.get(key, "") for key in keys)) for r in readings
        )
    puffs = [f"{t.start:.3f},{room}\n" for t in timings if t.step.is_vaping]
    (folder / "staged.csv").write_text("".join(["time,room\n", *puffs]), encoding="utf-8")
    result = {
        "room": room,
        "steps": [{"step": t.step.name, "start": t.start, "end": t.end} for t in timings],
        "sensors": [
            {
                "sensor": r.sensor,
                "interval_s": r.interval_s,
                "answers": {k: [asdict(a) for a in v] for k, v in r.responses.items()},
                "said": {k: [s._asdict() for s in v] for k, v in r.test.detections.items()},
                "right": r.test.is_right,
                "level_moved": r.test.adjustment,
            }
            for r in results
        ],
    }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")


def _print_result(result: _SensorResult, printer: Printer) -> None:
    from detection.commissioning import conclusion

    if result.interval_s is None:
        text = f"{result.sensor}: sent nothing during the test: plumewatch check"
        printer.say(text, sensor=result.sensor, heard=False)
        return
    rows = []
    for step, responses in result.responses.items():
        detected = result.test.detections[step]
        fields = {
            "sensor": result.sensor,
            "step": step,
            "answers": [asdict(response) for response in responses],
            "said": [event._asdict() for event in detected],
        }
        rows.append((fields, (result.sensor, step, *_cells(responses, detected))))
    columns = ("Sensor", "Step", "Rise", "First after", "Down to a third in", "Detected")
    printer.table(columns, rows)
    text = conclusion(result.sensor, result.interval_s, result.responses, result.test)
    printer.say(text, sensor=result.sensor, right=result.test.is_right, says=text)


def _cells(responses: Sequence[Response], detected: Sequence[Detected]) -> tuple[str, ...]:
    from detection.quantities import QUANTITIES

    seen = [response for response in responses if response.seen]
    rises = [
        f"{QUANTITIES[r.quantity].label} +{r.peak:.3g} {QUANTITIES[r.quantity].unit}".rstrip()
        for r in seen
    ]
    delays = [r.delay_s for r in seen if r.delay_s is not None]
    falls = [r.fall_s for r in seen if r.quantity.startswith(("pm", "n")) and r.fall_s is not None]
    events = [
        f"{event.kind} {event.confidence:.0%} after {event.late_s:.0f} s" for event in detected
    ]
    return (
        ", ".join(rises) or "nothing",
        f"{min(delays):.0f} s" if delays else "",
        f"{falls[0]:.0f} s" if falls else "",
        "; ".join(events) or "nothing",
    )


def _adjust(
    site: Site,
    room: str,
    results: Sequence[_SensorResult],
    incidents: Sequence[str],
    timings: Sequence[Timing],
    printer: Printer,
) -> None:
    """Adjust the thresholds of sensors that need it; each adjustment names an incident."""
    from alerts import staged_test
    from alerts.incidents.threshold_adjustments import adjust_from_test
    from storage.audit import machine_user

    who, at = machine_user(), timings[-1].end
    puff = next(timing for timing in timings if timing.step.is_vaping)
    day = datetime.fromtimestamp(at, UTC).astimezone(site.config.zone()).strftime("%Y%m%d")
    for result in results:
        if result.test.adjustment == result.adjusted_before or not result.test.is_right:
            printer.say(f"{result.sensor}: threshold unchanged", sensor=result.sensor, moved=None)
            continue
        with site.transaction() as tx:
            incident = (
                incidents[0]
                if incidents
                else staged_test.staged(tx, result.sensor, room, puff.start, who, day)
            )
            move = adjust_from_test(
                tx,
                incident=incident,
                sensor=result.sensor,
                to=result.test.adjustment,
                who=who,
                at=at,
                reason="staged test",
            )
        printer.say(
            f"{result.sensor}: threshold adjusted from {move.before:+.3g} to {move.after:+.3g};"
            f" `plumewatch levels undo {move.seq}` undoes it",
            sensor=result.sensor,
            moved=move.after,
            move=move.seq,
        )
