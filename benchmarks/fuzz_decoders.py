"""A million mutated payloads over all decoders: ``make fuzz``.

Mutations and checks are those of the property test (`tests.support.fuzz`): no exception but
`DecodeError`, every reading finite and in range, bounded tables. Exits 1 at the first payload that
breaks a promise, printing it, or if one payload takes more than a second of CPU time or more memory
than `MOST_KB`. The seed is printed; the same seed and count give the same payloads.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ingest.decoders import DECODERS
from tests.support.fuzz import SLOWEST_S, Fuzzed, fuzz

MOST_KB: Final = 8_192.0
WEIGH_EVERY: Final = 50


def main() -> int:
    """Run, print a row a decoder and the total."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="mutations over all decoders")
    parser.add_argument("--seed", type=int, default=None, help="chosen and printed if not given")
    parser.add_argument("--decoder", action="append", choices=list(DECODERS), help="only this one")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4))
    names = options.decoder or list(DECODERS)
    each = -(-options.count // len(names))
    console = Console()
    console.print(f"seed {seed}, {each * len(names):,} payloads over {len(names)} decoders")
    found: dict[str, Fuzzed] = {}
    started = time.perf_counter()
    with _bar() as bar:
        task = bar.add_task("fuzzing", total=each * len(names))
        for name in names:
            bar.update(task, description=f"fuzzing {name}")
            try:
                found[name] = fuzz(
                    name,
                    each,
                    seed,
                    weigh_every=WEIGH_EVERY,
                    on_done=lambda n: bar.advance(task, n),
                )
            except AssertionError as error:
                console.print(f"{error}: {error.__cause__!r}", markup=False)
                return 1
    took = time.perf_counter() - started
    console.print(_table(found))
    slowest = max(f.slowest_s for f in found.values())
    largest = max(f.largest_kb for f in found.values())
    total = sum(f.count for f in found.values())
    console.print(
        f"{total:,} payloads in {took:.0f} s, seed {seed}; slowest {1e3 * slowest:.1f} ms"
        f" (at most {1e3 * SLOWEST_S:.0f}), largest {largest:.0f} kB (at most {MOST_KB:.0f},"
        f" one of {WEIGH_EVERY} weighed)"
    )
    return 0 if slowest < SLOWEST_S and largest < MOST_KB else 1


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def _table(found: dict[str, Fuzzed]) -> Table:
    table = Table("decoder", "payloads", "with readings", "refused", "slowest", "largest")
    for name, f in found.items():
        table.add_row(
            name,
            f"{f.count:,}",
            f"{f.accepted:,}",
            f"{f.refused:,}",
            f"{1e3 * f.slowest_s:.1f} ms",
            f"{f.largest_kb:.0f} kB",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
