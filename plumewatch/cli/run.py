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
    list_examples,
)
from plumewatch.cli.printer import echo, print_json, show_progress
from plumewatch.config.faults import ConfigError, find_line, merge_repeated

if TYPE_CHECKING:
    from collections.abc import Collection

    from plumewatch.check.result import CheckResult


app = typer.Typer()


@app.command(
    rich_help_panel="Start",
    epilog=list_examples(
        "plumewatch check", "plumewatch check --config /etc/plumewatch/plumewatch.toml --json"
    ),
)
def check(*, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> int:
    """List all faults of a configuration, then test broker, store and notifiers."""
    return run_check(config, as_json=as_json)


def run_check(
    path: Path, now: float | None = None, *, not_yet: Collection[str] = (), as_json: bool = False
) -> int:
    """Check a configuration and the servers that it names; return the command's exit code.

    Parts in `not_yet` may not work yet, so their faults and warnings are not printed.
    """
    from plumewatch.check.check import check
    from plumewatch.check.result import CheckResult, State
    from plumewatch.config.sites import FOLDER
    from plumewatch.config.tables import TABLES

    code, results = DONE, check(path, time.time() if now is None else now)
    try:
        while True:
            with show_progress("checking"):
                result = next(results, None)
            if result is None:
                return code
            if result.part in not_yet and result.state is not State.OK:
                continue
            _print_result(result, as_json=as_json)
            code = UNREACHABLE if result.state is State.FAULT else code
    except ConfigError as error:
        for found, where, text in merge_repeated(error.faults, error.tree):
            verb, at = ("add", "to") if found.value == "missing" else ("change", "in")
            sentence, remedy = text, f"{verb} {where}"
            if not where.startswith((f"{FOLDER}/", *TABLES)):
                line = find_line(path.read_text("utf-8"), found.path) if error.tree else 0
                remedy += f" {at} {path}" + (f", line {line}" if line else "")
            remedy = found.remedy or remedy
            if found.path == str(path):
                sentence, remedy = found.value, found.remedy or found.allowed
            fault = CheckResult(found.path, State.FAULT, sentence, remedy)
            _print_result(fault, where, as_json=as_json)
        return USAGE


def _print_result(result: CheckResult, where: str = "", *, as_json: bool) -> None:
    if as_json:
        print_json(result._asdict())
        return
    remedy = f"\n      do: {result.remedy}" if result.remedy else ""
    echo(f"{result.state:5} {where or result.part}: {result.sentence}{remedy}")


@app.command(
    rich_help_panel="Start",
    epilog=list_examples("plumewatch run --config /etc/plumewatch/plumewatch.toml"),
)
def run(*, config: ConfigOption = CONFIG) -> None:
    """Run the service: ingest, detection, alerts and the staff page; logs to standard error."""
    from plumewatch.service.run import serve

    serve(config)


@app.command(
    rich_help_panel="Start", epilog=list_examples("plumewatch demo", "plumewatch demo --seconds 60")
)
def demo(
    *,
    port: Annotated[int, typer.Option(help="Port of the staff page.", min=1, max=65535)] = 8420,
    seconds: Annotated[
        float, typer.Option(help="Stop after this many seconds; 0 to keep running.", min=0)
    ] = 0,
    keep: Annotated[
        Path | None, typer.Option(help="Keep configuration and data in this new folder.")
    ] = None,
) -> None:
    """Run a simulated school, broker, detector, alerts and staff page on this machine."""
    import asyncio
    import logging
    import tempfile

    from plumewatch.cli.demo.command import Demo
    from plumewatch.errors import UsageError

    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="plumewatch-demo-") as folder:
            asyncio.run(Demo(Path(folder), port).run(seconds))
        return
    try:
        keep.mkdir(mode=0o700)
    except OSError as error:
        raise UsageError(f"{keep}: {error.strerror}; --keep needs a new folder") from error
    asyncio.run(Demo(keep.resolve(), port).run(seconds))
    config = keep / CONFIG
    echo(
        f"kept in {keep}; its data is from September 2026. Try:\n"
        f"  plumewatch status --config {config}\n"
        f"  plumewatch report summary --config {config} --from 2026-09-14 --to 2026-09-15"
    )
