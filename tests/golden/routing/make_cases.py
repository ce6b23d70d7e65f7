"""Make the golden routing cases, with Alertmanager's own results.

Usage: python -m tests.golden.routing.make_cases [--seed 7] [--out FOLDER]

Needs ``amtool`` on PATH (Debian: apt-get install prometheus-alertmanager); the tests only read the
file. The values distinguish RE2 from other regular expressions, or are names that need quoting.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
from pathlib import Path

from alerts.duty.roster import Matcher, MatchOp

HERE = Path(__file__).parent
RECEIVERS = ("hall", "gym office", "Hausmeister", "on-call/1")
VALUES = {
    "kind": ("vape", "smoke", "tamper", "offline"),
    "floor": ("1", "2", "-1", "Erdgeschoß", ""),
    "room": ("N2-boys", "a.b", "Ärztin ", "٣", "K", "x\ny", 'O"Neil\\', "αβγ", "🚻"),
    "severity": ("info", "warning", "critical"),
}
PATTERNS = (
    "vape|smoke",
    "v.*",
    "(?i)VAPE",
    "(?i)ärztin ",
    "(?i)k",
    r"\pN+",
    r"\d",
    r"\p{Greek}+",
    r"\PL",
    r"[[:alpha:]]+",
    r"\w+",
    r"x.y",
    r"(?s)x.y",
    r"\Qa.b\E",
    r"a.b\z",
    r"N2$|N2-boys",
    r"^N2-boys",
    r"(?:N|S)2-\D{4}",
    r"(N2-)(?P<who>boys|girls)",
    r"-?[0-9]{1,3}",
    r"\x{1F6BB}",
    r"[^\pL]*",
    r"(?-s).+",
    r"(?U).+?",
    r"\S+\s?",
    r".*ß",
    r"(vape|sm\Boke)",
    "",
    ".*",
    ".+",
)


def matcher(rng: random.Random, names: tuple[str, ...] = tuple(VALUES)) -> dict[str, str]:
    name = rng.choice(names)
    op = rng.choice(["=", "!=", "=~", "=~", "!~"])
    value = rng.choice(VALUES[name] if op in ("=", "!=") else PATTERNS)
    return {"name": name, "op": op, "value": value}


def text(entry: dict[str, str]) -> str:
    return str(Matcher(entry["name"], MatchOp(entry["op"]), entry["value"]))


def routes(rng: random.Random, depth: int) -> list[dict[str, object]]:
    return [
        {
            "receiver": rng.choice([*RECEIVERS, None]),
            "matchers": [matcher(rng) for _ in range(rng.choice([1, 1, 1, 2]))],
            "cont": rng.random() < 0.4,
            "routes": routes(rng, depth - 1) if rng.random() < 0.5 else [],
        }
        for _ in range(rng.randint(1, 3) if depth else 0)
    ]


def labels(rng: random.Random) -> dict[str, str]:
    return {
        name: value
        for name, values in VALUES.items()
        if rng.random() < 0.8 and (value := rng.choice(values))
    }


def written(route: dict[str, object]) -> dict[str, object]:
    out: dict[str, object] = {
        "matchers": [text(m) for m in route["matchers"]],
        "continue": route["cont"],
        "routes": [written(r) for r in route["routes"]],
    }
    return out | ({"receiver": route["receiver"]} if route["receiver"] else {})


def configuration(folder: Path, **more: object) -> Path:
    """Write a configuration as JSON, which Alertmanager reads as YAML."""
    path = folder / "alertmanager.yml"
    content = {"route": {"receiver": "hall"}, "receivers": [{"name": r} for r in RECEIVERS], **more}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def routing(seed: int, trees: int = 24, each: int = 12) -> dict[str, object]:
    rng = random.Random(seed)
    made, cases = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(trees):
            tree = routes(rng, 3)
            made.append({"routes": tree})
            root = {"receiver": "hall", "routes": [written(r) for r in tree]}
            path = configuration(Path(folder), route=root)
            for _ in range(each):
                found = labels(rng)
                given = [text({"name": n, "op": "=", "value": v}) for n, v in found.items()]
                asked = ["amtool", "--enable-feature=utf8-strict-mode", "config", "routes", "test"]
                said = run([*asked, f"--config.file={path}", "--", *given])
                receivers = [name.strip().strip('"') for name in said.splitlines()[-1].split(",")]
                cases.append({"tree": number, "labels": found, "receivers": receivers})
    return {"oracle": oracle(), "seed": seed, "default": "hall", "trees": made, "cases": cases}


def oracle() -> str:
    return " ".join(run(["amtool", "--version"]).split()[:3]).replace(",", "")


def run(command: list[str]) -> str:
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode:
        raise SystemExit(f"{command}: {said.stderr}")
    return said.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=HERE)
    asked = parser.parse_args()
    cases = routing(asked.seed)
    path = asked.out / "routing.json"
    path.write_text(json.dumps(cases, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
