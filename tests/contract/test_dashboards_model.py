"""Test that Grafana knows every key in a dashboard; it silently ignores misspelled keys.

``grafana_model.json`` was recorded from the models of grafana-foundation-sdk 11.6.0, plus the
InfluxDB data source's fields for targets and annotations, and `wrapText` from newer tables.
"""

import json
from pathlib import Path

import pytest

from dashboards.boards import DashboardSettings
from dashboards.build import DASHBOARDS, build_all

MODEL = {
    kind: set(keys)
    for kind, keys in json.loads(Path(__file__).with_name("grafana_model.json").read_text()).items()
}
ROOMS = ("r1", "r2")
BUILT = build_all(
    DashboardSettings(
        docs_url="https://docs.example",
        sensors=tuple(f"s-{room}" for room in ROOMS),
        names={room: f"Room {room}" for room in ROOMS},
    )
)


def parts(dashboard):
    """Yield each object in a dashboard, with the kind that defines its keys."""
    yield "dashboard", dashboard
    yield from (("link", link) for link in dashboard["links"])
    yield from (("variable", one) for one in dashboard["templating"]["list"])
    yield from (("annotation", one) for one in dashboard["annotations"]["list"])
    for panel in dashboard["panels"]:
        yield from parts_of_panel(panel)
        for folded in panel.get("panels", ()):
            yield from parts_of_panel(folded)


def parts_of_panel(panel):
    yield ("row" if panel["type"] == "row" else "panel"), panel
    yield "gridPos", panel["gridPos"]
    if panel["type"] == "row":
        return
    kind, options, config = panel["type"], panel["options"], panel["fieldConfig"]
    defaults = config["defaults"]
    yield f"options/{kind}", options
    yield from (
        (key, options[key]) for key in ("legend", "tooltip", "reduceOptions") & options.keys()
    )
    yield from (("target", target) for target in panel["targets"])
    yield from (("transformation", step) for step in panel.get("transformations", ()))
    yield "fieldConfig", config
    yield "defaults", defaults
    yield from shown(defaults)
    if "custom" in defaults:
        yield f"custom/{kind}", defaults["custom"]
    for override in config["overrides"]:
        yield "override", override
        found = {each["id"]: each["value"] for each in override["properties"]}
        yield from shown(found)
        custom = {key[7:]: value for key, value in found.items() if key.startswith("custom.")}
        yield f"custom/{kind}", custom
        yield "defaults", {k: v for k, v in found.items() if not k.startswith("custom.")}


def shown(config):
    """Yield the parts that defaults and overrides have in common."""
    if "thresholds" in config:
        yield "thresholds", config["thresholds"]
        yield from (("threshold", step) for step in config["thresholds"]["steps"])
    if "color" in config:
        yield "color", config["color"]
    yield from (("link", link) for link in config.get("links", ()))
    for mapping in config.get("mappings", ()):
        options = mapping["options"]
        results = [options["result"]] if mapping["type"] == "special" else options.values()
        yield from (("result", result) for result in results)


def unknown(dashboard):
    return [
        (kind, key) for kind, part in parts(dashboard) for key in part if key not in MODEL[kind]
    ]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_grafana_knows_every_key(name):
    assert unknown(BUILT[name]) == []
    assert len([*parts(BUILT[name])]) > 100
