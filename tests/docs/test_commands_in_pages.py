"""Test that every `plumewatch ...` in the docs is a valid command, and that a new one works."""

import json
import re
import shlex
import textwrap

import pytest
import typer
from typer.testing import CliRunner

from docs.site import links
from plumewatch.cli import sensors
from plumewatch.cli.main import app
from plumewatch.cli.setup.site_files import STARTER

ROOT = typer.main.get_command(app)
WRITTEN = [page for page in links.list_pages() if page.name not in {"commands.md", "CHANGELOG.md"}]


def typed(text):
    """Return the command lines in shell blocks and inline code, without comments."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            for command in re.split(r"[|&;]|\$\(|\bsudo\b", line):
                if re.match(r"\s*plumewatch\b", command):
                    yield shlex.split(command, comments=True)[1:]
    sentences = links._SPAN.findall(links._CODE.sub("", text))
    for span in sentences:
        if span.startswith("`plumewatch "):
            yield span.strip("`").replace("ID'", "ID").split()[1:]


def faults(words):
    command, called = ROOT, ["plumewatch"]
    rest = list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest[0]]
        called.append(rest.pop(0))
    if command is ROOT:
        return "" if not rest or rest[0].isupper() else f"no command {rest[0]}"
    known = {opt for param in command.params for opt in param.opts} | {"--help", "-h"}
    unknown = [w for w in rest if w.startswith("-") and w.split("=")[0] not in known]
    return f"{' '.join(called)} has no {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_commands(page):
    found = [faults(words) for words in typed(page.read_text(encoding="utf-8"))]
    assert [output for output in found if output] == []


def test_the_recipe_for_a_command(tmp_path):
    (recipe,) = (page for page in links.list_pages() if page.name == "CONTRIBUTING.md")
    text = recipe.read_text(encoding="utf-8").partition("## Add a command")[2]
    (code,) = re.findall(r"```python\n(.*?)```", text.partition("\n## ")[0], re.DOTALL)
    names = vars(sensors) | {"app": typer.Typer()}
    exec(textwrap.dedent(code), names)  # noqa: S102
    config = tmp_path / "plumewatch.toml"
    config.write_text(STARTER)
    result = CliRunner().invoke(names["app"], ["--config", str(config), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output.splitlines()[0])["sensors"] == 1
