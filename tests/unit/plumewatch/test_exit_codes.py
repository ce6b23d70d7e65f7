"""Test that every way a command can end has one exit code and one line of output."""

from __future__ import annotations

import sqlite3
from typing import Literal

import pytest
import typer
from typer.testing import CliRunner

from ingest.errors import RefusedError
from plumewatch.cli.options import DONE, REFUSED, UNREACHABLE, USAGE, Commands
from plumewatch.config.faults import ConfigError, ConfigFault
from plumewatch.errors import UnreachableError, UsageError
from plumewatch.parse_time import TimeError
from plumewatch.service.data_folder import open_state
from scale.errors import HistoryError
from storage.errors import StorageUnavailableError


def ended(command):
    """Run this command in a group of its own, and return how the command line ends."""
    app, group = typer.Typer(cls=Commands), typer.Typer()
    app.add_typer(group, name="group")
    group.command("one")(command)
    group.command("other")(lambda: None)
    return CliRunner().invoke(app, ["group", "one"])


def raises(error):
    def command() -> None:
        raise error

    return ended(command)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("either or"), USAGE),
        (TimeError("no day"), USAGE),
        (ConfigError([ConfigFault("a", "1", "2")]), USAGE),
        (OSError("no disk"), USAGE),
        (RefusedError("no recording"), REFUSED),
        (HistoryError("no history"), REFUSED),
        (UnreachableError("no answer"), UNREACHABLE),
        (StorageUnavailableError("disk I/O error"), UNREACHABLE),
        (sqlite3.OperationalError("locked"), UNREACHABLE),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(error, code):
    result = raises(error)
    assert (result.exit_code, result.stderr) == (code, f"{error}\n")


def test_a_wrong_choice_is_described_without_the_names_of_a_library():
    def command(kind: Literal["csv", "pdf"]) -> None:
        raise AssertionError(kind)

    app = typer.Typer(cls=Commands)
    app.command("one")(command)
    app.command("other")(lambda: None)
    result = CliRunner().invoke(app, ["one", "docx"])
    assert result.exit_code == USAGE
    assert "'docx' is not one of 'csv', 'pdf'" in result.stderr
    assert "Value error" not in result.stderr


def test_a_full_disk_names_the_file_and_says_what_to_do(tmp_path):
    def command():
        with open_state(tmp_path / "state.db") as db:
            db.execute("PRAGMA max_page_count=1")
            db.execute("CREATE TABLE more (a)")

    result = ended(command)
    assert result.exit_code == UNREACHABLE
    assert f"{tmp_path}/state.db: database or disk is full; free up" in result.stderr


def test_an_error_of_a_file_names_the_file(tmp_path):
    def command():
        (tmp_path / "none").read_text()

    result = ended(command)
    assert result.exit_code == USAGE
    assert result.stderr == f"{tmp_path}/none: No such file or directory\n"


@pytest.mark.parametrize(("returned", "code"), [(None, DONE), (REFUSED, REFUSED)])
def test_what_a_command_returns_is_its_exit_code(returned, code):
    assert ended(lambda: returned).exit_code == code


def test_a_fault_of_the_program_is_not_hidden():
    assert isinstance(raises(ZeroDivisionError()).exception, ZeroDivisionError)


def test_a_reader_that_ended_is_no_fault_to_print():
    result = raises(BrokenPipeError(32, "Broken pipe"))
    assert (result.exit_code, result.stderr) == (1, "")
