"""The lock files: hashes of every package, and which belong together."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]


def locked(name):
    """Package and version of each entry, with the number of its hashes."""
    text = (PROJECT / name).read_text().replace("\\\n", " ")
    found = re.findall(r"^([\w.-]+==\S+)(.*)$", text, re.MULTILINE)
    entries = ((pin + rest.partition("--hash")[0], rest.count("--hash")) for pin, rest in found)
    return {entry.strip(): hashes for entry, hashes in entries}


@pytest.mark.parametrize("name", ["", "-run", "-sim", "-scale", "-docs"])
def test_every_locked_package_has_the_hashes_of_its_files(name):
    packages = locked(f"requirements{name}.lock")
    assert packages
    assert all(packages.values())


def test_a_machine_without_a_compiler_can_install_what_has_to_be_installed():
    """What exists as C source alone is in a lock file of its own, which may fail."""
    compiled = {entry.partition("==")[0] for entry in locked("requirements-sim.lock")}
    needed = {entry.partition("==")[0] for entry in locked("requirements.lock")}
    assert compiled
    assert compiled.isdisjoint(needed)


def test_what_is_installed_to_run_is_what_the_tests_run_on():
    assert locked("requirements-run.lock").items() <= locked("requirements.lock").items()
