"""Alert rules for Grafana over the series, as a file for its provisioning.

For who keeps sensors and service; none repeats a notice of an incident. Provisioning replaces
``$NAME`` in texts by Grafana's environment, so summaries say ``.Labels``. Every rule names its
contact point, which the file has too: an email to ``PLUMEWATCH_OPERATOR_EMAIL`` of Grafana's
environment. So the file has no notification policy, which would replace the whole tree of the
Grafana.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from dashboards.build import built
from dashboards.frame import TAG, DashboardSettings
from dashboards.queries import (
    AVERAGES,
    DATA_SOURCE_UID,
    HEALTH,
    INCIDENT,
    NO_TEST,
    PIPELINE,
    select,
)
from reports.guidelines import CO2

_CO2_PPM: Final = CO2.bands[1].start
_UNANSWERED: Final = f'$timeFilter AND "paged" = 1 AND "acknowledged" = 0 AND {NO_TEST}'
_CONTACT: Final = "Plumewatch operators"
_GROUPED: Final = ["grafana_folder", "alertname"]
"""The least that Grafana accepts."""
_REDUCED: Final = "B"
_CONDITION: Final = "C"


class _Rule(NamedTuple):
    """A number of each room or sensor, and from what on it is too high."""

    uid: str
    title: str
    query: str
    since_s: int
    above: float
    lasts: str
    summary: str
    page: str
    dashboard: str
    panel: str
    no_data: str = "OK"

    def panel_of(self) -> tuple[str, int]:
        """Return the ids of its dashboard and panel, which shows its state."""
        body = built(DashboardSettings())[self.dashboard]
        (panel,) = [one["id"] for one in body["panels"] if one["title"] == self.panel]
        return body["uid"], panel


RULES: Final = (
    _Rule(
        "plumewatch-sensor-visit",
        "A sensor needs a visit",
        select('last("urgency")', HEALTH, "$timeFilter", "room", "sensor"),
        900,
        0,
        "30m",
        "{{ .Labels.sensor }} in {{ .Labels.room }} needs a visit: see the dashboard Morning",
        "facilities.html#conditions",
        "morning",
        "What needs a visit",
    ),
    _Rule(
        "plumewatch-room-co2",
        "CO2 of a room above the guideline for an hour",
        select('min("co2")', AVERAGES, "$timeFilter", "room"),
        4500,
        _CO2_PPM,
        "0s",
        "{{ .Labels.room }}: CO2 above " + f"{_CO2_PPM:g} ppm for an hour",
        "facilities.html",
        "air",
        "CO2",
    ),
    _Rule(
        "plumewatch-unanswered",
        "Incidents that nobody answered",
        select(
            'sum("open")',
            INCIDENT,
            _UNANSWERED,
        ),
        86_400,
        0,
        "30m",
        "Incidents of the last day that people were notified of are open, and nobody answered",
        "alerting.html",
        "now",
        "Open incidents",
    ),
    _Rule(
        "plumewatch-not-ready",
        "The service is not ready, or writes nothing",
        select('1 - last("ready")', PIPELINE, "$timeFilter"),
        600,
        0,
        "5m",
        "A part of the service does not work: see the dashboard Pipeline",
        "operating.html#alerts-for-the-operator",
        "pipeline",
        "Service",
        "Alerting",
    ),
    _Rule(
        "plumewatch-no-readings",
        "No reading of any sensor for 45 minutes",
        select('0 - sum("accepted")', PIPELINE, "$timeFilter"),
        2_700,
        -1,
        "0s",
        "No sensor is read: look at the gateway, the switch and the sensors' accounts",
        "operating.html#alerts-for-the-operator",
        "pipeline",
        "Readings per second",
    ),
    _Rule(
        "plumewatch-behind",
        "The detector is behind",
        select('last("detector_lag_s")', PIPELINE, "$timeFilter"),
        600,
        30,
        "5m",
        "The detector is more than 30 s behind: alerts come late",
        "operating.html#alerts-for-the-operator",
        "pipeline",
        "Lag in readings and records",
    ),
)


def text_of_rules() -> str:
    """Return the file; YAML that is JSON, too."""
    group = {
        "orgId": 1,
        "name": "plumewatch",
        "folder": "Plumewatch",
        "interval": "1m",
        "rules": [_rule(rule) for rule in RULES],
    }
    email = {"addresses": "$PLUMEWATCH_OPERATOR_EMAIL", "singleEmail": True}
    contact = {
        "orgId": 1,
        "name": _CONTACT,
        "receivers": [{"uid": "plumewatch-operators", "type": "email", "settings": email}],
    }
    file = {"apiVersion": 1, "contactPoints": [contact], "groups": [group]}
    return json.dumps(file, indent=2, ensure_ascii=False) + "\n"


def _rule(rule: _Rule) -> dict[str, Any]:
    span = {"from": rule.since_s, "to": 0}
    dashboard, panel = rule.panel_of()
    question = {
        "refId": "A",
        "query": rule.query,
        "rawQuery": True,
        "resultFormat": "time_series",
        "intervalMs": 60_000,
        "maxDataPoints": 1_000,
    }
    threshold = {"evaluator": {"type": "gt", "params": [rule.above]}}
    return {
        "uid": rule.uid,
        "title": rule.title,
        "condition": _CONDITION,
        "dashboardUid": dashboard,
        "panelId": panel,
        "for": rule.lasts,
        "noDataState": rule.no_data,
        "execErrState": "Error",
        "labels": {"source": TAG},
        "notification_settings": {"receiver": _CONTACT, "group_by": _GROUPED},
        "annotations": {"summary": rule.summary, "page": rule.page},
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
