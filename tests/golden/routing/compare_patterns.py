"""Hold random regular expressions against Alertmanager's: which are taken, and what they match.

Usage: python -m tests.golden.routing.compare_patterns [--seed 1] [--count 500]

Needs ``amtool``, some 0.3 s a pattern. Prints every difference but the one that is meant: patterns
that are only balanced by what they are wrapped in.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from alerts.errors import MatcherError
from alerts.routing.matchers import Matcher, MatchOp, parse_matchers
from tests.golden.routing.make_cases import configuration, run, text

PARTS = r"""
a b . * + ? | ( ) [ ] [^ - ^ $ (?: (?i) (?s) (?m) (?U) (?x) (?-i: (?P<n> (?<m> (?= (?!
{2} {,3} {1,2} {2,1} {1001} *? ++ ä ß α [[:alpha:]] [[:foo:]]
\d \w \b \B \z \A \Z \C \Q \E \K \R \X \h \e \a \f \v \n \. \- \_ \ä \/ \" \1 \8 \07 \101
\x41 \x{41} \u00e4 \pL \PN \pX \p{Greek} \p{L} \p{^L}
"""
VALUES = ("", "a", "ab", "A", "ä", "α", "a\nb", "aa", "b-", "1")


def matched(path: Path, value: str) -> bool:
    given = text({"name": "room", "op": "=", "value": value})
    asked = ["amtool", "--enable-feature=utf8-strict-mode", "config", "routes", "test"]
    return run([*asked, f"--config.file={path}", "--", given]).splitlines()[-1] == "gym office"


def taken(path: Path) -> bool:
    command = ["amtool", "--enable-feature=utf8-strict-mode", "check-config", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=500)
    asked = parser.parse_args()
    rng, pieces = random.Random(asked.seed), PARTS.split()
    accepted = different = 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(asked.count):
            pattern = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 5)))
            written = str(Matcher("room", MatchOp.EQUAL, pattern)).replace("=", "=~", 1)
            route = {"receiver": "hall", "routes": [
                {"matchers": [written], "receiver": "gym office"}]}  # fmt: skip
            path = configuration(Path(folder), route=route)
            theirs = taken(path)
            try:
                (ours,) = parse_matchers(written)
            except MatcherError as error:
                if theirs and "unexpected )" not in str(error):
                    different += 1
                    sys.stdout.write(f"{pattern!r} is refused: {error}\n")
                continue
            if not theirs:
                different += 1
                sys.stdout.write(f"{pattern!r} is taken, and refused by Alertmanager\n")
                continue
            accepted += 1
            for value in rng.sample(VALUES, 2):
                if ours.matches({"room": value}) != matched(path, value):
                    different += 1
                    sys.stdout.write(f"{pattern!r} judges {value!r} otherwise\n")
    sys.stdout.write(f"{asked.count} patterns, {accepted} taken by both, {different} differences\n")


if __name__ == "__main__":
    main()
