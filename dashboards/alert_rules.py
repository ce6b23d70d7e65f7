"""Alert rules for Grafana over the series (``boards/rules.toml``), as a file for provisioning.

For who keeps sensors and service; none repeats a notice of an incident. Provisioning replaces
``$NAME`` in texts by Grafana's environment, so summaries say ``.Labels``. The contact point is in
the file: a notification policy would replace the whole tree of the Grafana.
"""

from __future__ import annotations

import json
from typing import Any, Final

from dashboards.build import built
from dashboards.definitions import read
from dashboards.frame import TAG, DashboardSettings
from dashboards.queries import DATA_SOURCE_UID, FRAGMENTS, filled
from reports.figures import CO2

_CO2_PPM: Final = CO2.bands[1].start
_WORDS: Final = {**FRAGMENTS, "co2": f"{_CO2_PPM:g}"}
_CONTACT: Final = "Plumewatch operators"
_GROUPED: Final = ["grafana_folder", "alertname"]
"""The least that Grafana accepts."""
_REDUCED: Final = "B"
_CONDITION: Final = "C"


def text_of_rules() -> str:
    """Return the file; YAML that is JSON, too."""
    shown = built(DashboardSettings())
    group = {
        "orgId": 1,
        "name": "plumewatch",
        "folder": "Plumewatch",
        "interval": "1m",
        "rules": [_rule(rule, shown[rule["dashboard"]]) for rule in read("rules")["rule"]],
    }
    email = {"addresses": "$PLUMEWATCH_OPERATOR_EMAIL", "singleEmail": True}
    contact = {
        "orgId": 1,
        "name": _CONTACT,
        "receivers": [{"uid": "plumewatch-operators", "type": "email", "settings": email}],
    }
    file = {"apiVersion": 1, "contactPoints": [contact], "groups": [group]}
    return json.dumps(file, indent=2, ensure_ascii=False) + "\n"


def condition_of(rule: dict[str, Any]) -> tuple[str, float]:
    """Return the query of a rule, and the value above which it alerts."""
    return filled(rule["query"], _WORDS), _CO2_PPM if rule["above"] == "co2" else rule["above"]


def _rule(rule: dict[str, Any], dashboard: dict[str, Any]) -> dict[str, Any]:
    (query, above), span = condition_of(rule), {"from": rule["since_s"], "to": 0}
    (panel,) = [one["id"] for one in dashboard["panels"] if one["title"] == rule["panel"]]
    question = {
        "refId": "A",
        "query": query,
        "rawQuery": True,
        "resultFormat": "time_series",
        "intervalMs": 60_000,
        "maxDataPoints": 1_000,
    }
    threshold = {"evaluator": {"type": "gt", "params": [above]}}
    return {
        "uid": rule["uid"],
        "title": rule["title"],
        "condition": _CONDITION,
        "dashboardUid": dashboard["uid"],
        "panelId": panel,
        "for": rule["lasts"],
        "noDataState": rule.get("no_data", "OK"),
        "execErrState": "Error",
        "labels": {"source": TAG},
        "notification_settings": {"receiver": _CONTACT, "group_by": _GROUPED},
        "annotations": {
            "summary": filled(rule["summary"], _WORDS),
            "page": rule["page"],
        },
        "data": [
            {
                "refId": "A",
                "relativeTimeRange": span,
                "datasourceUid": DATA_SOURCE_UID,
                "model": question,
            },
            _expression(_REDUCED, span, {"type": "reduce", "expression": "A", "reducer": "last"}),
            _expression(
                _CONDITION,
                span,
                {"type": "threshold", "expression": _REDUCED, "conditions": [threshold]},
            ),
        ],
    }


def _expression(ref: str, span: dict[str, int], model: dict[str, Any]) -> dict[str, Any]:
    source = {"type": "__expr__", "uid": "__expr__"}
    return {
        "refId": ref,
        "relativeTimeRange": span,
        "datasourceUid": "__expr__",
        "model": {"refId": ref, "datasource": source, **model},
    }
