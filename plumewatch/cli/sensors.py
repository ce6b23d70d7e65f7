"""`plumewatch status` and `dead-letters`: states of sensors, and rejected messages."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import structs

from ingest.errors import RefusedError
from plumewatch.check.result import list_places
from plumewatch.cli.options import CONFIG, ConfigOption, JsonOption, Site, list_examples
from plumewatch.cli.printer import echo, print_json, print_table
from storage.files import find_service_start

if TYPE_CHECKING:
    from alerts.page.settings import SensorStatus
    from storage.dead_letters import StoredDeadLetter

app = typer.Typer()


@app.command(
    rich_help_panel="Sensors", epilog=list_examples("plumewatch status", "plumewatch status --json")
)
def status(*, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Print the state and counters of every registered sensor, and list unregistered ones.

    Of a sensor's readings, `late` ones arrived more than ten minutes after they were taken,
    `clock` ones had a wrong time, and `fault` ones reported a faulty quantity.
    """
    from plumewatch.sensor_status import find_unregistered, read_statuses

    site = Site.load(config)
    registry = site.config.build_registry()
    rows = []
    with site.read(site.paths.state) as state:
        for name, found in read_statuses(state, site.config).items():
            room = registry.find_room(name)
            cells = (
                name,
                _describe_state(found, site),
                room.full_name if room else "",
                "never" if found.last_seen is None else site.format_time(found.last_seen),
                f"{found.interval_s:.3g} s",
                ", ".join(f"{key} {n:,}" for key, n in found.counts.items()),
            )
            fields = {"sensor": name, "room": registry.sensors[name].room, **asdict(found)}
            del fields["poll_error"], fields["poll_failing_since"]  # only the service knows them
            rows.append((fields, cells))
    columns = ("Sensor", "State", "Room", "Last reading", "Interval", "Counts")
    print_table(columns, rows, as_json=as_json)
    if as_json:
        return
    started = find_service_start(site.paths.lock)
    runs = f"has run since {site.format_time(started)}" if started else "is not running"
    echo(f"\nAs of {site.format_time(time.time())}; the service {runs}.")
    unregistered, of_closed = find_unregistered(site.config)
    if unregistered:
        echo(
            f"Not registered, so they raise no alert: {list_places(unregistered)}. Add a [[sensor]]"
            " block for each, or use Settings, Sensors on the page"
        )
    if of_closed:
        echo(f"Their school is closed, but they still publish: {list_places(of_closed)}")


def _describe_state(found: SensorStatus, site: Site) -> str:
    from detection.quantities import describe_unit

    since = found.no_particles_since
    blind = [] if since is None else [f"no particles since {site.format_time(since)}"]
    state = {"alive": "reporting", "never heard": "no reading yet"}.get(found.state, found.state)
    return ", ".join([state, *blind, *map(describe_unit, found.unlikely)])


@app.command(
    "dead-letters",
    rich_help_panel="Sensors",
    epilog=list_examples(
        "plumewatch dead-letters --reason malformed --limit 5", "plumewatch dead-letters 17 --json"
    ),
)
def dead_letters(
    number: Annotated[
        int | None, typer.Argument(help="Print this one in full, with its content escaped.")
    ] = None,
    *,
    config: ConfigOption = CONFIG,
    reason: Annotated[str, typer.Option(help="Only those rejected for this reason.")] = "",
    limit: Annotated[int, typer.Option(help="Maximum number of messages.", min=1, max=1000)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List rejected messages, newest first, or print one."""
    from storage.dead_letters import count_dead_letters, find_dead_letters

    site = Site.load(config)
    with site.read(site.paths.journal) as journal:
        if number is not None:
            found = next(iter(find_dead_letters(journal, before=number + 1, limit=1)), None)
            if found is None or found.id != number:
                raise RefusedError(
                    f"no rejected message has the number {number}, or it was deleted"
                )
            fields = _list_fields(found)
            if as_json:
                print_json(fields)
                return
            fields["received"] = site.format_time(found.letter.received)
            echo("\n".join(f"{key:<9}{value}" for key, value in fields.items()))
            return
        if not as_json:
            counts = count_dead_letters(journal).items()
            print_table(
                ("Reason", "Decoder", "Messages"),
                (({}, (why, decoder or "none", f"{n:,}")) for (why, decoder), n in counts),
            )
            echo()
        rows = []
        for one in find_dead_letters(journal, reason=reason, limit=limit):
            at, why = site.format_time(one.letter.received), one.letter.reason
            cells = (one.id, one.letter.topic, at, why, one.letter.detail, one.letter.decoder)
            rows.append((_list_fields(one), cells))
    print_table(("No.", "Topic", "Received", "Reason", "Detail", "Decoder"), rows, as_json=as_json)


def _list_fields(found: StoredDeadLetter) -> dict[str, Any]:
    from storage.dead_letters import make_visible

    letter = structs.asdict(found.letter)
    return {"id": found.id, **letter, "payload": make_visible(found.letter.payload)}
