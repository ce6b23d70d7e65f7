"""Every way a command ends has one exit code and one line."""

from __future__ import annotations

import sqlite3

import pytest

from ingest.errors import RefusedError
from plumewatch.cli.exit_codes import (
    DONE,
    REFUSED,
    UNREACHABLE,
    USAGE,
    UnreachableError,
    UsageError,
    told,
)
from plumewatch.cli.format_time import SpanError
from plumewatch.config.faults import ConfigError, ConfigFault
from storage.errors import StorageUnavailableError


class _ModelError(ValueError):
    pass


class _OddModelError(_ModelError):
    pass


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("either or"), USAGE),
        (SpanError("no day"), USAGE),
        (ConfigError([ConfigFault(path="a", value="1", allowed="2")]), USAGE),
        (RefusedError("no recording"), REFUSED),
        (_ModelError("no model"), REFUSED),
        (_OddModelError("odd"), USAGE),
        (UnreachableError("no answer"), UNREACHABLE),
        (StorageUnavailableError("disk I/O error"), UNREACHABLE),
        (sqlite3.OperationalError("locked"), UNREACHABLE),
    ],
)
def test_a_failure_is_one_line_and_its_exit_code(error, code, capsys):
    @told(usage=(_OddModelError,), refused=(_ModelError,))
    def command() -> int:
        raise error

    assert command() == code
    assert capsys.readouterr().err == f"{error}\n"


def test_what_a_command_returns_is_handed_on_and_a_fault_of_the_program_is_not_hidden():
    assert told()(lambda: DONE)() == DONE
    with pytest.raises(ZeroDivisionError):
        told()(lambda: 1 // 0)()
