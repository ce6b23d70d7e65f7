"""Commands about people: who is told, when, and who may sign in."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from plumewatch.cli.commands.options import ConfigOption, JsonOption, group, manual
from plumewatch.cli.printer import Printer

app = typer.Typer()
routes_app = group("Who is told of what, when and why.")
staff_app = group("Who may sign in on the staff page.")
app.add_typer(routes_app, name="routes")
app.add_typer(staff_app, name="staff")


@app.command(
    epilog=manual(
        "plumewatch timeline --room N2-boys --kind vape",
        "plumewatch timeline --at 2026-09-07T10:05 --json",
    )
)
def timeline(
    config: ConfigOption = Path("plumewatch.toml"),
    room: Annotated[str, typer.Option("--room", help="Id of a room; the first one if empty.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="What is detected there.")] = "vape",
    at: Annotated[str, typer.Option("--at", help="Local time, 2026-09-07T10:05.")] = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Print who would be told when after an alert, and what keeps notices few."""
    from plumewatch.cli.timeline_command import run_timeline  # noqa: PLC0415 - imported where needed

    printer = Printer(as_json=as_json)
    raise typer.Exit(run_timeline(config, printer, room=room, kind=kind, at=at))


@routes_app.command(
    "test",
    epilog=manual("plumewatch routes test --at 2026-09-07T10:05 room=N2-boys kind=vape --json"),
)
def routes_test(
    labels: Annotated[
        list[str], typer.Argument(help="What happened, as in: room=N2-boys kind=vape")
    ],
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    at: Annotated[
        str,
        typer.Option("--at", help="As in 2026-09-07T10:05, in the school's zone; now if empty."),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Print who would be told of an incident, in what order, and why."""
    from plumewatch.cli.routes_command import run_test  # noqa: PLC0415

    raise typer.Exit(run_test(config, labels, Printer(as_json=as_json), at=at))


@routes_app.command(
    "gaps",
    epilog=manual("plumewatch routes gaps", "plumewatch routes gaps --from 2026-09-07 --days 30"),
)
def routes_gaps(
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    start: Annotated[str, typer.Option("--from", help="First day, as in 2026-09-07.")] = "",
    days: Annotated[int, typer.Option("--days", min=1, max=400, help="How many days.")] = 14,
    as_json: JsonOption = False,
) -> None:
    """List every lesson period in which a room has nobody on duty in reach."""
    from plumewatch.cli.routes_command import run_gaps  # noqa: PLC0415

    raise typer.Exit(run_gaps(config, Printer(as_json=as_json), start=start, days=days))


@staff_app.command("list", epilog=manual("plumewatch staff list --json"))
def staff_list(
    config: ConfigOption = Path("plumewatch.toml"), *, as_json: JsonOption = False
) -> None:
    """Print staff, their roles, and who can sign in."""
    from plumewatch.cli.staff_command import run_list  # noqa: PLC0415

    raise typer.Exit(run_list(config, time.time(), Printer(as_json=as_json)))


@staff_app.command("password", epilog=manual("plumewatch staff password ap-north --generate"))
def staff_password(
    person: Annotated[str, typer.Argument(help="Id of a `staff` block.")],
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    generate: Annotated[
        bool, typer.Option("--generate", help="Make one and print it, to be changed by its owner.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Set a password, asked for or from standard input; ends the person's sessions."""
    from plumewatch.cli.staff_command import run_password  # noqa: PLC0415

    now, printer = time.time(), Printer(as_json=as_json)
    raise typer.Exit(
        run_password(config, person, now, source=sys.stdin, printer=printer, generate=generate)
    )


@staff_app.command(
    "test", epilog=manual("plumewatch staff test", "plumewatch staff test ap-north --json")
)
def staff_test(
    person: Annotated[str, typer.Argument(help="Id of a `staff` block; all without it.")] = "",
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Send a test notice to every address of one person or of all; 3 if one is not taken."""
    from plumewatch.cli.setup.command import run_trial  # noqa: PLC0415

    raise typer.Exit(run_trial(config, person, Printer(as_json=as_json)))


@staff_app.command("sign-out", epilog=manual("plumewatch staff sign-out ap-north"))
def staff_sign_out(
    person: Annotated[str, typer.Argument(help="Id, also of one who is not listed any more.")],
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Sign a person out everywhere."""
    from plumewatch.cli.staff_command import run_sign_out  # noqa: PLC0415

    raise typer.Exit(run_sign_out(config, person, time.time(), Printer(as_json=as_json)))
