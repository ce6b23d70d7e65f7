"""The alert rules of deploy/prometheus, in the words of Prometheus' own promtool."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from docs import reference
from tests.support.needs import need

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((FOLDER / "plumewatch.rules.yaml").read_text())["groups"][0]["rules"]


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("check", FOLDER / "plumewatch.rules.yaml"),
        ("test", Path(__file__).with_name("plumewatch.rules.test.yaml")),
    ],
)
def test_promtool_accepts_the_rules_and_they_fire_as_tested(command, file):
    need("promtool")
    ran = subprocess.run(
        ["promtool", command, "rules", file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_rule_asks_for_metrics_that_are_given_and_says_what_to_do():
    given = set(re.findall(r"`(plumewatch_\w+)`", "\n".join(reference.metrics())))
    for rule in RULES:
        assert set(re.findall(r"plumewatch_\w+", rule["expr"])) <= given, rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "action"}
    assert "\n## Alerts for the operator\n" in PAGE


def test_every_metric_of_the_page_that_is_alerted_on_has_a_rule():
    (table,) = re.findall(r"\| expression \| means \|\n(.*?)\n\n", PAGE, re.DOTALL)
    asked = set(re.findall(r"plumewatch_\w+", " ".join(rule["expr"] for rule in RULES)))
    assert set(re.findall(r"plumewatch_\w+", table)) <= asked
