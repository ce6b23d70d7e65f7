"""Run every dashboard query on a real InfluxDB with data from a simulated school."""

import json
import math
import re
import time
from pathlib import Path
from string import ascii_uppercase

import pytest

from alerts.outbound.sensor_conditions import Condition
from dashboards import boards
from dashboards.boards import DashboardSettings
from dashboards.build import DASHBOARDS, build_all, dump_json
from detection.quantities import QUANTITIES
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxSettings
from tests.support import grafana
from tests.support.contrast import contrast, rgb
from tests.support.influx import influxql
from tests.support.school_series import SILENT, ZONE

SETTINGS = DashboardSettings(zone=ZONE)
BUILT = build_all(SETTINGS)
QUESTIONS = [
    pytest.param(name, panel, target, id=f"{name}-{panel['title']}-{target['refId']}")
    for name, dashboard in BUILT.items()
    for panel, target in grafana.questions(dashboard)
]
HOSTILE = ("a/ OR 1=1", "it's", 'a" b', "x.*", "(y|z)", "w\\d", "né\u2028e, =")
"""Room ids that would break a query if they were pasted into it."""


def span(dashboard, school):
    wanted = grafana.seconds(dashboard["time"]["from"])
    return min(school.end - wanted, school.start), time.time()


def match(regex, text):
    """Apply a regular expression with groups named `text` and `value`, as Grafana does."""
    return re.fullmatch(regex.strip("/").replace("(?<", "(?P<"), text).groupdict()


@pytest.mark.parametrize(("name", "panel", "target"), QUESTIONS)
def test_every_question_is_answered_in_its_shape(name, panel, target, url, school):
    start, end = span(BUILT[name], school)
    asked = grafana.at_moment(grafana.at_any_range(target["query"]), school.end)
    asked = re.sub(r'"(slots|basis)" >= \d+', r'"\1" >= 0.1', asked)  # the data covers six hours
    query = grafana.interpolated(asked, start, end, least=panel.get("interval", ""))
    found = grafana.answer(url, query)
    assert found, query
    for series in found:
        assert series["values"], query
        assert len({*series["columns"]}) == len(series["columns"])
        numbers = [v for row in series["values"] for v in row[1:] if isinstance(v, int | float)]
        assert all(math.isfinite(v) for v in numbers)
        if target["resultFormat"] == "time_series":
            assert numbers, query
    if match := re.search(r"\$tag_(\w+)", target["alias"]):
        assert all(series["tags"][match.group(1)] for series in found)
    if panel["type"] in {"stat", "bargauge"} and target["resultFormat"] == "time_series":
        assert all(len(series["columns"]) == 2 for series in found), "one number a line"


def test_readings_are_asked_of_a_day_and_averages_of_more(url, school):
    asked = 0
    for dashboard in BUILT.values():
        for panel in grafana.panels(dashboard):
            by_range = [t["query"] for t in panel["targets"] if "90000000" in t["query"]]
            if not by_range:
                assert '"reading"' not in str(panel["targets"]).replace(
                    '"reading" WHERE time >', ""
                )
                continue
            for detail, outline in zip(by_range[::2], by_range[1::2], strict=True):
                assert re.search(r'"(reading|sensor_health)"', detail)
                assert re.search(r'"(reading_15m|sensor_hour)"', outline)
                for days in (1, 2):
                    start = school.end - days * 86_400
                    answers = [
                        grafana.answer(url, grafana.interpolated(query, start, school.end))
                        for query in (detail, outline)
                    ]
                    assert not answers[2 - days]
                    asked += bool(answers[days - 1])
    assert asked > 20


