"""The sentences of `plumewatch check`: all are used, with the values that they name."""

import ast
import string
import tomllib
from pathlib import Path

import plumewatch.check

FOLDER = Path(plumewatch.check.__file__).parent
RESULTS = {
    key: (part, *texts)
    for part, results in tomllib.loads((FOLDER / "results.toml").read_text()).items()
    if part != "remedies"
    for key, texts in results.items()
}


def test_every_result_is_used_with_the_values_of_its_sentence():
    used = {}
    for path in FOLDER.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "result":
                used[call.args[0].value] = {keyword.arg for keyword in call.keywords}
    assert used.keys() == RESULTS.keys()
    for key, found in RESULTS.items():
        fields = string.Formatter().parse("".join(found))
        names = {name.partition("[")[0] for _, name, _, _ in fields if name}
        assert names == used[key], key


def test_every_result_that_is_not_ok_has_a_remedy():
    assert {state for _, state, *_ in RESULTS.values()} == {"ok", "warn", "FAULT"}
    assert all(len(found) == (3 if found[1] == "ok" else 4) for found in RESULTS.values())
