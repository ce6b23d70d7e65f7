"""The alert rules for Grafana: every question asked of a real InfluxDB, and the file as built."""

import json
import re
import time
from pathlib import Path

import pytest
import yaml

from dashboards.alert_rules import text_of_rules
from dashboards.build import built
from dashboards.frame import DashboardSettings
from tests.support import grafana

HOME = Path(__file__).parents[2]
RULE_KEYS = {
    *("uid", "title", "condition", "data", "dashboardUid", "panelId", "noDataState"),
    *("execErrState", "for", "annotations", "labels", "notification_settings"),
}
"""What the provisioning of Grafana reads of a rule (`AlertRuleV1` of its source)."""
RULES = {rule["uid"]: rule for rule in yaml.safe_load(text_of_rules())["groups"][0]["rules"]}
FILE = HOME / "dashboards" / "alerting" / "plumewatch-rules.yaml"


@pytest.mark.parametrize("uid", RULES)
def test_every_rule_is_answered_with_numbers(uid, url, school):
    question, now = RULES[uid]["data"][0], time.time()
    query, since_s = question["model"]["query"], question["relativeTimeRange"]["from"]
    start = min(now - since_s, school.end - since_s)
    found = grafana.answer(url, grafana.interpolated(query, start, now))
    assert found, query
    for series in found:
        assert len(series["columns"]) == 2
        assert all(isinstance(row[1], int | float) for row in series["values"])
    for label in ("room", "sensor"):
        if f".Labels.{label}" in RULES[uid]["annotations"]["summary"]:
            assert all(series["tags"][label] for series in found)


def test_a_tampered_sensor_is_above_and_a_healthy_one_is_not(url, school):
    question, _, threshold = RULES["plumewatch-sensor-visit"]["data"]
    since_s = question["relativeTimeRange"]["from"]
    query = grafana.interpolated(question["model"]["query"], school.end - since_s, time.time())
    (limit,) = threshold["model"]["conditions"][0]["evaluator"]["params"]
    above = {
        series["tags"]["sensor"]
        for series in grafana.answer(url, query)
        if series["values"][-1][1] > limit
    }
    assert "gym-1-locker-b" in above
    assert above < school.registry.sensors.keys()


def test_the_file_is_what_the_code_makes_and_links_to_pages_that_exist():
    assert FILE.read_text(encoding="utf-8") == text_of_rules(), "run `make dashboards`"
    file = yaml.safe_load(text_of_rules())
    assert file.keys() == {"apiVersion", "contactPoints", "groups"}, "no policies: they replace all"
    (contact,) = file["contactPoints"]
    (group,) = file["groups"]
    assert re.fullmatch(r"\d+[smh]", group["interval"])
    assert len({rule["uid"] for rule in group["rules"]}) == len(group["rules"])
    panels = {d["uid"]: {p["id"] for p in d["panels"]} for d in built(DashboardSettings()).values()}
    for rule in group["rules"]:
        assert rule.keys() <= RULE_KEYS
        assert rule["notification_settings"]["receiver"] == contact["name"]
        assert {rule["noDataState"], rule["execErrState"]} <= {"OK", "Alerting", "Error"}
        assert re.fullmatch(r"\d+[smh]", rule["for"])
        assert len(rule["uid"]) <= 40
        assert "$" not in json.dumps([rule["title"], rule["annotations"], rule["labels"]])
        assert rule["panelId"] in panels[rule["dashboardUid"]]
        for query in rule["data"]:
            assert query.keys() <= {"refId", "relativeTimeRange", "datasourceUid", "model"}
    for rule in group["rules"]:
        assert [query["refId"] for query in rule["data"]] == ["A", "B", "C"]
        assert rule["condition"] == "C"
        page, _, anchor = rule["annotations"]["page"].partition("#")
        text = (HOME / "docs" / page.replace(".html", ".md")).read_text(encoding="utf-8")
        assert not anchor or f"\n## {anchor.replace('-', ' ')}".lower() in text.lower()
