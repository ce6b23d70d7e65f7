"""What the audit says of a report, and what a bill of materials keeps."""

import pytest

from deploy.supply_chain import direct_dependencies, runtime_only, verdict

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
def test_only_a_known_vulnerability_fails_and_what_was_not_asked_is_said(packages, code, message):
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
    assert {"aiomqtt", "argon2-cffi", "grafana-foundation-sdk", "iotcore"} <= needs
    assert not {"pytest", "ruff", "scikit-learn", "plumewatch"} & needs
