"""Test that outputs distinguish two schools' rooms with the same name."""

import time
import tomllib
from contextlib import closing
from types import MappingProxyType

import pytest

from alerts.access import schema as access
from alerts.engine import AlertEngine
from alerts.incidents import schema
from alerts.notify import outbox
from alerts.notify.channels.apprise_notifier import build_json_fields
from alerts.notify.notice import render
from alerts.notify.notice_writer import write_headline
from alerts.notify.pictures import IncidentPictures
from plumewatch.config.load import parse
from plumewatch.config.settings import build_alert_policy
from plumewatch.report_request import ReportRequest
from plumewatch.service.data_folder import prepare_state
from reports import read
from reports.rows import name_rooms
from storage import audit, sqlite
from storage.reading import Reading
from tests.support.broker import free_port
from tests.support.command import plumewatch
from tests.support.events import make_event
from tests.support.in_process import running, state_database, store
from tests.support.plumes import readings_of_puff
from tests.support.two_schools import COMMON, SCHOOL, TWO
from tests.support.waiting import until

AT = 1_788_789_900.0  # 10:05 in New York, 8:05 in Denver
NOTIFIED = SCHOOL + 'notify = [{{ url_file = "address-{0}" }}]\n'
DISTRICT = COMMON + NOTIFIED.format("north") + NOTIFIED.format("south")


class District:
    """Two schools, each with an incident at the same time."""

    def __init__(self, path):
        for site in ("north", "south"):
            (path / f"address-{site}").write_text(f"json://127.0.0.1:9/{site}")
        self.config = parse(tomllib.loads(DISTRICT), base=path)
        self.registry = self.config.build_registry()
        self.policy = build_alert_policy(self.config)
        self.database = path / "state.db"
        self.db = sqlite.connect(self.database)
        for part in (schema, access, audit):
            sqlite.migrate(self.db, part.COMPONENT, part.SCRIPTS)
        self.engine = AlertEngine(self.registry, self.policy)
        with sqlite.transaction(self.db) as tx:
            records = self.engine.on_events(
                tx, [make_event(AT, "north-1"), make_event(AT, "south-1")], AT
            )
        self.ids = [record.incident for record in records]
        self.rooms = list(self.registry.rooms.values())

    def notices(self):
        rows = outbox.lease(
            self.db, AT, owner="test", lease_s=60.0, limit=100, free=lambda _channel: 100
        )
        return {row.person: row.notice for row in rows}


@pytest.fixture
def district(tmp_path):
    found = District(tmp_path)
    yield found
    found.db.close()


def titles(district):
    notices = district.notices()
    return [render(notices[f"{site}-ap"])[0] for site in ("north", "south")]


def picture_texts(district):
    class Series:
        def read_window(self, _sensor, start, end):
            return [start, end], {"pm25": [5.0, 5.0]}

    pictures = IncidentPictures(district.database, district.registry, Series(), "UTC")
    return [pictures.draw_svg(incident) for incident in district.ids]


def rows_of_reports(district):
    rows = read.read_incidents(district.db, district.registry, 0.0, AT + 1.0)
    return [f"{row.room}, {row.floor}, {row.building}, {row.site}" for row in rows]


OUTPUTS = MappingProxyType(
    {
        "notice": titles,
        "picture": picture_texts,
        "report": rows_of_reports,
        "dashboard": lambda d: list(
            name_rooms((r.id, r.name, r.floor, r.whole_building) for r in d.rooms).values()
        ),
        "digest": lambda d: [write_headline([], [room]).params["room"] for room in d.rooms],
        "page": lambda d: [f"{room.name} {room.place}" for room in d.rooms],
        "file": lambda d: [
            str(ReportRequest("summary", week="2026-W37", site=room.site).choose_path())
            for room in d.rooms
        ],
    }
)


@pytest.mark.parametrize("output", OUTPUTS)
def test_no_output_calls_two_rooms_the_same(district, output):
    found = OUTPUTS[output](district)
    assert len(found) == 2
    assert found[0] != found[1]
    if output != "file":
        assert "North High" in found[0]
        assert "South High" in found[1]


def test_json_has_the_id_of_the_school(district):
    notices = district.notices()
    assert [build_json_fields(notices[f"{site}-ap"])["site"] for site in ("north", "south")] == [
        "north",
        "south",
    ]


def test_each_school_reads_its_own_time_and_only_its_own_incident(district):
    assert titles(district) == [
        "Boys, floor 2, Main, North High: Vaping likely since 10:04 AM",
        "Boys, floor 2, Main, South High: Vaping likely since 8:04 AM",
    ]


async def test_a_school_that_leaves_keeps_its_history_and_the_service_starts(tmp_path):
    both = tomllib.loads(TWO) | {"broker": {"port": free_port()}, "web": {"port": free_port()}}
    start = time.time() - 300
    async with running(parse(both, base=tmp_path)) as service:
        await store(service, readings_of_puff("south-1", start=start))
        await until(lambda: service.detection.counts.alerts == 1)
    left = both | {
        key: [entry for entry in both[key] if "south" not in str(entry)]
        for key in ("site", "room", "sensor", "staff")
    }
    config = parse(left, base=tmp_path)
    async with running(config) as service:
        now = time.time()
        await store(
            service, [Reading(f"{site}-1", now, now, {"pm25": 4.0}) for site in ("south", "north")]
        )
        await until(lambda: service.detection.counts.readings == 2)
        with state_database(service) as db:
            (row,) = read.read_incidents(db, config.build_registry(), start, now)
    assert (row.room, row.sensor) == ("south-boys", "south-1")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("timeline", "--room", "nroth-boys"), "north-boys"),
        (("timeline", "--kind", "smok"), "smoke"),
        (("staff", "test", "north-app"), "north-ap"),
        (("staff", "password", "south-a"), "south-ap"),
        (("staff", "remove-second-factor", "nort-ap"), "north-ap"),
        (("export", "readings", "--from", "0", "--sensor", "north_1"), "north-1"),
        (("report", "summary", "--site", "North High", "--month", "2026-09"), "north"),
        (("report", "summary", "--building", "Mian", "--month", "2026-09"), "Main"),
        (("decode", "--topic", "a/b", "--decoder", "tasmotta", __file__), "tasmota"),
    ],
)
def test_a_mistyped_id_or_a_name_suggests_the_id(tmp_path, arguments, meant):
    path = tmp_path / "plumewatch.toml"
    path.write_text(TWO)
    (tmp_path / "plumewatch-data").mkdir()
    with closing(sqlite.connect(tmp_path / "plumewatch-data/state.db")) as db:
        prepare_state(db)
    ran = plumewatch(*arguments, "--config", path)
    assert ran.code == 2, ran
    assert f"; did you mean '{meant}'?" in ran.err
