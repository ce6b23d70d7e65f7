"""Update the expected results of the golden replay cases.

Usage: python tests/golden/make_cases.py [--write]

Shows how the results of a replay differ from the expected results. ``--write`` stores the new
results; check the differences first, because each line is an alert that staff would or would not
have got.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import tempfile
from pathlib import Path

from alerts.policy import AlertPolicy
from ingest.recordings import read_recordings
from plumewatch.replay import replay, write_alerts, write_events

CASES = Path(__file__).parent / "replay"
OUTPUTS = ("alerts.csv", "events.csv")


def outputs_of(case: Path) -> dict[str, str]:
    """Replay a case's readings, and return the results by file name."""
    with tempfile.TemporaryDirectory() as scratch:
        result = replay(read_recordings([case / "readings.csv"]), policy=AlertPolicy())
        alerts, events = (Path(scratch) / name for name in OUTPUTS)
        write_alerts(alerts, result.alerts)
        write_events(events, result)
        return {path.name: path.read_text(encoding="utf-8") for path in (alerts, events)}


def difference(case: Path) -> list[str]:
    """Return the differences from the expected results as a unified diff."""
    lines: list[str] = []
    for name, now in outputs_of(case).items():
        path = case / name
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        lines += difflib.unified_diff(
            expected.splitlines(),
            now.splitlines(),
            f"{case.name}/{name} (expected)",
            f"{case.name}/{name} (now)",
            lineterm="",
            n=0,
        )
    return lines


def main() -> int:
    """Show the differences; write them only on request."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write what is shown")
    options = parser.parse_args()
    changed = 0
    for case in sorted(path.parent for path in CASES.glob("*/readings.csv")):
        lines = difference(case)
        changed += bool(lines)
        sys.stdout.writelines(line + "\n" for line in lines)
        if options.write and lines:
            for name, text in outputs_of(case).items():
                (case / name).write_text(text, encoding="utf-8")
    done = "written" if options.write else "nothing written; `make golden WRITE=1` writes it"
    sys.stdout.write(f"{changed} cases differ{f' ({done})' if changed else ''}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
