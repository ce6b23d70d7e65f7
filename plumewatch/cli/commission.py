"""`plumewatch commission`: five minutes in a room, from the first instruction to the threshold."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
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

    from detection.commissioning import Detected, Response, Timing
    from plumewatch.room_test import SensorResult

app = typer.Typer()

_TICK_S: Final = 1.0


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
    from plumewatch import room_test
    from storage.audit import machine_user
    from storage.lease import holder_of

    site, printer = Site.load(config), Printer(as_json=as_json)
    rooms = site.config.registry().rooms
    if room not in rooms:
        raise UsageError(f"ROOM: {room!r}: one of {', '.join(sorted(rooms)[:20])}")
    if not any(sensor.room == room for sensor in site.config.sensor):
        raise UsageError(f"ROOM: {room!r}: needs a [[sensor]] with room = {room!r}")
    if holder_of(site.paths.lock) is None:
        raise UnreachableError("no service receives readings: start it first, `plumewatch run`")
    timings = _guide(site, room, printer)
    found = room_test.evaluate(site.config, room, timings, machine_user(), adjust=level)
    for result in found.sensors:
        _print_result(result, printer)
    for result in found.sensors if level else ():
        move = found.moves.get(result.sensor)
        text = (
            "threshold unchanged"
            if move is None
            else f"threshold adjusted from {move.before:+.3g} to {move.after:+.3g};"
            f" `plumewatch levels undo {move.seq}` undoes it"
        )
        fields = {} if move is None else {"move": move.seq}
        moved = None if move is None else move.after
        printer.say(f"{result.sensor}: {text}", sensor=result.sensor, moved=moved, **fields)
    printer.say(f"recorded in {found.record}", record=found.record)
    return DONE if found.is_right else REFUSED


def _guide(site: Site, room: str, printer: Printer) -> list[Timing]:
    """Lead through the steps, with notices of the room silenced; incidents are recorded."""
    from alerts.errors import SilenceError
    from alerts.incidents import silences
    from detection.commissioning import STEPS, Timing
    from plumewatch.room_test import SETTLE_S
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
        time.sleep(SETTLE_S)
    finally:
        with site.transaction() as tx:
            silences.end(tx, silence.id, machine_user(), time.time())
    printer.say("thank you; air the room now", done=True)
    return timings


def _print_result(result: SensorResult, printer: Printer) -> None:
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
