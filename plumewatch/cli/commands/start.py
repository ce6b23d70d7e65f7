"""Commands that set Plumewatch up and run it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from plumewatch.cli.commands.options import ConfigOption, JsonOption, fail, manual
from plumewatch.cli.exit_codes import USAGE
from plumewatch.cli.printer import Printer

app = typer.Typer()


@app.command(epilog=manual("plumewatch init", "plumewatch init /etc/plumewatch/plumewatch.toml"))
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("plumewatch.toml"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Write a commented starter configuration."""
    from plumewatch.cli.starter import STARTER  # noqa: PLC0415 - imported where needed

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(STARTER)
    except FileExistsError as error:
        raise fail(f"{path}: exists already; choose another name", USAGE) from error
    except OSError as error:
        raise fail(f"{path}: {error.strerror}", USAGE) from error
    Printer(as_json=as_json).say(
        f"wrote {path}; next: edit it, then `plumewatch check --config {path}`", wrote=path
    )


@app.command(
    epilog=manual("plumewatch setup", "plumewatch setup --answers answers.toml --folder site")
)
def setup(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where configuration, secrets and accounts go.")
    ] = Path(),
    answers: Annotated[
        Path | None,
        typer.Option("--answers", help="Answers in TOML (docs/setup.md); asks you without it."),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Find sensors on a broker, and write configuration and accounts; nine questions at most."""
    from plumewatch.cli.setup.command import run_setup  # noqa: PLC0415

    def question(text: str, default: str = "", *, hidden: bool = False) -> str:
        asked = typer.prompt(text, default=default, show_default=bool(default), hide_input=hidden)
        return str(asked).strip()

    printer = Printer(as_json=as_json)
    raise typer.Exit(run_setup(folder, answers, printer, question if sys.stdin.isatty() else None))


@app.command(
    epilog=manual(
        "plumewatch check",
        "plumewatch check --config /etc/plumewatch/plumewatch.toml --json",
    )
)
def check(config: ConfigOption = Path("plumewatch.toml"), *, as_json: JsonOption = False) -> None:
    """List all faults of a configuration, then try broker, store and notifiers."""
    from plumewatch.doctor.check import run_check  # noqa: PLC0415

    raise typer.Exit(run_check(config, Printer(as_json=as_json)))


@app.command(
    epilog=manual(
        "plumewatch commission N2-boys",
        "plumewatch commission N2-boys --no-level --json",
    )
)
def commission(
    room: Annotated[str, typer.Argument(help="Id of a `room` block.")],
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    level: Annotated[
        bool, typer.Option("--level/--no-level", help="Set levels to what the test asks for.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Test a room in five minutes: what its sensors see, and how late; the service must run."""
    from plumewatch.cli.commission.command import run_commission  # noqa: PLC0415

    def ready(instruction: str) -> None:
        typer.echo(instruction, err=True)
        if sys.stdin.isatty():
            typer.prompt("Press Enter as you begin", default="", show_default=False, err=True)

    printer = Printer(as_json=as_json)
    raise typer.Exit(run_commission(config, room, printer, ready=ready, set_level=level))


@app.command(
    epilog=manual(
        "plumewatch run --config /etc/plumewatch/plumewatch.toml",
        "plumewatch run --standby",
        "plumewatch run --shard 0/2",
    )
)
def run(
    config: ConfigOption = Path("plumewatch.toml"),
    *,
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another service holds the data folder.")
    ] = False,
    shard: Annotated[
        str,
        typer.Option(
            "--shard",
            envvar="PLUMEWATCH_SHARD",
            help="One of several processes by building, as in 0/2 and 1/2.",
        ),
    ] = "",
) -> None:
    """Run the service: ingest, detection, alerts and the staff page; logs to standard error."""
    from plumewatch.service.run import run_service  # noqa: PLC0415

    raise typer.Exit(run_service(config, standby=standby, shard=shard))


@app.command(epilog=manual("plumewatch demo", "plumewatch demo --seconds 60 --plain"))
def demo(
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Port of the staff page.")
    ] = 8420,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, help="Stop by itself after this; 0 runs on.")
    ] = 0,
    *,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live screen.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a simulated school, broker, detector, alerts and staff page on this machine."""
    from plumewatch.cli.demo import run_demo  # noqa: PLC0415

    raise typer.Exit(run_demo(Printer(as_json=as_json), port=port, seconds=seconds, plain=plain))


@app.command(epilog=manual("plumewatch version", "plumewatch version --json"))
def version(*, as_json: JsonOption = False) -> None:
    """Print the version of the program and of the detector's model."""
    from detection.model import Model  # noqa: PLC0415
    from plumewatch import __version__  # noqa: PLC0415

    model = Model.shipped().version
    Printer(sys.stdout, as_json=as_json).say(
        f"plumewatch {__version__} (detector model {model})", version=__version__, model=model
    )
