"""The command line: one table of commands, and the entry point."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from plumewatch.cli import (
    backup,
    dashboards,
    decode,
    device,
    people,
    replay,
    reports,
    retention,
    run,
    sensors,
    storage,
)
from plumewatch.cli.options import add_commands
from plumewatch.cli.sample_data import command as sample_data
from plumewatch.cli.scale import backtest, stream
from plumewatch.cli.setup import command as setup
from plumewatch.cli.setup import sites

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plumewatch.cli.options import Command

app = typer.Typer(
    name="plumewatch",
    help="Vape-sensor telemetry and alerting for schools.",
    epilog="For details of a command: --help. For output that programs read: --json."
    " Completion: plumewatch --install-completion",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS: Final[Mapping[str, Mapping[str, Command]]] = {
    "Start": {
        "init": setup.init,
        "setup": setup.setup,
        "site add": sites.add,
        "site export": sites.export,
        "check": run.check,
        "doctor": run.check,
        "run": run.run,
        "version": run.version,
        "demo": run.demo,
        "commission": sensors.commission,
    },
    "Sensors": {
        "status": sensors.status,
        "dead-letters": sensors.dead_letters,
        "sensors labels": sensors.labels,
        "levels": sensors.levels,
        "decode": decode.decode,
        "http-template": decode.http_template,
        "mapping suggest": decode.mapping_suggest,
        "mapping test": decode.mapping_test,
        "device new": device.new,
        "device flash-page": device.flash_page,
    },
    "People": {
        "timeline": people.timeline,
        "routes test": people.routes_test,
        "routes gaps": people.routes_gaps,
        "staff list": people.staff_list,
        "staff password": people.staff_password,
        "staff remove-second-factor": people.staff_remove_second_factor,
        "staff test": people.staff_test,
        "staff sign-out": people.staff_sign_out,
        "token add": people.token_add,
        "token list": people.token_list,
        "token revoke": people.token_revoke,
    },
    "What happened": {
        "report incidents": reports.report_of("incidents"),
        "report summary": reports.report_of("summary"),
        "report response": reports.report_of("response"),
        "report sensors": reports.report_of("sensors"),
        "report weekly": reports.weekly_summary,
        "incident file": reports.incident_file,
        "incident rerun": reports.incident_rerun,
        "retention plan": retention.retention_plan,
        "retention apply": retention.retention_apply,
        "retention hold": retention.retention_hold,
        "retention holds": retention.retention_holds,
        "retention release": retention.retention_release,
        "audit verify": retention.audit_verify,
        "audit list": retention.audit_list,
    },
    "Data": {
        "backup": backup.backup,
        "restore": backup.restore,
        "import": storage.import_readings,
        "export readings": storage.export_readings,
        "export plumes": storage.export_plumes,
        "storage setup": storage.storage_setup,
        "storage retry": storage.storage_retry,
        "dashboards build": dashboards.build,
        "dashboards push": dashboards.push,
        "dashboards diff": dashboards.diff,
    },
    "Recorded and simulated air": {
        "replay": replay.replay,
        "simulate": replay.simulate,
        "sample-data": sample_data.sample_data,
    },
    "History": {
        "segments": backtest.segments,
        "backtest": backtest.backtest,
        "stream": stream.stream,
    },
}
"""All commands, by the heading under which `plumewatch --help` lists them."""


def _version(*, asked: bool) -> None:
    if asked:
        from plumewatch import __version__

        typer.echo(f"plumewatch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for heading, commands in _COMMANDS.items():
    add_commands(app, commands, heading)


def main() -> None:
    """Run the command line; a closed pipe or Ctrl-C prints no traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
