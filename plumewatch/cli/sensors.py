"""`plumewatch status`, `dead-letters`, `sensors`, `levels`, `adapt` and `commission`."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import typer

from ingest.errors import RefusedError
from plumewatch.cli.options import DONE, REFUSED, check_output
from plumewatch.cli.printer import Printer, progress
from plumewatch.config.faults import some
from plumewatch.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from alerts.page.settings import SensorStatus
    from detection.alert_thresholds import ThresholdReport
    from detection.commissioning import Detected, Response, Timing
    from detection.model import Model
    from plumewatch.cli.options import Site
    from plumewatch.room_test import SensorResult
    from storage.dead_letters import StoredDeadLetter

_LEVEL_COLUMNS = (
    *("Sensor", "Room", "Alerts from", "False alarms a week", "Tolerable", "Vaping missed"),
    *("Against lowest", "By feedback", "Observed"),
)


def status(site: Site, printer: Printer) -> None:
    """Print state and counters of every registered sensor."""
    from plumewatch.sensor_status import stored_statuses

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


def dead_letters(
    number: int | None = None,
    *,
    site: Site,
    reason: str = "",
    source: str = "",
    limit: int = 20,
    printer: Printer,
) -> None:
    """List refused messages, newest first, or show one."""
    from storage.dead_letters import count_dead_letters, find_dead_letters, get_dead_letter

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


def labels(
    loaded: Site,
    *,
    out: Path,
    site: str = "",
    stock: str = "5160",
    force: bool = False,
    printer: Printer,
) -> None:
    """Print labels with QR codes, which lead the installer's phone to the test of the sensor."""
    from alerts.page.labels import STOCKS, labels_of, labels_pdf
    from language.messages import speaking
    from storage.files import atomic_write

    school, found = loaded.config, labels_of(loaded.registry(site), loaded.config.web.url)
    if stock not in STOCKS:
        raise UsageError(f"--stock {stock}: one of {', '.join(STOCKS)}")
    if not school.web.public_url:
        raise UsageError("web.public_url: must be set, as the labels lead phones there")
    check_output(out, force=force, suffixes=(".pdf",))
    with progress("drawing"), speaking(school.language):
        content = labels_pdf(found, stock)
    with atomic_write(out) as draft:
        draft.write_bytes(content)
    printer.say(
        f"wrote {out}: {len(found)} labels, which lead to {school.web.url}",
        wrote=out,
        labels=len(found),
    )


def levels(site: Site, *, printer: Printer) -> None:
    """Print each sensor's alert threshold, budget, expected false alarms and lost sensitivity."""
    from alerts.incidents.adaptations import active_model
    from alerts.incidents.threshold_adjustments import load_thresholds
    from detection.model import Model

    registry = site.config.registry()
    with site.read(site.paths.state) as state:
        reports, model = load_thresholds(state), active_model(state, Model.shipped())
    rows = []
    for sensor in registry.sensors:
        report, room = reports.get(sensor), registry.room_of(sensor)
        fields = {"sensor": sensor, "level": None if report is None else asdict(report)}
        cells = _level_cells(report, model)
        rows.append((fields, (sensor, room.short_name if room else "", *cells)))
    printer.table(_LEVEL_COLUMNS, rows)


def _level_cells(report: ThresholdReport | None, model: Model) -> tuple[str, ...]:
    from alerts.page.views.thresholds import probability

    if report is None:
        return ("no data yet", *[""] * 6)
    over = "" if report.within_budget else " (over)"
    return (
        f"{probability(report.level, model):.2f}",
        "learning" if report.expected is None else f"{report.expected:.1f}{over}",
        f"{report.budget:g}",
        _lost(report.lost),
        _lost(report.lost_lowest),
        f"{report.feedback:+.3g}" if report.feedback else "not moved",
        f"{report.weeks:.1f} weeks",
    )


def _lost(share: float | None) -> str:
    if share is None:
        return "not known"
    return f"{100 * share:.0f} %" if share >= 0.0 else f"{-100 * share:.0f} % more found"


def level_moves(site: Site, sensor: str = "", limit: int = 20, *, printer: Printer) -> None:
    """Print the threshold adjustments that feedback made, newest first."""
    from alerts.incidents.threshold_adjustments import latest

    rows = []
    with site.read(site.paths.state) as state:
        for one in latest(state, sensor=sensor, limit=limit):
            why = f"undoes {one.undoes}: {one.reason}" if one.undoes else one.reason
            cells = (
                *(one.seq, site.format_time(one.at), one.who, one.sensor),
                *(f"{one.before:+.3g}", f"{one.after:+.3g}"),
                *(why + (" (undone)" if one.undone else ""), one.incident),
            )
            rows.append((asdict(one), cells))
    columns = ("No.", "When", "Who", "Sensor", "From", "To", "Why", "Incident")
    printer.table(columns, rows)


