"""The same dashboards over the embedded store: their queries through the Infinity data source.

A query stays the text; it is sent to ``/api/v1/query`` of the staff page. The names and types of
the columns, which Infinity needs beforehand, come from parsing it (`storage.timeseries.influxql`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from dashboards.queries import SOURCE
from storage.timeseries import influxql

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPE: Final = "yesoreyeram-infinity-datasource"
PROVISIONED: Final = """\
# The data source of the embedded store, for /etc/grafana/provisioning/datasources. The plug-in:
# grafana cli plugins install yesoreyeram-infinity-datasource
# The token: plumewatch token add Grafana --person <id> --scope readings --days 365
apiVersion: 1
datasources:
  - uid: plumewatch-series
    name: Plumewatch series
    type: yesoreyeram-infinity-datasource
    access: proxy
    editable: false
    url: ${PLUMEWATCH_PAGE_URL}
    jsonData:
      auth_method: bearerToken
      allowedHosts:
        - ${PLUMEWATCH_PAGE_URL}
    secureJsonData:
      bearerToken: $__file{/etc/plumewatch/grafana-token}
"""
_SOURCE: Final = {"type": TYPE, "uid": f"${{{SOURCE}}}"}
_IN_RANGE: Final = "time >= ${__from}ms AND time <= ${__to}ms"
_COLUMN_FIRST: Final = "$tag_sensor $col"
_TYPES: Final = {str: "string", float: "number"}


def ask_embedded(body: dict[str, Any]) -> None:
    """Turn a dashboard over an InfluxDB into one over the embedded store; changes it."""
    for variable in body["templating"]["list"]:
        if variable["type"] == "datasource":
            variable["query"] = TYPE
        elif variable["type"] == "query":
            _ask_variable(variable)
    for mark in body["annotations"].get("list", ()):
        if mark["datasource"]["type"] == "influxdb":
            _ask_mark(mark)
    for panel in body["panels"]:
        if panel.get("targets"):
            _ask_panel(panel)


def _ask_panel(panel: dict[str, Any]) -> None:
    aliases = {target["alias"] for target in panel["targets"]}
    panel["datasource"] = dict(_SOURCE)
    panel["targets"] = [_target(target) for target in panel["targets"]]
    if _COLUMN_FIRST in aliases:  # Grafana puts the name of a column before its labels
        for override in panel["fieldConfig"]["overrides"]:
            name = re.fullmatch(r"/\(\^\| \)(.*)\$/", override["matcher"]["options"])
            if name:
                override["matcher"]["options"] = f"/^{name[1]}( |$)/"


def _target(target: Mapping[str, Any]) -> dict[str, Any]:
    is_table = target["resultFormat"] == "table"
    query = _asked(target["query"], target["refId"])
    query["format"] = "table" if is_table else "timeseries"
    if not is_table:  # a field of this name is shown by its labels alone
        _rename(query, "value", "Value")
    return query


def _ask_variable(variable: dict[str, Any]) -> None:
    query = _asked(variable["query"], "variable")
    if variable["name"] == "room":  # ``name | id``
        _rename(query, "value", "__text")
    else:
        query["columns"] = [c for c in query["columns"] if c["selector"] == "value"]
        _rename(query, "value", "__text")
        query["columns"].append({**query["columns"][-1], "text": "__value"})
    query["columns"] = [c for c in query["columns"] if c["text"].startswith("__")]
    variable["datasource"] = dict(_SOURCE)
    variable["query"] = {"queryType": "infinity", "query": "", "infinityQuery": query}


def _ask_mark(mark: dict[str, Any]) -> None:
    query = _asked(mark.pop("query"), "Anno")
    for name in ("rawQuery", "titleColumn", "textColumn", "tagsColumn", "timeEndColumn"):
        mark.pop(name, None)
    for selector, text, kind in (
        ("time", "time", "timestamp"),
        ("until", "timeEnd", "timestamp_epoch"),
        ("sentence", "text", "string"),
        ("kind", "title", "string"),
    ):
        for column in query["columns"]:
            if column["selector"] == selector:
                column.update(text=text, type=kind)
    mark["datasource"], mark["target"] = dict(_SOURCE), query


def _asked(text: str, ref: str) -> dict[str, Any]:
    text = text.replace("$timeFilter", _IN_RANGE)
    columns = [{"selector": "time", "text": "Time", "type": "timestamp"}]
    for name, kind in _columns(text).items():
        columns.append({"selector": name, "text": name, "type": _TYPES[kind]})
    return {
        "refId": ref,
        "datasource": dict(_SOURCE),
        "queryType": "infinity",
        "type": "json",
        "source": "url",
        "parser": "backend",
        "format": "table",
        "url": "/api/v1/query",
        "url_options": {"method": "GET", "params": [{"key": "q", "value": text}], "data": ""},
        "root_selector": "items",
        "columns": columns,
    }


def _columns(text: str) -> dict[str, type]:
    """Return the columns of a query, with something in place of Grafana's variables."""
    text = re.sub(r"\$\{__(from|to)\}", "0", text).replace("$__interval", "1m")
    return influxql.parse(re.sub(r"\$\{\w+:regex\}", ".*", text), 0.0).columns


def _rename(query: dict[str, Any], selector: str, text: str) -> None:
    for column in query["columns"]:
        if column["selector"] == selector:
            column["text"] = text
