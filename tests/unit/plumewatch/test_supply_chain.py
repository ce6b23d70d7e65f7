"""The verdict of the audit on a report, and the contents of a bill of materials."""

import re

import pytest

from deploy.supply_chain import PROJECT, direct_dependencies, runtime_only, verdict

SOUND = {"name": "a", "version": "1", "vulns": []}
UNKNOWN = {"name": "b", "skip_reason": "not on the index"}
HURT = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}


@pytest.mark.parametrize(
    ("packages", "code", "message"),
    [
        ([SOUND], 0, "1 packages, no known vulnerability"),
        ([SOUND, UNKNOWN], 0, "1 are unknown to the index and were NOT AUDITED"),
        ([UNKNOWN], 0, "NOT AUDITED: the advisories cannot be had from here"),
        ([SOUND, HURT, UNKNOWN], 1, "c 2: PYSEC-1, mended in 2.1"),
        (None, 0, "NOT AUDITED"),
    ],
)
def test_only_a_known_vulnerability_fails_and_unchecked_packages_are_named(packages, code, message):
    report = None if packages is None else {"dependencies": packages}
    found, words = verdict(report)
    assert found == code
    assert message in words


def test_a_bill_has_what_operation_needs_however_deep_and_no_tools():
    parts = ["uvicorn", "Click_Extra", "pytest", "pluggy"]
    bom = {
        "metadata": {"component": {"bom-ref": "root"}},
        "components": [{"bom-ref": f"{name}==1", "name": name} for name in parts],
        "dependencies": [
            {"ref": "root", "dependsOn": ["uvicorn==1", "pytest==1"]},
            {"ref": "uvicorn==1", "dependsOn": ["Click_Extra==1"]},
            {"ref": "Click_Extra==1"},
            {"ref": "pytest==1", "dependsOn": ["pluggy==1"]},
        ],
    }
    kept = runtime_only(bom, frozenset({"uvicorn"}))
    assert [part["name"] for part in kept["components"]] == ["uvicorn", "Click_Extra"]
    assert kept["dependencies"][0] == {"ref": "root", "dependsOn": ["uvicorn==1"]}
    assert len(kept["dependencies"]) == 3


def test_what_operation_needs_is_read_from_the_project():
    needs = direct_dependencies()
    assert {"aiomqtt", "argon2-cffi", "grafana-api", "iotcore"} <= needs
    assert not {"pytest", "ruff", "scikit-learn", "plumewatch"} & needs


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