def level_undo(number: int, reason: str, site: Site, who: str = "", *, printer: Printer) -> None:
    """Undo an adjustment of a sensor's threshold; a running service applies it at once."""
    import time

    from alerts.incidents.threshold_adjustments import undo
    from storage.audit import machine_user
    from storage.sqlite import transaction

    why = " ".join(reason.split())[:200]
    if not why:
        raise UsageError("--reason: please say why; it is recorded")
    name = " ".join(who.split())[:60] or machine_user()
    with site.state() as state, transaction(state) as tx:
        undone = undo(tx, number, name, time.time(), why)
    printer.say(
        f"adjustment {undone.seq} undoes adjustment {number}: {undone.sensor}"
        f" {undone.before:+.3g} to {undone.after:+.3g}",
        **asdict(undone),
    )


_TICK_S: Final = 1.0


def commission(room: str, site: Site, *, level: bool = True, printer: Printer) -> int:
    """Test a room in five minutes: what its sensors see, and how late; the service must run."""
    from plumewatch import room_test
    from storage.audit import machine_user
    from storage.lease import service_of

    rooms = site.config.registry().rooms
    if room not in rooms:
        raise UsageError(f"ROOM: {room!r}: one of {some(rooms)}")
    if not any(sensor.room == room for sensor in site.config.sensor):
        raise UsageError(f"ROOM: {room!r}: needs a [[sensor]] with room = {room!r}")
    if service_of(site.paths.lock) is None:
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


def adapt(
    site: Site,
    reason: str = "",
    *,
    apply: bool = False,
    undo: bool = False,
    history: bool = False,
    printer: Printer,
) -> None:
    """Fit the detector to the school's answers, and show what that would have changed."""
    if apply + undo + history > 1:
        raise UsageError("--apply, --undo and --history exclude each other")
    why = " ".join(reason.split())[:200]
    if history:
        _print_history(site, printer)
    elif undo:
        _undo(site, printer, why)
    else:
        _try(site, printer, why, apply=apply)


def _print_history(site: Site, printer: Printer) -> None:
    from alerts.incidents import adaptations

    with site.state() as state:
        changes = adaptations.history(state)
        active = adaptations.active_number(state)
    rows = []
    for one in changes:
        names = _name(one.before), _name(one.after)
        cells = (one.seq, site.format_time(one.at), one.who, *names, one.reason)
        rows.append((asdict(one), cells))
    printer.table(("No.", "When", "Who", "From", "To", "Why"), rows)
    printer.say(f"active: {_name(active)}", active=active)


def _undo(site: Site, printer: Printer, why: str) -> None:
    from alerts.incidents import adaptations
    from storage.audit import machine_user
    from storage.sqlite import transaction

    if not why:
        raise UsageError("--reason: please say why; it is recorded")
    with site.state() as state, transaction(state) as tx:
        change = adaptations.undo(tx, machine_user(), time.time(), why)
    printer.say(
        f"{_name(change.before)} is undone; active: {_name(change.after)}", **asdict(change)
    )


def _try(site: Site, printer: Printer, why: str, *, apply: bool) -> None:
    from alerts.errors import AdaptationError
    from alerts.incidents import adaptations
    from detection.model import Model
    from plumewatch.adaptation import adapt as try_adaptation
    from plumewatch.adaptation import backtest_fields
    from storage.audit import machine_user
    from storage.sqlite import transaction

    now, who = time.time(), machine_user()
    try:
        with site.state() as state, site.series() as series, progress("back-testing") as update:
            trial = try_adaptation(
                site.config,
                state,
                series,
                now,
                lambda done, of: update(completed=done, total=of),
            )
    except AdaptationError as error:
        if apply:
            raise
        printer.say(f"no adaptation yet: {error}", ready=False, why=str(error))
        return
    fields, better = backtest_fields(trial), trial.change.is_better
    since = site.format_time(trial.split)
    lines = [f"{trial.answers} answered alerts; back-test on the readings since {since}"]
    printer.say("\n".join([*lines, *change_lines(fields)]), ready=better, **fields)
    if not apply:
        words = "better: `plumewatch adapt --apply` uses it" if better else "not better: not usable"
        printer.say(words, better=better)
        return
    if not better:
        raise RefusedError("it is not better on these readings, so it is not used")
    with site.state() as state, transaction(state) as tx:
        number = adaptations.propose(tx, Model.shipped(), trial.correction, fields, who, now)
        adaptations.apply(tx, number, who, now, why or "better in the back-test")
    printer.say(
        f"adaptation {number} is active; `plumewatch adapt --undo` undoes it", active=number
    )


def change_lines(fields: Mapping[str, float]) -> list[str]:
    """Say what an adaptation would have changed, one fact a line."""
    f = {key: f"{value:g}" for key, value in fields.items()}
    return [
        f"  confirmed alerts  {f['confirmed']}, of which {f['confirmed_gone']} would be lost",
        f"  false alarms      {f['false']}, of which {f['false_gone']} would be gone",
        f"  unanswered alerts {f['unanswered']}, of which {f['unanswered_gone']} would be gone",
        f"  new alerts        {f['new']}, of which {f['new_vaping']} are expected to be vaping",
    ]


def _name(number: int | None) -> str:
    return "no adaptation" if number is None else f"adaptation {number}"
