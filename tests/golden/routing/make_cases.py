"""Make the golden cases of routing and muting, with Alertmanager's own answers.

Usage: python -m tests.golden.routing.make_cases [--seed 7] [--out FOLDER]

Needs ``amtool`` and ``prometheus-alertmanager`` on PATH (Debian: apt-get install
prometheus-alertmanager); the tests do not, they read the files. The values are those that tell RE2
from other regular expressions, and names that need quoting.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from alerts.routing.matchers import Matcher, MatchOp

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
    """Alertmanager reads JSON as YAML."""
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


def muting(seed: int, rounds: int = 12) -> dict[str, object]:
    rng = random.Random(seed)
    made = []
    for _ in range(rounds):
        rules = [
            {
                "source": [matcher(rng) for _ in range(rng.randint(1, 2))],
                "target": [matcher(rng) for _ in range(rng.randint(1, 2))],
                "equal": rng.sample(list(VALUES), rng.randint(0, 2)),
            }
            for _ in range(rng.randint(1, 3))
        ]
        silences = []
        while len(silences) < 3:
            silence = [matcher(rng) for _ in range(rng.randint(1, 2))]
            if not all(
                Matcher(m["name"], MatchOp(m["op"]), m["value"]).matches({}) for m in silence
            ):
                silences.append(silence)
        alerts = {json.dumps(found): found for found in (labels(rng) for _ in range(14)) if found}
        with running(rules) as url:
            made.append(
                {
                    "inhibit": rules,
                    "silences": silences,
                    "alerts": muted(url, silences, list(alerts.values())),
                }
            )
    return {"oracle": oracle(), "seed": seed, "rounds": made}


def muted(
    url: str, silences: list[list[dict[str, str]]], alerts: list[dict[str, str]]
) -> list[dict[str, object]]:
    ids = [
        post(
            f"{url}/silences",
            {
                "matchers": [
                    {
                        "name": m["name"],
                        "value": m["value"],
                        "isRegex": "~" in m["op"],
                        "isEqual": "!" not in m["op"],
                    }
                    for m in silence
                ],
                "startsAt": "2020-01-01T00:00:00Z",
                "endsAt": "2100-01-01T00:00:00Z",
                "createdBy": "golden",
                "comment": "golden",
            },
        )["silenceID"]
        for silence in silences
    ]
    post(f"{url}/alerts", [{"labels": found} for found in alerts])
    time.sleep(1.0)  # Alertmanager's inhibitor listens to alerts in its own time
    with urllib.request.urlopen(f"{url}/alerts", timeout=5) as answer:  # noqa: S310 - loopback
        said = {json.dumps(a["labels"], sort_keys=True): a["status"] for a in json.load(answer)}
    return [
        {
            "labels": found,
            "silenced": sorted(ids.index(i) for i in status["silencedBy"]),
            "inhibited": bool(status["inhibitedBy"]),
        }
        for found in alerts
        for status in [said[json.dumps(found, sort_keys=True)]]
    ]


def post(url: str, content: object) -> dict[str, str]:
    request = urllib.request.Request(  # noqa: S310 - loopback
        url, json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - loopback
        return json.loads(answer.read() or b"{}")


@contextlib.contextmanager
def running(rules: list[dict[str, object]]) -> object:
    """An Alertmanager of its own on a free port of loopback."""
    with tempfile.TemporaryDirectory() as folder:
        path = configuration(
            Path(folder),
            inhibit_rules=[
                {
                    "source_matchers": [text(m) for m in rule["source"]],
                    "target_matchers": [text(m) for m in rule["target"]],
                    "equal": rule["equal"],
                }
                for rule in rules
            ],
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [
                "prometheus-alertmanager",
                "--enable-feature=utf8-strict-mode",
                f"--config.file={path}",
                f"--storage.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}/api/v2"
            for _ in range(200):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{url}/status", timeout=1).close()  # noqa: S310
                    break
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait()


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
    for name, make in (("routing", routing), ("mute", muting)):
        cases = make(asked.seed)
        path = asked.out / f"{name}.json"
        path.write_text(json.dumps(cases, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