@pytest.mark.parametrize("name", DASHBOARDS)
def test_committed_files_are_what_the_code_makes(name):
    path = Path(__file__).parents[2] / "dashboards" / "json" / f"{name}.json"
    made = dump_json(build_all(DashboardSettings())[name])
    assert path.read_text(encoding="utf-8") == made, "run `plumewatch dashboards build`"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_variables_are_chained_and_marks_are_found(name, url, school):
    dashboard = BUILT[name]
    start, end = span(dashboard, school)
    variables = [v for v in dashboard["templating"]["list"] if v["type"] == "query"]
    for number, variable in enumerate(variables):
        for larger in variables[:number]:
            assert f"${{{larger['name']}:regex}}" in variable["query"]
        (found,) = grafana.answer(url, grafana.interpolated(variable["query"], start, end))
        if variable["name"] == "room":  # the regular expression separates name and id
            choices = [match(variable["regex"], row[1]) for row in found["values"]]
            assert {c["value"] for c in choices} == school.registry.rooms.keys()
            assert all(c["text"] == f"Room {c['value']}" for c in choices)
        else:
            assert {row[0] for row in found["values"]} == {variable["name"]}
        assert variable["allowCustomValue"] is False
    for mark in (dashboard.get("annotations") or {}).get("list", []):
        found = grafana.answer(url, grafana.interpolated(mark["query"], start, end))
        (columns,) = {tuple(series["columns"]) for series in found}
        asked = {"kind", "sentence", "until"} | (
            {"status", "verdict"} if mark["name"] == "Incidents" else set()
        )
        assert asked <= set(columns)


def test_a_floor_narrows_rooms_and_a_room_narrows_panels(url, school):
    room = BUILT["room"]
    variable = next(v for v in room["templating"]["list"] if v["name"] == "room")
    chosen = {**grafana.EVERYWHERE, "building": "Main", "floor": ["2"]}
    query = grafana.interpolated(variable["query"], school.start, school.end, chosen)
    (found,) = grafana.answer(url, query)
    found = [match(variable["regex"], row[1])["value"] for row in found["values"]]
    assert sorted(found) == ["main-2-boys", "main-2-girls"]
    particles = next(p for p in grafana.panels(room) if p["title"] == "Particles")
    pm25 = next(t for t in particles["targets"] if '"pm25"' in t["query"])
    query = grafana.interpolated(
        pm25["query"],
        school.start,
        school.end,
        {**grafana.EVERYWHERE, "room": "main-2-boys"},
    )
    sensors = {series["tags"]["sensor"] for series in grafana.answer(url, query)}
    assert sensors == {"main-2-boys-a", "main-2-boys-b"}


@pytest.fixture
def hostile(url, tmp_path):
    """Add rooms whose names look like parts of a query; remove them afterward."""
    registry = Registry.build(
        [Room(room, "", "", "", "S") for room in HOSTILE],
        [Sensor(f"hostile-{k}", room) for k, room in enumerate(HOSTILE)],
    )
    now = time.time()
    with InfluxSeries(InfluxSettings(url, "school"), registry, tmp_path / "i.db") as series:
        series.write([Reading(s, now - 30, now, {"pm25": 5.0}) for s in registry.sensors])
    yield now
    influxql(url, 'DROP SERIES FROM "reading" WHERE "site" = \'S\'', "school")


def test_the_value_of_a_variable_cannot_change_the_query(url, hostile):
    now = hostile
    panel = next(p for p in grafana.panels(BUILT["now"]) if p["title"] == "PM2.5 by room")
    for room in HOSTILE:
        chosen = {**grafana.EVERYWHERE, "site": "S", "room": room}
        query = grafana.interpolated(panel["targets"][0]["query"], now - 600, now + 60, chosen)
        found = grafana.answer(url, query)
        stored = room.replace("\u2028", " ")  # a tag cannot contain line breaks
        if stored == room:
            assert [series["tags"]["room"] for series in found] == [room]
        else:
            assert found == []
    injected = 'x$/ OR "room" =~ /.*/; DROP DATABASE school; SELECT 1 FROM x WHERE a =~ /'
    chosen = {**grafana.EVERYWHERE, "room": injected}
    query = grafana.interpolated(panel["targets"][0]["query"], now - 600, now + 60, chosen)
    assert grafana.answer(url, query) == []


def test_every_panel_has_a_description_and_a_text_for_no_data():
    names = [d["title"] for d in BUILT.values()]
    assert len(set(names)) == len(names)
    for dashboard in BUILT.values():
        titles = [p["title"] for p in grafana.panels(dashboard)]
        assert len(set(titles)) == len(titles)
        assert dashboard["timezone"] == ZONE
        for panel in grafana.panels(dashboard):
            assert len(panel["description"]) > 10
            assert panel["fieldConfig"]["defaults"]["noValue"]
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
            ids = [t["refId"] for t in panel["targets"]]
            assert ids == list(ascii_uppercase[: len(ids)])


