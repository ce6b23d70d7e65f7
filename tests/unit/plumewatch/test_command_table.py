"""Test that every command in the table runs, and that its help has valid examples."""

import json
import shlex
import shutil
from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from plumewatch.cli.main import app
from storage.journal import DeadLetter, Journal
from tests.support.broker import free_port
from tests.support.plumes import readings_of_puff
from tests.unit.plumewatch.conftest import NOW, one_incident

ROOT = typer.main.get_command(app)


def walk(command, path=()):
    subcommands = getattr(command, "commands", {})
    if not subcommands or getattr(command, "invoke_without_command", False):
        yield path, command
    for name, subcommand in subcommands.items():
        yield from walk(subcommand, (*path, name))


TABLE = {" ".join(path): command for path, command in walk(ROOT)}

NOT_HERE = {
    "run",  # logs instead
    "stream",  # needs Spark and Java; logs instead
    "demo",  # has an end-to-end test
}
FAILS_HERE = {
    "setup": 2,  # has a contract test with a broker
    "staff remove-second-factor": 1,  # nobody has one
    "simulate": 3,  # no broker
    "dashboards push": 2,  # no InfluxDB here; the contract test has one
}

CALLS = {
    "init": "init {new}.toml",
    "check": "check",
    "status": "status",
    "dead-letters": "dead-letters",
    "decode": "decode --topic plumewatch/v1/b2/reading {payload}",
    "mapping suggest": "mapping suggest --topic site/n2/as-17/state {payload}",
    "timeline": "timeline",
    "staff password": "staff password {person} --generate",
    "staff test": "staff test",
    "setup": "setup --folder {new} --answers {payload}",
    "staff remove-second-factor": "staff remove-second-factor {person}",
    "report": "report incidents --from 2026-09-01 --to 2026-09-30 --out {new}.csv",
    "retention": "retention --apply",
    "audit": "audit",
    "backup": "backup {new}",
    "restore": "restore --verify {backup}",
    "export readings": "export readings --from 2026-09-01 --out {new}.csv",
    "storage setup": "storage setup",
    "dashboards build": "dashboards build --out {new}",
    "dashboards push": "dashboards push --url http://127.0.0.1:{port} --token-file {payload}",
    "replay": "replay {readings} --alerts {new}.csv",
    "simulate": "simulate --days 0.001 --publish 127.0.0.1:{port}",
    "segments": "segments {new}",
}
"""Arguments of each command in a school with one incident."""


def invoke(line, **more):
    result = CliRunner().invoke(app, shlex.split(line), **more)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    """Return the folder of a school with one incident, and all files that the commands use."""
    folder = tmp_path_factory.mktemp("school")
    with one_incident(folder) as site:
        incident = site.id
        with closing(Journal(folder / "plumewatch-data/journal.db", lambda: NOW)) as journal:
            journal.open()
            refused = DeadLetter(NOW, "a/b", "malformed", "no JSON", "native", 2, b"no")
            journal.commit(site.readings, [refused])
    rows = [f"{r.time},{r.sensor},{r.values['pm25']}" for r in readings_of_puff("pw-0")]
    (folder / "old.csv").write_text("\n".join(("time,sensor,pm25", *rows)) + "\n")
    (folder / "payload").write_text('{"pm25":7.1,"rh":41.5}')
    config = f"--config {folder}/plumewatch.toml"
    made = invoke(f"backup {folder}/copies {config}")
    assert made.exit_code == 0, made.stderr
    return folder, incident


@pytest.fixture
def places(school, tmp_path, monkeypatch):
    folder, incident = school
    shutil.copytree(folder, tmp_path / "school")
    monkeypatch.chdir(tmp_path / "school")
    return {
        "new": "new",
        "payload": "payload",
        "person": "ap",
        "incident": incident,
        "backup": next(Path("copies").iterdir()),
        "readings": "old.csv",
        "port": free_port(),
    }


def test_every_command_is_called():
    assert set(CALLS) == set(TABLE) - NOT_HERE


@pytest.mark.parametrize("name", TABLE)
def test_help_explains_the_command_with_examples_that_parse(name):
    command = TABLE[name]
    assert command.help
    assert all(p.help for p in command.params if p.name not in ("help", "install", "show")), name
    examples = [line.strip() for line in command.epilog.split("\n\n")[1:-1]]
    assert "Exit codes: 0 done" in command.epilog
    shown = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "300"}).stdout
    plain = [" ".join(text.replace("`", "").split()) for text in (command.help, *examples)]
    plain += [" ".join(p.help.replace("`", "").split()) for p in command.params if p.help]
    lost = [text for text in plain if text not in " ".join(shown.split())]
    assert not lost, "what looks like markup is not shown"
    assert any(f"plumewatch {name}" in example for example in examples)
    for example in examples:
        words = shlex.split(example[example.index("plumewatch ") :])[1:]
        found, context = ROOT, typer.Context(ROOT)
        while getattr(found, "commands", {}) and words and words[0] in found.commands:
            found, context = found.commands[words.pop(0)], typer.Context(found, parent=context)
        assert found is command
        found.make_context(name, words, resilient_parsing=False)


@pytest.mark.parametrize("name", sorted(set(TABLE) - NOT_HERE))
def test_it_runs_in_a_school(name, places):
    """Run each command, and again with `--json` if it has that option."""
    has_json = any(p.name == "as_json" for p in TABLE[name].params)
    for more in ("", " --json") if has_json else ("",):
        output = invoke(CALLS[name].format(**places) + more)
        usual = {0, 3} if name == "check" else {FAILS_HERE.get(name, 0)}
        assert output.exit_code in usual, output.stderr
        assert output.stdout or output.stderr or name == "staff test"
        if more:
            assert all(json.loads(line) for line in output.stdout.splitlines())
