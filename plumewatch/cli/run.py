"""`plumewatch check`, `run` and `demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plumewatch.cli.options import (
    CONFIG,
    DONE,
    UNREACHABLE,
    USAGE,
    ConfigOption,
    JsonOption,
    examples,
)
from plumewatch.cli.printer import Printer, progress
from plumewatch.config.faults import NO_SCHOOL, ConfigError, located

if TYPE_CHECKING:
    from collections.abc import Collection

    from plumewatch.check.result import CheckResult


app = typer.Typer()


@app.command(
    rich_help_panel="Start",
    epilog=examples(
        "plumewatch check", "plumewatch check --config /etc/plumewatch/plumewatch.toml --json"
    ),
)
def check(*, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> int:
    """List all faults of a configuration, then try broker, store and notifiers."""
    printer = Printer(as_json=as_json)
    return run_check(config, printer)


def run_check(
    path: Path, printer: Printer, now: float | None = None, *, not_yet: Collection[str] = ()
) -> int:
    """Check a configuration and what it names; return the exit code of the command.

    Parts in `not_yet` need not work yet, and only what is well with them is printed.
    """
    from plumewatch.check.check import check
    from plumewatch.check.result import CheckResult, State
    from plumewatch.config.sites import FOLDER

    code, results = DONE, check(path, time.time() if now is None else now)
    try:
        while True:
            with progress("checking"):
                result = next(results, None)
            if result is None:
                return code
            if result.part in not_yet and result.state is not State.OK:
                continue
            _print_result(result, printer)
            code = UNREACHABLE if result.state is State.FAULT else code
    except ConfigError as error:
        for found in error.faults:
            where = located(found.path, error.tree)
            sentence, remedy = f"{found.value}: {found.allowed}", f"change {where}"
            if not where.startswith(f"{FOLDER}/"):
                remedy += f" in {path}"
            if found == NO_SCHOOL or found.path == str(path):
                sentence, remedy = found.value, found.allowed
            fault = CheckResult(found.path, State.FAULT, sentence, remedy)
            _print_result(fault, printer, where)
        return USAGE


def _print_result(result: CheckResult, printer: Printer, where: str = "") -> None:
    remedy = f"\n      do: {result.remedy}" if result.remedy else ""
    fields: dict[str, object] = {
        "part": result.part,
        "ok": result.state != "FAULT",
        "finding": result.sentence,
    }
    if result.state == "warn":
        fields["warning"] = True
    if result.remedy:
        fields["remedy"] = result.remedy
    printer.say(f"{result.state:5} {where or result.part}: {result.sentence}{remedy}", **fields)


@app.command(
    rich_help_panel="Start",
    epilog=examples("plumewatch run --config /etc/plumewatch/plumewatch.toml"),
)
def run(*, config: ConfigOption = CONFIG) -> None:
    """Run the service: ingest, detection, alerts and the staff page; logs to standard error."""
    from plumewatch.service.run import serve

    serve(config)


@app.command(
    rich_help_panel="Start",
    epilog=examples("plumewatch demo", "plumewatch demo --seconds 60 --plain"),
)
def demo(
    *,
    port: Annotated[int, typer.Option(help="Port of the staff page.", min=1, max=65535)] = 8420,
    seconds: Annotated[float, typer.Option(help="Stop after this; 0 runs on.", min=0)] = 0,
    keep: Annotated[
        Path | None, typer.Option(help="Keep configuration and data in this new folder.")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live screen.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a simulated school, broker, detector, alerts and staff page on this machine."""
    import asyncio
    import logging
    import tempfile

    from plumewatch.cli.demo.command import Demo
    from plumewatch.errors import UsageError

    printer = Printer(as_json=as_json)
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="plumewatch-demo-") as folder:
            asyncio.run(Demo(Path(folder), port, printer, plain=plain).run(seconds))
        return
    try:
        keep.mkdir(mode=0o700)
    except OSError as error:
        raise UsageError(f"{keep}: {error.strerror}; --keep needs a new folder") from error
    asyncio.run(Demo(keep.resolve(), port, printer, plain=plain).run(seconds))
    config = keep / CONFIG
    printer.say(
        f"kept in {keep}; its days are in September 2026. Try:\n"
        f"  plumewatch status --config {config}\n"
        f"  plumewatch report summary --config {config} --from 2026-09-14 --to 2026-09-15",
        kept=keep,
    )
