"""`plumewatch check`, `run` and `version`."""

from __future__ import annotations

from typing import Annotated

import typer

from plumewatch.cli.exit_codes import exit_codes
from plumewatch.cli.options import CONFIG, ConfigOption, JsonOption, manual
from plumewatch.cli.printer import Printer

app = typer.Typer()


@app.command(
    epilog=manual(
        "plumewatch check",
        "plumewatch check --config /etc/plumewatch/plumewatch.toml --json",
    )
)
@exit_codes
def check(config: ConfigOption = CONFIG, *, as_json: JsonOption = False) -> int:
    """List all faults of a configuration, then try broker, store and notifiers."""
    from plumewatch.doctor.check import run_check

    return run_check(config, Printer(as_json=as_json))


@app.command(
    epilog=manual(
        "plumewatch run --config /etc/plumewatch/plumewatch.toml",
        "plumewatch run --standby",
        "plumewatch run --shard 0/2",
    )
)
@exit_codes
def run(
    config: ConfigOption = CONFIG,
    *,
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another service uses the data folder.")
    ] = False,
    shard: Annotated[
        str,
        typer.Option(
            "--shard",
            envvar="PLUMEWATCH_SHARD",
            help="Which part of a service divided by building, as in 0/2 and 1/2.",
        ),
    ] = "",
) -> int:
    """Run the service: ingest, detection, alerts and the staff page; logs to standard error."""
    from plumewatch.service.run import run_service

    return run_service(config, standby=standby, shard=shard)


@app.command(epilog=manual("plumewatch version", "plumewatch version --json"))
@exit_codes
def version(*, as_json: JsonOption = False) -> None:
    """Print the version of the program and of the detector's model."""
    from detection.model import Model
    from plumewatch import __version__

    model = Model.shipped().version
    Printer(as_json=as_json).say(
        f"plumewatch {__version__} (detector model {model})", version=__version__, model=model
    )


@app.command(epilog=manual("plumewatch demo", "plumewatch demo --seconds 60 --plain"))
@exit_codes
def demo(
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Port of the staff page.")
    ] = 8420,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, help="Stop after this; 0 runs on.")
    ] = 0,
    *,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live screen.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a simulated school, broker, detector, alerts and staff page on this machine."""
    import asyncio
    import logging
    import tempfile
    from pathlib import Path

    from plumewatch.cli.demo import Demo

    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    with tempfile.TemporaryDirectory(prefix="plumewatch-demo-") as folder:
        school = Demo(Path(folder), port, Printer(as_json=as_json), plain=plain)
        asyncio.run(school.run(seconds))