def grounds(panel):
    """Return the background colors that Grafana uses behind a panel's text."""
    defaults = panel["fieldConfig"]["defaults"]
    found = []
    if panel["type"] == "stat" and panel["options"]["colorMode"] == "background_solid":
        found += [step["color"] for step in defaults["thresholds"]["steps"]]
    for override in panel["fieldConfig"]["overrides"]:
        given = {p["id"]: p["value"] for p in override["properties"]}
        if "custom.cellOptions" in given:
            for step in given.get("thresholds", {}).get("steps", ()):
                found.append(step["color"])
            for mapping in given.get("mappings", ()):
                options = mapping["options"]
                results = [options["result"]] if mapping["type"] == "special" else options.values()
                found += [result["color"] for result in results]
    return {color for color in found if color != "transparent"}


def text_on(color):
    """Return Grafana's text color: almost black if the brightness is above 180."""
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return "#202226" if (299 * red + 587 * green + 114 * blue) / 1000 > 180 else "#F7F8FA"


def test_text_on_colors_can_be_read():
    checked = set()
    for dashboard in BUILT.values():
        for panel in grafana.panels(dashboard):
            assert panel.get("options", {}).get("colorMode") != "background", "a gradient"
            for color in grounds(panel):
                assert contrast(rgb(color), rgb(text_on(color))) >= 4.5, (panel["title"], color)
                checked.add(panel["title"])
    assert {
        "Rooms",
        "Incidents open now",
        "Nobody responded",
    } <= checked


def test_links_lead_to_the_staff_page_and_between_dashboards():
    text = json.dumps(BUILT)
    assert "${staff_page}/incidents/${__value.raw:percentencode}" in text
    assert "/d/plumewatch-room?var-room=${__value.raw:percentencode}" in text
    without = json.dumps(build_all(DashboardSettings(page_url="")))
    assert "${staff_page}/" not in without


def test_a_room_shows_what_its_sensors_report():
    """Three charts are expanded, and every channel has its own query and unit in a chart."""
    open_rows = [p for p in BUILT["room"]["panels"] if p["type"] == "timeseries"]
    assert len(open_rows) == 3
    (folded,) = (p for p in BUILT["room"]["panels"] if p["type"] == "row" and p["collapsed"])
    units = {}
    for panel in (*open_rows, *folded["panels"]):
        for target in panel["targets"]:
            (label,) = re.findall(r' AS "([^"]+)"', target["query"])
            assert target["query"].count("mean(") == 1, "no values, no line"
            (unit,) = (
                one["value"]
                for override in panel["fieldConfig"]["overrides"]
                if re.search(override["matcher"]["options"].strip("/"), f"s1 {label}")
                for one in override["properties"]
                if one["id"] == "unit"
            )
            units[label] = unit
    quantities = QUANTITIES.keys() - {"battery", "rssi", "vape_index"}
    assert len(units) == len(quantities)
    assert (units["PM2.5"], units["temperature"], units["TVOC, ppb"]) == (
        "conμgm3",
        "fahrenheit",
        "conppb",
    )


def found_panel(name, title):
    return next(p for p in grafana.panels(BUILT[name]) if p["title"] == title)


def test_the_morning_table_lists_the_sensors_that_need_a_visit(url, school):
    panel = found_panel("morning", "What needs a visit")
    start, end = span(BUILT["morning"], school)
    (target,) = panel["targets"]
    found = grafana.answer(url, grafana.interpolated(target["query"], start, end))
    rows = {
        series["tags"]["sensor"]: dict(zip(series["columns"], series["values"][0], strict=True))
        for series in found
    }
    conditions = {sensor: row["condition"] for sensor, row in rows.items()}
    assert conditions["gym-1-locker-b"] == "tampered"
    assert conditions[SILENT] == "silent"
    assert "ok" not in conditions.values()
    row = rows["gym-1-locker-b"]
    assert (row["urgency"], row["what to do"]) == (6, "tampered")
    assert row["since"] == pytest.approx((school.end - 5_400) * 1000, abs=300_000)
    first = panel["transformations"][0]["options"]["sort"]
    assert first == [{"field": "urgency", "desc": True}]


