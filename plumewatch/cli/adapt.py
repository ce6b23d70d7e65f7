"""`plumewatch adapt`: fit the detector to the school's answers, apply it, undo it."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from ingest.errors import RefusedError
from plumewatch.cli.options import CONFIG, ConfigOption, JsonOption, command
from plumewatch.cli.printer import Printer, progress
from plumewatch.cli.site import Site
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer()


@command(
    app,
    "adapt",
    "plumewatch adapt",
    "plumewatch adapt --apply",
    'plumewatch adapt --undo --reason "new cleaning agent"',
    "plumewatch adapt --history --json",
)
def adapt(
    config: ConfigOption = CONFIG,
    reason: Annotated[str, Option(help="Why it is applied or undone; it is recorded.")] = "",
    *,
    apply: Annotated[bool, Option("--apply", help="Use it if it is better.")] = False,
    undo: Annotated[bool, Option("--undo", help="Return to what was used before.")] = False,
    history: Annotated[bool, Option("--history", help="List who changed what, and why.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fit the detector to the school's answers, and show what that would have changed."""
    if apply + undo + history > 1:
        raise UsageError("--apply, --undo and --history exclude each other")
    site, printer = Site.load(config), Printer(as_json=as_json)
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
    rows = [
        (
            asdict(one),
            (
                *(one.seq, site.format_time(one.at), one.who),
                *(_name(one.before), _name(one.after), one.reason),
            ),
        )
        for one in changes
    ]
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
