"""Count the lines of code: ``make size``.

Blank lines, comments, docstrings and untracked files don't count.

- *Product*: all handwritten code that runs or is served in a school: the packages, and the
  installation files in ``deploy/``.
- *Tests*, *research* and *tools* (benchmarks, documentation scripts, the build, and the collector
  of messages, which the wheel leaves out) are listed separately.
- *Generated* files are written by ``make`` from the code. *Vendored* files were written by other
  people. *Recorded* files are the inputs and results of golden cases. Translations (``.po``),
  prose, pictures, data and lock files don't count.

``benchmarks/reading_to_push.py`` counts the files between a reading and a push.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import textwrap
import tokenize
from collections import Counter
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PRODUCT: Final = {
    *("plumewatch", "ingest", "detection", "alerts", "reports", "storage", "language"),
    *("dashboards", "scale", "sensor_sim", "deploy"),
}
KINDS: Final = {"tests": "tests", "research": "research"}
"""Categories of top-level folders outside the product; all others are tools."""
_COLLECTOR: Final = "language/catalog.py"
GENERATED: Final = "dashboards/json/"
LIMITS: Final = {"product": 52_000, "tests": 44_000, "TOML files": 30}

_HASH, _SLASHES = r"(?m)^\s*#.*$", r"(?m)/\*[\s\S]*?\*/|^\s*//.*$"
_COMMENTS: Final = {
    "html": r"<!--[\s\S]*?-->|\{#[\s\S]*?#\}",
    "sql": r"(?m)^\s*--.*$",
    **dict.fromkeys(("js", "jsx", "css", "typ", "c"), _SLASHES),
    **dict.fromkeys(("toml", "yaml", "yml", "sh", "conf", "acl", "service", "Dockerfile"), _HASH),
    "json": r"(?!)",
}
"""Patterns of non-code lines in languages other than Python, by file suffix."""
_LAYOUT: Final = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    tokenize.ENDMARKER,
}


def python_lines(text: str) -> int:
    """Count the lines of Python code."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in _LAYOUT
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - docstrings)


def code_lines(path: Path, language: str) -> int:
    """Count a file's lines of code."""
    text = path.read_text(encoding="utf-8")
    if language == "py":
        return python_lines(text)
    return sum(bool(line.strip()) for line in re.sub(_COMMENTS[language], "", text).splitlines())


def main() -> None:
    """Print the code by folder and by language, and each figure with its limit."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    lines: Counter[tuple[str, str, str]] = Counter()
    toml_files = 0
    for name in filter(None, tracked):
        path = Path(name)
        language = path.suffix.removeprefix(".") or path.name
        if (language != "py" and language not in _COMMENTS) or not (ROOT / path).is_file():
            continue
        folder = path.parts[0] if len(path.parts) > 1 else "(root)"
        kind = "product" if folder in PRODUCT else KINDS.get(folder, "tools")
        if name == _COLLECTOR:
            kind = "tools"
        elif "vendor" in path.parts:
            kind = "vendored"
        elif name.startswith(GENERATED):
            kind = "generated"
        elif kind == "tests" and language in {"json", "toml"}:
            kind = "recorded"
        toml_files += language == "toml" and kind in {"product", "tools"}
        lines[kind, folder, language] += code_lines(ROOT / path, language)
    totals = Counter[str]()
    for kind in ("product", "tests", "research", "tools", "generated", "vendored", "recorded"):
        print_kind({key[1:]: n for key, n in lines.items() if key[0] == kind}, kind)
        totals[kind] = sum(n for key, n in lines.items() if key[0] == kind)
    print()
    for what, count in {**totals, "TOML files": toml_files}.items():
        if what in LIMITS:
            print(f"{what:16}{count:7,} of at most {LIMITS[what]:,}")


def print_kind(lines: dict[tuple[str, str], int], kind: str) -> None:
    """Print a category's lines by folder, then by language."""
    print(f"{kind:16}{sum(lines.values()):7,}")
    for index in (0, 1):
        sums = Counter[str]()
        for key, count in lines.items():
            sums[key[index]] += count
        text = ", ".join(f"{name} {count:,}" for name, count in sums.most_common())
        print(textwrap.fill(text, 98, initial_indent="  ", subsequent_indent="  "))


if __name__ == "__main__":
    main()
