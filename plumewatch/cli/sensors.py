"""`plumewatch status`, `dead-letters` and `levels`: what is stored about each sensor."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from ingest.errors import RefusedError
from plumewatch.cli.exit_codes import exit_codes
from plumewatch.cli.options import CONFIG, ConfigOption, JsonOption, command, manual
from plumewatch.cli.printer import Printer
from plumewatch.cli.site import Site
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from detection.alert_thresholds import ThresholdReport
    from storage.dead_letters import StoredDeadLetter

app = typer.Typer()
levels_app = typer.Typer(help="The alert threshold of each sensor, and its effects.")
app.add_typer(levels_app, name="levels")

_LEVEL_COLUMNS = (
    *("Sensor", "Room", "Alerts from", "False alarms a week", "Tolerable", "Vaping missed"),
    *("Against lowest", "By feedback", "Observed"),
)


@command(app, "status", "plumewatch status", "plumewatch status --json")
def status(config: ConfigOption = CONFIG, *, as_json: JsonOption = False) -> None:
    """Print state and counters of every registered sensor."""
    from plumewatch.sensor_status import stored_statuses

    site = Site.load(config)
    registry = site.config.registry()
    rows = []
    with site.read(site.paths.state) as state:
        for name, found in stored_statuses(state, registry).items():
            room = registry.room_of(name)
            cells = (
                name,
                found.state,
                room.short_name if room else "",
                "never" if found.heard is None else site.format_time(found.heard),
                f"{found.interval_s:.3g} s",
                found.firmware,
                ", ".join(f"{key} {n:,}" for key, n in found.counts.items()),
            )
            fields = {"sensor": name, "room": registry.sensors[name].room, **asdict(found)}
            rows.append((fields, cells))
    columns = (
        "Sensor",
        "State",
        "Room",
        "Last live reading",
        "Reports every",
        "Firmware",
        "Counts",
    )
    Printer(as_json=as_json).table(columns, rows)


@command(
    app,
    "dead-letters",
    "plumewatch dead-letters --reason malformed --limit 5",
    "plumewatch dead-letters 17 --json",
)
def dead_letters(
    number: Annotated[
        int | None, Argument(help="Show this one in full, its content escaped.")
    ] = None,
    config: ConfigOption = CONFIG,
    reason: Annotated[str, Option(help="Only those refused for it.")] = "",
    source: Annotated[str, Option(help="Only of this decoder, or of topics that begin so.")] = "",
    limit: Annotated[int, Option(min=1, max=1000, help="Largest number.")] = 20,
    *,
    as_json: JsonOption = False,
) -> None:
    """List refused messages, newest first, or show one."""
    from storage.dead_letters import count_dead_letters, find_dead_letters, get_dead_letter

    site, printer = Site.load(config), Printer(as_json=as_json)
    with site.read(site.paths.journal) as journal:
        if number is not None:
            found = get_dead_letter(journal, number)
            if found is None:
                raise RefusedError(f"there is no refused message {number}, or not any more")
            fields = _letter_fields(found)
            shown = {**fields, "received": site.format_time(found.letter.received)}
            printer.say("\n".join(f"{key:<9}{value}" for key, value in shown.items()), **fields)
            return
        if not as_json:
            counts = count_dead_letters(journal).items()
            printer.table(
                ("Reason", "Decoder", "Messages"),
                (({}, (why, decoder or "none reached", f"{n:,}")) for (why, decoder), n in counts),
            )
            printer.say("")
        rows = [
            (
                _letter_fields(one),
                (
                    *(one.id, site.format_time(one.letter.received), one.letter.reason),
                    *(one.source, one.letter.detail),
                ),
            )
            for one in find_dead_letters(journal, reason=reason, source=source, limit=limit)
        ]
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


@levels_app.callback(
    invoke_without_command=True, epilog=manual("plumewatch levels", "plumewatch levels --json")
)
def levels(
    context: typer.Context, config: ConfigOption = CONFIG, *, as_json: JsonOption = False
) -> None:
    """Print each sensor's alert threshold, budget, expected false alarms and lost sensitivity."""
    if context.invoked_subcommand is None:
        _print_levels(config, as_json=as_json)


@exit_codes
def _print_levels(config: Path, *, as_json: bool) -> None:
    from alerts.incidents.threshold_adjustments import load_thresholds

    site = Site.load(config)
    registry = site.config.registry()
    with site.read(site.paths.state) as state:
        reports = load_thresholds(state)
    rows = []
    for sensor in registry.sensors:
        report, room = reports.get(sensor), registry.room_of(sensor)
        fields = {"sensor": sensor, "level": None if report is None else asdict(report)}
        rows.append((fields, (sensor, room.short_name if room else "", *_level_cells(report))))
    Printer(as_json=as_json).table(_LEVEL_COLUMNS, rows)


def _level_cells(report: ThresholdReport | None) -> tuple[str, ...]:
    from alerts.page.views.thresholds import probability

    if report is None:
        return ("no data yet", *[""] * 6)
    over = "" if report.within_budget else " (over)"
    return (
        f"{probability(report.level):.2f}",
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


@command(levels_app, "moves", "plumewatch levels moves --sensor n2-boys-1 --limit 5 --json")
def level_moves(
    config: ConfigOption = CONFIG,
    sensor: Annotated[str, Option(help="Only of this sensor.")] = "",
    limit: Annotated[int, Option(min=1, max=10000, help="Largest number.")] = 20,
    *,
    as_json: JsonOption = False,
) -> None:
    """Print the threshold adjustments that feedback made, newest first."""
    from alerts.incidents.threshold_adjustments import latest

    site = Site.load(config)
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
    Printer(as_json=as_json).table(columns, rows)


@command(levels_app, "undo", 'plumewatch levels undo 17 --reason "it was a drill"')
def level_undo(
    number: Annotated[int, Argument(help="Number of the adjustment (see `levels moves`).")],
    reason: Annotated[str, Option(help="Why; it is recorded.")],
    config: ConfigOption = CONFIG,
    who: Annotated[str, Option(help="Who decided; you by default.")] = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Undo an adjustment of a sensor's threshold; a running service applies it at once."""
    import time

    from alerts.incidents.threshold_adjustments import undo
    from storage.audit import machine_user
    from storage.sqlite import transaction

    why = " ".join(reason.split())[:200]
    if not why:
        raise UsageError("--reason: please say why; it is recorded")
    name = " ".join(who.split())[:60] or machine_user()
    site = Site.load(config)
    with site.state() as state, transaction(state) as tx:
        undone = undo(tx, number, name, time.time(), why)
    Printer(as_json=as_json).say(
        f"adjustment {undone.seq} undoes adjustment {number}: {undone.sensor}"
        f" {undone.before:+.3g} to {undone.after:+.3g}",
        **asdict(undone),
    )
