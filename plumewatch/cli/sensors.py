"""`plumewatch status`, `dead-letters`, `levels` and `commission`."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ingest.errors import RefusedError
from plumewatch.cli.options import (
    CONFIG,
    DONE,
    REFUSED,
    ConfigOption,
    JsonOption,
    Site,
    examples,
)
from plumewatch.cli.printer import Printer, progress
from plumewatch.config.faults import some
from plumewatch.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alerts.page.settings import SensorStatus
    from detection.alert_thresholds import ThresholdReport
    from detection.commissioning import Detected, Response, Timing
    from plumewatch.room_test import SensorResult
    from storage.dead_letters import StoredDeadLetter

app = typer.Typer()

_LEVEL_COLUMNS = (
    *("Sensor", "Room", "Alerts from", "False alarms a week", "Tolerable", "By feedback"),
    "Observed",
)


@app.command(
    rich_help_panel="Sensors", epilog=examples("plumewatch status", "plumewatch status --json")
)
def status(*, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Print state and counters of every registered sensor."""
    from plumewatch.sensor_status import stored_statuses

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    registry = site.config.registry()
    rows, polled = [], bool(site.config.ingest.poll)
    with site.read(site.paths.state) as state:
        for name, found in stored_statuses(state, registry).items():
            room = registry.room_of(name)
            cells = (
                name,
                found.state + _no_particles_text(found, site),
                room.short_name if room else "",
                "never" if found.heard is None else site.format_time(found.heard),
                f"{found.interval_s:.3g} s",
                found.firmware,
                ", ".join(f"{key} {n:,}" for key, n in found.counts.items()),
                *([_poll_text(found, site)] if polled else []),
            )
            fields = {"sensor": name, "room": registry.sensors[name].room, **asdict(found)}
            rows.append((fields, cells))
    columns = ("Sensor", "State", "Room", "Last live reading", "Reports every", "Firmware")
    more = ("Counts", "Polling") if polled else ("Counts",)
    printer.table((*columns, *more), rows)


def _no_particles_text(found: SensorStatus, site: Site) -> str:
    since = found.no_particles_since
    return "" if since is None else f", no particles since {site.format_time(since)}"


def _poll_text(found: SensorStatus, site: Site) -> str:
    if not found.poll_error or found.poll_failing_since is None:
        return ""
    return f"fails since {site.format_time(found.poll_failing_since)}: {found.poll_error}"


@app.command(
    "dead-letters",
    rich_help_panel="Sensors",
    epilog=examples(
        "plumewatch dead-letters --reason malformed --limit 5", "plumewatch dead-letters 17 --json"
    ),
)
def dead_letters(
    number: Annotated[
        int | None, typer.Argument(help="Show this one in full, its content escaped.")
    ] = None,
    *,
    config: ConfigOption = CONFIG,
    reason: Annotated[str, typer.Option(help="Only those refused for it.")] = "",
    source: Annotated[
        str, typer.Option(help="Only of this decoder, or of topics that begin so.")
    ] = "",
    limit: Annotated[int, typer.Option(help="Largest number.", min=1, max=1000)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List refused messages, newest first, or show one."""
    from storage.dead_letters import count_dead_letters, find_dead_letters, get_dead_letter

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    with site.read(site.paths.journal) as journal:
        if number is not None:
            found = get_dead_letter(journal, number)
            if found is None:
                raise RefusedError(f"there is no refused message {number}, or not any more")
            fields = _letter_fields(found)
            shown = {**fields, "received": site.format_time(found.letter.received)}
            printer.say("\n".join(f"{key:<9}{value}" for key, value in shown.items()), **fields)
            return
        if not printer.as_json:
            counts = count_dead_letters(journal).items()
            printer.table(
                ("Reason", "Decoder", "Messages"),
                (({}, (why, decoder or "none reached", f"{n:,}")) for (why, decoder), n in counts),
            )
            printer.say("")
        rows = []
        for one in find_dead_letters(journal, reason=reason, source=source, limit=limit):
            at, why = site.format_time(one.letter.received), one.letter.reason
            rows.append((_letter_fields(one), (one.id, at, why, one.source, one.letter.detail)))
    printer.table(("No.", "Received", "Reason", "Source", "Detail"), rows)


def _letter_fields(found: StoredDeadLetter) -> dict[str, Any]:
    from storage.dead_letters import visible

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


@app.command(rich_help_panel="Sensors", epilog=examples("plumewatch levels --json"))
def levels(*, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Print each sensor's alert threshold, budget and expected false alarms."""
    from alerts.incidents.threshold_adjustments import load_thresholds

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    registry = site.config.registry()
    with site.read(site.paths.state) as state:
        reports = load_thresholds(state)
    rows = []
    for sensor in registry.sensors:
        report, room = reports.get(sensor), registry.room_of(sensor)
        fields = {"sensor": sensor, "level": None if report is None else asdict(report)}
        cells = _level_cells(report)
        rows.append((fields, (sensor, room.short_name if room else "", *cells)))
    printer.table(_LEVEL_COLUMNS, rows)


def _level_cells(report: ThresholdReport | None) -> tuple[str, ...]:
    from alerts.page.views.thresholds import probability

    if report is None:
        return ("no data yet", *[""] * 4)
    over = "" if report.within_budget else " (over)"
    return (
        f"{probability(report.level):.2f}",
        "learning" if report.expected is None else f"{report.expected:.1f}{over}",
        f"{report.budget:g}",
        f"{report.feedback:+.3g}" if report.feedback else "not moved",
        f"{report.weeks:.1f} weeks",
    )


_TICK_S: Final = 1.0


@app.command(
    rich_help_panel="Start",
    epilog=examples(
        "plumewatch commission N2-boys", "plumewatch commission N2-boys --no-level --json"
    ),
)
def commission(
    room: Annotated[str, typer.Argument(help="Id of a `room` block.")],
    *,
    config: ConfigOption = CONFIG,
    level: Annotated[
        bool, typer.Option("--level/--no-level", help="Adjust thresholds as the test asks for.")
    ] = True,
    as_json: JsonOption = False,
) -> int:
    """Test a room in five minutes: what its sensors see, and how late; the service must run."""
    from plumewatch import room_test
    from storage.audit import machine_user
    from storage.lock import service_runs

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    rooms = site.config.registry().rooms
    if room not in rooms:
        raise UsageError(f"ROOM: {room!r}: one of {some(rooms)}")
    if not any(sensor.room == room for sensor in site.config.sensor):
        raise UsageError(f"ROOM: {room!r}: needs a [[sensor]] with room = {room!r}")
    if not service_runs(site.paths.lock):
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
            f" adjustment {move.seq} can be reverted on the page /levels"
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

    began, registry = time.time(), site.config.registry()
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
                registry=registry.within({registry.rooms[room].site}),
                is_admin=True,
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
