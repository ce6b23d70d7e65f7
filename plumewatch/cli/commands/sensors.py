"""Commands about sensors: their state, their messages, their levels."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Final

import typer

from plumewatch.cli.commands.options import (
    ConfigOption,
    JsonOption,
    fail,
    group,
    manual,
)
from plumewatch.cli.exit_codes import REFUSED, USAGE
from plumewatch.cli.printer import Printer

_MOST_TO_DECODE: Final = 64 * 1024 * 1024

app = typer.Typer()
mapping_app = group("Formats of devices that no decoder knows, from the configuration.")
levels_app = typer.Typer(help="What each sensor alerts from, and what that costs.")
app.add_typer(mapping_app, name="mapping")
app.add_typer(levels_app, name="levels")


@app.command(epilog=manual("plumewatch status", "plumewatch status --json"))
def status(config: ConfigOption = Path("plumewatch.toml"), *, as_json: JsonOption = False) -> None:
    """Print what is known and counted of every registered sensor."""
    from plumewatch.cli.status import run_status  # noqa: PLC0415 - imported where needed

    raise typer.Exit(run_status(config, Printer(as_json=as_json)))


@app.command(
    "dead-letters",
    epilog=manual(
        "plumewatch dead-letters --reason malformed --limit 5",
        "plumewatch dead-letters 17 --json",
    ),
)
def dead_letters(
    number: Annotated[
        int | None, typer.Argument(help="Show this one whole, its content escaped.")
    ] = None,
    config: ConfigOption = Path("plumewatch.toml"),
    reason: Annotated[str, typer.Option("--reason", help="Only those refused for it.")] = "",
    source: Annotated[
        str, typer.Option("--source", help="Only of this decoder, or of topics that begin so.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 20,
    *,
    as_json: JsonOption = False,
) -> None:
    """List refused messages, newest first, or show one."""
    from plumewatch.cli.status import run_dead_letters  # noqa: PLC0415

    printer = Printer(as_json=as_json)
    raise typer.Exit(
        run_dead_letters(config, printer, number=number, reason=reason, source=source, limit=limit)
    )


@levels_app.callback(
    invoke_without_command=True, epilog=manual("plumewatch levels", "plumewatch levels --json")
)
def levels(
    context: typer.Context,
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Print each sensor's level, budget, expected false alarms and cost in sensitivity."""
    if context.invoked_subcommand is not None:
        return
    from plumewatch.cli.levels import run_levels  # noqa: PLC0415

    raise typer.Exit(run_levels(config, Printer(as_json=as_json)))


@levels_app.command(
    "moves", epilog=manual("plumewatch levels moves --sensor n2-boys-1 --limit 5 --json")
)
def level_moves(
    config: ConfigOption = Path("plumewatch.toml"),
    sensor: Annotated[str, typer.Option("--sensor", help="Only of this sensor.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")] = 20,
    *,
    as_json: JsonOption = False,
) -> None:
    """Print the moves that feedback made, newest first."""
    from plumewatch.cli.levels import run_moves  # noqa: PLC0415

    raise typer.Exit(run_moves(config, Printer(as_json=as_json), sensor=sensor, limit=limit))


