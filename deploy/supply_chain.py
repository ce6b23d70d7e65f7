"""What Plumewatch is made of, and what is known against it: ``make sbom``, ``make audit``.

``sbom FILE`` writes a CycloneDX document of what an installation with all its extras for operation
contains. ``audit`` asks the advisories of the Python Package Index about every package of the lock
file and ends with 1 if one has a known vulnerability; without advisories it says so and ends with
0.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).resolve().parents[1]
TOOLS: Final = frozenset({"dev", "bench"})
"""Extras that no installation has."""


def runtime_only(bom: dict[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    """Keep the `wanted` direct dependencies of a CycloneDX document, and what they need."""
    root = bom["metadata"]["component"]["bom-ref"]
    edges = {entry["ref"]: entry.get("dependsOn", []) for entry in bom["dependencies"]}
    names = {part["bom-ref"]: normal(part["name"]) for part in bom["components"]}
    direct = [ref for ref in edges[root] if names.get(ref) in wanted]
    reached, waiting = set(), list(direct)
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += edges.get(ref, [])
    kept = [part for part in bom["components"] if part["bom-ref"] in reached]
    known = [entry for entry in bom["dependencies"] if entry["ref"] in reached]
    return bom | {"components": kept, "dependencies": [{"ref": root, "dependsOn": direct}, *known]}


def normal(name: str) -> str:
    """Return the name of a package as indexes compare it.

    >>> normal("Typing_Extensions")
    'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def direct_dependencies() -> frozenset[str]:
    """Names of what operation needs, from the project's own file."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra, needs in project["optional-dependencies"].items():
        lines += needs if extra not in TOOLS else []
    return frozenset(normal(re.split(r"[\s\[<>=!~;]", line)[0]) for line in lines)


def sbom(target: Path) -> int:
    """Write the document of components."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
    command += ["--pyproject", str(PROJECT / "pyproject.toml"), "--of", "JSON", sys.executable]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    bom = runtime_only(json.loads(said.stdout), direct_dependencies())
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(bom, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{target}: {len(bom['components'])} components")
    return 0


def verdict(report: dict[str, Any] | None) -> tuple[int, str]:
    """Return exit code and text for a report of pip-audit; None if it wrote nothing."""
    packages = [] if report is None else report["dependencies"]
    audited = [package for package in packages if "skip_reason" not in package]
    faults = [
        f"{package['name']} {package['version']}: {fault['id']}, mended in"
        f" {', '.join(fault['fix_versions']) or 'no version yet'}"
        for package in audited
        for fault in package["vulns"]
    ]
    if faults:
        return 1, "\n".join(faults)
    if not audited:
        return 0, "NOT AUDITED: the advisories cannot be had from here"
    rest = len(packages) - len(audited)
    also = f"; {rest} are unknown to the index and were NOT AUDITED" if rest else ""
    return 0, f"{len(audited)} packages, no known vulnerability{also}"


def audit(lock: Path) -> int:
    """Audit the lock file."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--no-deps"]
    command += ["--disable-pip", "--format", "json", "--progress-spinner", "off"]
    with tempfile.TemporaryDirectory() as cache:
        said = subprocess.run(
            [*command, "--cache-dir", cache], check=False, capture_output=True, text=True
        )
    try:
        report = json.loads(said.stdout)
    except json.JSONDecodeError:
        report = None
        print(said.stderr.strip().splitlines()[-1:] or "pip-audit said nothing")
    code, words = verdict(report)
    print(words)
    return code


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sbom").add_argument("file", type=Path)
    commands.add_parser("audit").add_argument(
        "lock", type=Path, nargs="?", default=PROJECT / "requirements.lock"
    )
    options = parser.parse_args()
    return sbom(options.file) if options.command == "sbom" else audit(options.lock)


if __name__ == "__main__":
    sys.exit(main())
