"""A report for the staff page, made by a program of its own: ``python -m plumewatch.report_job``.

It reads an order from its standard input, goes behind everything else of the machine, and prints
its progress as JSON lines. The service that starts it made the order, so it is trusted.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import msgspec

from alerts.page.report_jobs import Order
from plumewatch.config.model import PlumewatchConfig
from plumewatch.errors import UsageError
from plumewatch.report_request import ReportRequest, make_report
from reports.files import ReportTooLongError
from reports.suppress import TooFewError
from storage.errors import StorageError


def main() -> int:
    """Make it; 0 if it is there."""
    os.nice(10)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    config = PlumewatchConfig.model_validate_json(order.config)
    request = replace(msgspec.convert(order.fields, ReportRequest), out=Path(order.path))
    try:
        make_report(
            config,
            request,
            order.now,
            who=order.person,
            on_day=lambda done, of: _say({"done": done, "of": of}),
        )
    except (UsageError, ReportTooLongError, TooFewError) as error:
        _say({"error": str(error)})
        return 1
    except (StorageError, sqlite3.Error, OSError):
        _say({"error": "State or series cannot be read at the moment."})
        return 3
    return 0


def _say(line: dict[str, int | str]) -> None:
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