@levels_app.command("undo", epilog=manual('plumewatch levels undo 17 --reason "it was a drill"'))
def level_undo(
    number: Annotated[int, typer.Argument(help="Number of the move (see `levels moves`).")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays on record.")],
    config: ConfigOption = Path("plumewatch.toml"),
    who: Annotated[str, typer.Option("--who", help="Who says so; you by default.")] = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Take a move of a sensor's level back."""
    from plumewatch.cli.levels import run_undo  # noqa: PLC0415

    printer = Printer(as_json=as_json)
    raise typer.Exit(run_undo(config, number, printer, reason=reason, who=who, now=time.time()))


@app.command(
    epilog=manual(
        "plumewatch decode --topic plumewatch/v1/b2/reading payload.json",
        "plumewatch decode --topic lora/as-17/up --decoder milesight --hex frame.txt",
        "mosquitto_sub -h 192.0.2.10 -v -t 'tele/#' -C 50 | plumewatch decode --lines",
    )
)
def decode(
    topic: Annotated[str | None, typer.Option("--topic", help="MQTT topic of the message.")] = None,
    file: Annotated[Path | None, typer.Argument(help="Payload; standard input without it.")] = None,
    *,
    lines: Annotated[
        bool,
        typer.Option("--lines", help="Instead of --topic: a topic and a payload a line."),
    ] = False,
    is_hex: Annotated[bool, typer.Option("--hex", help="The payload is hex digits.")] = False,
    is_base64: Annotated[bool, typer.Option("--base64", help="The payload is base64.")] = False,
    decoder: Annotated[
        str | None,
        typer.Option("--decoder", help="Decoder, or mapping:NAME, instead of the topic's."),
    ] = None,
    retained: Annotated[
        bool, typer.Option("--retained", help="As delivered from the broker's store.")
    ] = False,
    flags: Annotated[bool, typer.Option("--flags", help="Show quality flags too.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Whose mappings and routes count too.")
    ] = None,
    as_json: Annotated[  # noqa: ARG001 - it is JSON anyway
        bool, typer.Option("--json", help="As without it: one JSON line a reading.")
    ] = False,
) -> None:
    """Print what a message means, one JSON line a reading."""
    from plumewatch.cli.decode import DecodeOptions, decode_command  # noqa: PLC0415

    try:
        with nullcontext(sys.stdin.buffer) if file is None else file.open("rb") as source:
            data = source.read(_MOST_TO_DECODE + 1)
    except OSError as error:
        raise fail(f"{file}: {error.strerror}", USAGE) from error
    if len(data) > _MOST_TO_DECODE:
        raise fail(f"rejected: too_large: more than {_MOST_TO_DECODE} bytes", REFUSED)
    options = DecodeOptions(decoder, lines, is_hex, is_base64, retained, flags)
    raise typer.Exit(decode_command(topic, data, sys.stdout, sys.stderr, options, config))


@mapping_app.command(
    "suggest",
    epilog=manual("plumewatch mapping suggest --topic site/n2/as-17/state sample.json"),
)
def mapping_suggest(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Payloads, one a line or one a file; standard input without any."),
    ] = None,
    topic: Annotated[
        str, typer.Option("--topic", help="MQTT topic of the payloads, or with {captures}.")
    ] = "",
    name: Annotated[str, typer.Option("--name", help="Name of the mapping.")] = "",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Whose time zone local times are in.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Propose a mapping (TOML) from payloads or Home Assistant discovery messages."""
    from plumewatch.cli.mapping_command import run_suggest  # noqa: PLC0415

    data = None if files else sys.stdin.buffer.read()
    printer = Printer(as_json=as_json)
    raise typer.Exit(
        run_suggest(topic, files or [], data, printer, name=name, config=config, now=time.time())
    )


@mapping_app.command("test", epilog=manual("plumewatch mapping test --json"))
def mapping_test(
    config: ConfigOption = Path("plumewatch.toml"), *, as_json: JsonOption = False
) -> None:
    """Run the examples of every mapping of a configuration."""
    from plumewatch.cli.mapping_command import run_test  # noqa: PLC0415

    raise typer.Exit(run_test(config, Printer(as_json=as_json)))


@app.command(
    "http-template",
    epilog=manual("plumewatch http-template halo --url https://plumewatch.example.org:8421"),
)
def http_template(
    decoder: Annotated[str, typer.Argument(help="Format of the device, such as halo.")] = "halo",
    url: Annotated[
        str, typer.Option("--url", help="Where the device reaches the HTTP ingest.")
    ] = "http://127.0.0.1:8421",
    *,
    as_json: JsonOption = False,
) -> None:
    """Print what to paste into a device that posts over HTTP."""
    from plumewatch.cli.http_template import run_template  # noqa: PLC0415

    raise typer.Exit(run_template(decoder, url, Printer(as_json=as_json)))