def test_what_changed_since_yesterday_has_the_condition_before_and_after(url, school):
    panel = found_panel("morning", "Sensors whose condition changed")
    start, end = span(BUILT["morning"], school)
    (series,) = grafana.answer(url, grafana.interpolated(panel["targets"][0]["query"], start, end))
    found = [dict(zip(series["columns"], row, strict=True)) for row in series["values"]]
    moves = {(row["sensor"], row["condition_before"], row["condition"]) for row in found}
    assert {("gym-1-locker-b", "ok", "tampered"), (SILENT, "ok", "silent")} <= moves


def mapped(panel, column=".*"):
    """Return the texts and colors that a table shows for the values of a column."""
    found = {}
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] in (".*", column):
            given = {p["id"]: p["value"] for p in override["properties"]}
            for mapping in given.get("mappings", ()):
                if mapping["type"] == "value":
                    found |= mapping["options"]
    return found


def test_codes_are_words_and_a_word_has_one_color_everywhere():
    colors = {}
    for dashboard in BUILT.values():
        for panel in grafana.panels(dashboard):
            columns = {o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"]}
            if panel["type"] == "table":
                assert mapped(panel)["vape"]["text"] == "vaping"
                assert mapped(panel)["nothing_found"]["text"] == "nothing found"
            if "status" in columns:
                assert mapped(panel, "status")["notified"]["text"] == "staff notified"
            for column in columns - {".*"}:
                for shown in mapped(panel, column).values():
                    if "color" in shown:
                        colors.setdefault(shown["text"], set()).add(shown["color"])
    assert {"silent", "staff notified"} <= colors.keys()
    assert {text: found for text, found in colors.items() if len(found) > 1} == {}
    by_kind = found_panel("alerts", "Incidents per day, by kind")
    names = {
        override["matcher"]["options"]: p["value"]
        for override in by_kind["fieldConfig"]["overrides"]
        for p in override["properties"]
        if p["id"] == "displayName"
    }
    assert (names["vape"], names["tamper"]) == ("vaping", "tampering")


def test_axes_have_round_numbers():
    """Grafana divides an axis of seconds at 1.67 minutes, and one of counts at 1.5."""
    for dashboard in BUILT.values():
        for panel in grafana.panels(dashboard):
            if panel["type"] == "timeseries":
                defaults = panel["fieldConfig"]["defaults"]
                assert defaults["unit"] != "s", panel["title"]
                assert defaults.get("decimals") == 0 or "stacking" not in defaults["custom"]


PHONE = 366
"""Width of a table on a phone of 390 pixels."""


@pytest.mark.parametrize(
    ("name", "title", "last"),
    [
        ("morning", "What needs a visit", "what to do"),
        ("morning", "How fast plumes clear", "vs. month"),
        ("morning", "Lowest CO2 of the day", "vs. month"),
        ("morning", "Sensors whose condition changed", "now"),
        ("morning", "Incidents", "kind"),
        ("now", "Open incidents", "status"),
        ("alerts", "All incidents", "kind"),
        ("sensors", "Sensors", "state"),
        ("sensors", "Faults, outages, tampering", "kind"),
    ],
)
def test_a_phone_shows_the_columns_that_matter_without_scrolling(name, title, last):
    panel = found_panel(name, title)
    organize = panel["transformations"][-1]["options"]
    columns = [organize["renameByName"].get(c, c) for c in organize["indexByName"]]
    widths = {}
    for override in panel["fieldConfig"]["overrides"]:
        for given in override["properties"]:
            if given["id"] in ("custom.width", "custom.minWidth"):
                widths[override["matcher"]["options"]] = given["value"]
    shown = columns[: columns.index(last) + 1]
    assert shown[0] == "room"
    assert sum(widths[column] for column in shown) <= PHONE, widths


def test_every_condition_of_a_sensor_has_a_name_a_color_and_a_section_of_the_docs():
    guide = (Path(__file__).parents[2] / "docs" / "facilities.md").read_text(encoding="utf-8")
    visits = [c for c in Condition if c != Condition.OK]
    words = boards.SHARED["words"]
    assert list(words["condition"]) == ["ok", *visits]
    assert list(words["to_do"]) == visits
    for condition in visits:
        assert f'<a id="{condition}">' in guide
    built_with = build_all(DashboardSettings(docs_url="https://docs.example"))
    assert "https://docs.example/facilities.html#${__value.raw}" in json.dumps(built_with)


def test_rooms_have_their_names_where_the_configuration_is_known():
    names = {"main-1-boys": "Boys, floor 1", "main-2-boys": "Boys, floor 2"}
    made = build_all(DashboardSettings(names=names))
    checked = set()
    for dashboard in made.values():
        for panel in grafana.panels(dashboard):
            overrides = {}
            for override in panel["fieldConfig"]["overrides"]:
                values = {p["id"]: p["value"] for p in override["properties"]}
                overrides.setdefault(override["matcher"]["options"], {}).update(values)
            if any(target["alias"] == "$tag_room" for target in panel["targets"]):
                assert [overrides[room]["displayName"] for room in names] == list(names.values())
                assert panel["fieldConfig"]["defaults"]["links"]
                checked.add(panel["title"])
            if panel["type"] == "table":
                (mapping,) = overrides["room"]["mappings"]
                assert mapping["options"]["main-2-boys"]["text"] == "Boys, floor 2"
    assert {"PM2.5 by room", "Incidents by room", "CO2"} <= checked


def test_tables_name_a_room_once_and_write_times_as_pages_do():
    tables = [p for d in BUILT.values() for p in grafana.panels(d) if p["type"] == "table"]
    overrides = [one for panel in tables for one in panel["fieldConfig"]["overrides"]]
    assert not {"room name", "room_name"} & {one["matcher"]["options"] for one in overrides}
    given = [one for override in overrides for one in override["properties"]]
    times = {one["value"] for one in given if one["id"] == "unit" and "ime" in one["value"]}
    assert times == {"time:MMM D, h:mm A", "dateTimeFromNow", "suffix: times"}


def test_the_data_source_is_a_variable_and_nothing_needs_a_new_grafana():
    for dashboard in BUILT.values():
        text = json.dumps(dashboard)
        assert "palette-colorblind" not in text
        (source,) = [v for v in dashboard["templating"]["list"] if v["type"] == "datasource"]
        assert (source["name"], source["query"]) == ("source", "influxdb")
        for _, target in grafana.questions(dashboard):
            assert target["datasource"] == {"type": "influxdb", "uid": "${source}"}


def styles(panel):
    """Return each series' color, and its dashes or the opacity of its bars."""
    found = {}
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == ".*":
            continue
        given = {p["id"]: json.dumps(p["value"]) for p in override["properties"]}
        found[override["matcher"]["options"]] = given
    return found


def test_lines_of_rooms_and_sensors_differ_by_more_than_color():
    """Series with the same color have different dashes, or lighter bars."""
    rooms = tuple(f"room {k}" for k in range(25))
    sensors = tuple(f"sensor/{k}" for k in range(25))
    made = build_all(DashboardSettings(names=dict(zip(rooms, rooms, strict=True)), sensors=sensors))
    checked = set()
    for dashboard in made.values():
        for panel in grafana.panels(dashboard):
            aliases = {target["alias"] for target in panel["targets"]}
            if panel["type"] != "timeseries" or not aliases & {"$tag_room", "$tag_sensor"}:
                continue
            names = rooms if "$tag_room" in aliases else sensors
            given = styles(panel)
            assert given.keys() >= set(names), panel["title"]
            shown = [tuple(sorted(given[name].items())) for name in names]
            assert len(set(shown[:20])) == 20
            assert len({given[name]["color"] for name in names}) == 7
            checked.add(panel["title"])
    assert {
        "PM2.5 by room",
        "Time online by sensor",
        "Vaping and smoke per week and room",
    } <= checked
