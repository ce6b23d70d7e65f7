"""Run a `plumewatch` command in this process, as a shell would."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from unittest import mock

from typer.testing import CliRunner

from plumewatch.cli.main import app


@dataclass(frozen=True)
class Ran:
    """A command's exit code and output."""

    code: int
    out: str
    err: str

    @property
    def objects(self):
        return [json.loads(line) for line in self.out.splitlines()]


def plumewatch(*words, now=None, stdin=None):
    """Run ``plumewatch WORDS``, at the time `now` if given; unexpected exceptions are raised.

    Its error output is also written to the test's standard error.
    """
    with mock.patch("time.time", return_value=now) if now is not None else mock.MagicMock():
        result = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    sys.stderr.write(result.stderr)
    return Ran(result.exit_code, result.stdout, result.stderr)


def report(config, name, *, now, **options):
    """Run ``plumewatch report NAME``; empty options are left out."""
    words = ["--config", config]
    for option, value in options.items():
        if value:
            flag = {"start": "from", "end": "to", "kind": "format"}.get(option, option)
            words += [f"--{flag.replace('_', '-')}", *([] if value is True else [value])]
    return plumewatch("report", name, *words, now=now)
