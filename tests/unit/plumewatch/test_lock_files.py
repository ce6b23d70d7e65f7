"""Test that lock files have every package's hashes and are consistent."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]


def locked(name):
    """Return the package, version and number of hashes of each entry."""
    text = (PROJECT / name).read_text().replace("\\\n", " ")
    found = re.findall(r"^([\w.-]+==\S+)(.*)$", text, re.MULTILINE)
    entries = ((pin + rest.partition("--hash")[0], rest.count("--hash")) for pin, rest in found)
    return {entry.strip(): hashes for entry, hashes in entries}


@pytest.mark.parametrize("name", ["", "-run", "-build", "-sim", "-scale", "-docs"])
def test_every_locked_package_has_the_hashes_of_its_files(name):
    packages = locked(f"requirements{name}.lock")
    assert packages
    assert all(packages.values())


def test_a_machine_without_a_compiler_can_install_what_has_to_be_installed():
    """Packages that exist only as C source have a separate lock file, and are optional."""
    compiled = {entry.partition("==")[0] for entry in locked("requirements-sim.lock")}
    needed = {entry.partition("==")[0] for entry in locked("requirements.lock")}
    assert compiled
    assert compiled.isdisjoint(needed)


def test_what_is_installed_to_run_is_what_the_tests_run_on():
    assert locked("requirements-run.lock").items() <= locked("requirements.lock").items()


def test_what_builds_the_program_is_what_the_tests_built_it_with():
    build = locked("requirements-build.lock")
    assert build.items() <= locked("requirements.lock").items()
    assert any(entry.startswith("hatchling==") for entry in build)


@pytest.mark.parametrize("name", ["install.sh", "Dockerfile"])
def test_nothing_is_installed_or_built_by_what_is_not_locked(name):
    """An isolated build would download the latest build tools; installing a wheel, dependencies."""
    text = (PROJECT / "deploy" / name).read_text().replace("\\\n", " ")
    commands = re.findall(r"pip[\w\"/]* (?:--\S+ )*(?:install|wheel)\b[^&|;\n}]*", text)
    assert len(commands) == 4
    for command in commands:
        hashed = "--require-hashes" in command
        bare = "--no-deps" in command and ("wheel " not in command or "-build-isolation" in command)
        assert hashed or bare, command
