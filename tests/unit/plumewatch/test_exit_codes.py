"""Every way a command ends has one exit code and one line."""

from __future__ import annotations

import sqlite3

import pytest

from alerts.errors import PolicyError, ThresholdAdjustmentError
from ingest.errors import RefusedError
from plumewatch.cli.options import DONE, REFUSED, UNREACHABLE, USAGE, exit_codes
from plumewatch.config.faults import ConfigError, ConfigFault
from plumewatch.errors import UnreachableError, UsageError
from plumewatch.format_time import TimeError
from scale.errors import HistoryError
from storage.errors import StorageUnavailableError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("either or"), USAGE),
        (TimeError("no day"), USAGE),
        (ConfigError([ConfigFault(path="a", value="1", allowed="2")]), USAGE),
        (PolicyError("no rule"), USAGE),
        (OSError("no disk"), USAGE),
        (RefusedError("no recording"), REFUSED),
        (ThresholdAdjustmentError("undone before"), REFUSED),
        (HistoryError("no history"), REFUSED),
        (UnreachableError("no answer"), UNREACHABLE),
        (StorageUnavailableError("disk I/O error"), UNREACHABLE),
        (sqlite3.OperationalError("locked"), UNREACHABLE),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(error, code, capsys):
    @exit_codes
    def command() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == code
    assert capsys.readouterr().err == f"{error}\n"


def test_an_error_of_a_file_names_the_file(tmp_path, capsys):
    @exit_codes
    def command() -> None:
        (tmp_path / "none").read_text()

    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == USAGE
    assert capsys.readouterr().err == f"{tmp_path}/none: No such file or directory\n"


@pytest.mark.parametrize(("returned", "code"), [(None, DONE), (REFUSED, REFUSED)])
def test_what_a_command_returns_is_its_exit_code(returned, code):
    with pytest.raises(SystemExit) as ended:
        exit_codes(lambda: returned)()
    assert ended.value.code == code


@pytest.mark.parametrize("error", [ZeroDivisionError, BrokenPipeError])
def test_a_fault_of_the_program_is_not_hidden(error):
    @exit_codes
    def command() -> None:
        raise error

    with pytest.raises(error):
        command()
