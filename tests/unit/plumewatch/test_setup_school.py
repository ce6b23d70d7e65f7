"""Test `plumewatch setup` with all messages of the shipped simulated school."""

from __future__ import annotations

import base64
import json
import re
import stat
import tomllib
from contextlib import closing
from datetime import datetime
from unittest import mock
from zoneinfo import ZoneInfo

import pytest

from ingest.intake import Intake, OutcomeKind
from ingest.validation import Message
from plumewatch.check.machine import check_clock
from plumewatch.cli.setup.discovery import DiscoveredSensor
from plumewatch.cli.setup.site import _discover
from plumewatch.cli.setup.site_files import STARTER, create_secret_files
from plumewatch.config.ingest_settings import build_intake_config
from plumewatch.config.load import load
from sensor_sim.school import School
from sensor_sim.simulation_run import generate_messages
from storage.journal import Journal
from tests.support.broker import free_port
from tests.support.command import plumewatch

MONDAY = 1_789_344_000.0


@pytest.fixture(scope="module")
def received():
    """Return twenty minutes of messages from the small school."""
    published = generate_messages(
        School.make_small(), seed=1, start=MONDAY + 36_000, duration_s=1_300.0
    )
    return [Message(m.topic, m.payload, m.sent) for m in published]


@pytest.fixture
def setup(tmp_path, received):
    answers = tmp_path / "answers.toml"
    answers.write_text(
        f'site = "Small"\nbroker = "127.0.0.1:{free_port()}"\nlisten_s = 600\ntest_notice = false\n'
    )

    def run(messages=received):
        with mock.patch(
            "plumewatch.cli.setup.site._listen", side_effect=lambda *_: messages
        ) as listened:
            ran = plumewatch("setup", "--folder", tmp_path / "site", "--answers", answers)
        return ran, listened.called

    return run


def test_every_sensor_of_the_school_has_its_interval(setup, tmp_path):
    ran, _ = setup()
    config = load(tmp_path / "site/plumewatch.toml")
    intervals = sorted(sensor.interval_s for sensor in config.sensor)
    expected = sorted(device.interval_s for device in School.make_small().devices)
    assert intervals[:-1] == pytest.approx(expected[:-1], rel=0.1), ran.out
    assert 60 < intervals[-1] <= expected[-1]  # it also reports changes
    assert config.broker.max_queued_messages < 1_000_000


@pytest.mark.parametrize(
    ("times", "interval"),
    [
        ((), None),
        ((5.0, 5.0), None),
        ((5.0, 5.00001, 5.00002), None),
        ((0.0, 1.0, 2.0, 3.0), 1.0),
        ((0.0, 0.00001, 0.2, 30.0, 30.00001, 60.0, 60.2), 30.0),
        ((0.0, 1.0, 2.0, 60.0, 61.0, 62.0), 1.0),
        ((0.0, 0.6, 1.1, 1.7), 0.6),
    ],
)
def test_the_interval_of_reports_that_come_in_bursts(times, interval):
    assert DiscoveredSensor("s", "d", times=list(times)).interval_s == (
        None if interval is None else pytest.approx(interval, rel=0.05)
    )


def test_nothing_is_written_if_the_configuration_would_be_wrong(setup, tmp_path):
    with mock.patch("plumewatch.cli.setup.rooms.make_id", return_value="not an id"):
        ran, _ = setup()
    assert ran.code == 2
    assert "room" in ran.err
    assert not [p for p in (tmp_path / "site").rglob("*") if p.is_file()]


def test_a_set_up_that_was_interrupted_while_writing_goes_on(setup, tmp_path):
    def full(path, *_):
        if path.name == "mosquitto.conf.setup":
            raise OSError(28, "No space left on device", str(path))
        return mock.DEFAULT

    with mock.patch("plumewatch.cli.setup.site_files._write_new", side_effect=full):
        assert setup()[0].code != 0
    assert not (tmp_path / "site/plumewatch.toml").exists()
    setup()
    assert load(tmp_path / "site/plumewatch.toml").site == "Small"
    assert not [*tmp_path.rglob("*.setup")]


@pytest.mark.parametrize("name", ["broker/mosquitto.conf", "secrets/broker-password"])
def test_setup_replaces_nothing_that_a_person_made(setup, tmp_path, name):
    path = tmp_path / "site" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    plumewatch("init", tmp_path / "site/plumewatch.toml")
    ran, has_listened = setup()
    assert (ran.code, has_listened) == (2, False)
    assert f"{name} in {tmp_path / 'site'}: setup writes these files" in ran.err
    assert path.read_text() == "mine"
    assert (tmp_path / "site/plumewatch.toml").read_text() == STARTER
    assert len([file for file in (tmp_path / "site").rglob("*") if file.is_file()]) == 2


def test_the_service_can_read_secrets_that_root_writes_in_the_folder_of_the_script(setup, tmp_path):
    folder = tmp_path / "site/secrets"
    folder.mkdir(parents=True)
    folder.chmod(0o2750)  # as in deploy/install.sh
    setup()
    with create_secret_files([folder / "influx-reader"]):
        pass
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {
        "broker-password": 0o640,
        "influx-reader": 0o640,
        "device-passwords.csv": 0o600,
    }


def read_all(config, sent):
    intake = Intake(build_intake_config(config, dedupe_window=8))
    return [reading for message in sent for reading in intake.on_message(message).readings]


def of_sensor(name, received=MONDAY):
    return [
        Message(f"plumewatch/v1/{name}/reading", b'{"pm25":4.2}', received + second)
        for second in range(0, 60, 6)
    ]


def test_a_sensor_that_cannot_detect_vaping_is_named(setup, tmp_path):
    """The sensor's payload has only unknown names, so no particles and no time are read.

    A device with its own vape alarm can still alert.
    """
    alarm = {"events": ["vendor_vape"], "time": MONDAY}
    payloads = {
        "airbox/3F21/state": {"seen": 5000, "x1": 4.1, "x25": 6.3, "gas": {"tvoc_ppb": 143}},
        "gw/node9/stat": {"rssi": -61, "battery": 80},
        "gw/hall-8/x": {"SHT3X": {"Temperature": 21.5}},
        "plumewatch/v1/b7/reading": {"pm25": 4.2},
        "plumewatch/v1/b8/reading": {"pm25": "x", "rh": 41, "time": MONDAY},
        "plumewatch/v1/b9/reading": alarm,
        "plumewatch/v1/b10/reading": alarm | {"tvoc_ppb": 90},
    }
    ran, _ = setup([Message(t, json.dumps(p).encode(), MONDAY) for t, p in payloads.items()])
    found = ran.out
    head = next(line for line in found.splitlines() if line.startswith("Sensor"))
    at, to = head.index("Lacks"), head.index("Building")
    rows = [line for line in found.splitlines() if re.match("3F21 |b[0-9]+ ", line)]
    assert {row.split()[0]: row[at:to].strip() for row in rows} == {
        "3F21": "particles, time",
        "b7": "gas or PM1, time",
        "b8": "gas or PM1",
        "b9": "particles",
        "b10": "particles",
    }
    assert "cannot detect vaping, because no particles are read: 3F21 (" in found
    assert "only the device's own vape alarm raises alerts: b9, b10\n" in found
    assert "so most puffs are reported only as possible vaping: b7, b8 (" in found
    assert "warn  mappings: airbox-3f21-state: no particles are read" in found
    assert "airbox-3f21-state: no time is read" in found
    assert "node9 (gw/node9/stat): skipped, because it has neither particles nor VOC" in found
    config = load(tmp_path / "site/plumewatch.toml")
    assert ([m.name for m in config.mapping], config.route) == (["airbox-3f21-state"], [])


def test_setup_names_the_unknown_keys_of_native_readings(setup):
    payloads = {"a": b'{"pm1":3,"pm2_5":4}', "b": b'{"temp":21,"PM10":4}', "c": b'{"pm25":4,"x":1}'}
    ran, _ = setup(
        [Message(f"plumewatch/v1/{name}/reading", p, MONDAY) for name, p in payloads.items()]
    )
    assert "\na: unknown key pm2_5: use pm25\nb: unknown key PM10: use pm10\n" in ran.out
    assert "c: unknown" not in ran.out


def test_setup_says_each_unit_that_it_guesses(setup, tmp_path):
    values = [
        b'{"pm25": 0.0%d, "temp": 71.5, "co2_ppm": 600, "TVOC": 9, "x": 1, "rssi": -6}' % n
        for n in range(10, 25)
    ]
    ran, _ = setup([Message("lab/gym/state", v, MONDAY + k) for k, v in enumerate(values)])
    assert (
        "\nlab/{id}/state: pm25: PM2.5 always below 0.05 µg/m³ and varying: looks like mg/m³;"
        in (ran.out)
    )
    assert 'written as unit = "mg/m3"' in ran.out
    assert (
        'temp: temperature always above 45 °C: looks like °F; written as unit = "degF"' in ran.out
    )
    assert "co2: " not in ran.out  # its name contains the unit
    assert "rssi in" not in ran.out  # it has only one unit
    assert '\nlab/{id}/state: not read, because VOC has no unit there: ["TVOC"]; add a' in ran.out
    assert '\nlab/{id}/state: left out, because no name is a known quantity: ["x"]' in ran.out
    assert {field.unit for field in load(tmp_path / "site/plumewatch.toml").mapping[0].field} == {
        *("mg/m3", "degF", "ppm", "dBm")
    }


def test_setup_reads_each_device_in_its_own_units_and_by_its_own_keys(setup, tmp_path):
    """Devices whose topics look alike share a mapping only if they also send the same."""
    payloads = {"a1": '{"pm25": 0.006%d, "humidity": 41}', "a2": '{"pm25": 0.004%d}'}
    payloads["b2"] = '{"pm25": 6.%d, "pm1": 4, "rh": 41, "co2": 600}'
    payloads |= {"c3": '{"pm25": 5.%d, "humidity": 41}', "b3": payloads["b2"]}
    sent = [
        Message(f"diy/{name}/data", (payload % n).encode(), MONDAY + 5 * n + k / 10)
        for n in range(1, 4)
        for k, (name, payload) in enumerate(payloads.items())
    ]
    ran, _ = setup(sent)
    config = load(tmp_path / "site/plumewatch.toml")
    assert "\ndiy/b2/data: units are guessed" in ran.out, ran.out
    assert config.mapping[0].topic == "diy/{id}/data"
    readings = read_all(config, sent[:5])
    of_b = {"pm25": 6.1, "pm1": 4, "rh": 41, "co2": 600}
    assert {reading.sensor: reading.values for reading in readings} == {
        "a1": {"pm25": 6.1, "rh": 41},
        "a2": {"pm25": 4.1},
        "b2": of_b,
        "b3": of_b,
        "c3": {"pm25": 5.1, "rh": 41},
    }


def test_setup_again_reads_a_new_device_in_its_own_units(setup, tmp_path):
    """A mapping that exists reads devices of its shape, except those that send something else."""

    def send(**payloads):
        return [
            Message(f"diy/{name}/data", (payload % n).encode(), MONDAY + 5 * n)
            for n in range(1, 4)
            for name, payload in payloads.items()
        ]

    setup(send(a1='{"pm25": "7.%d ug/m3", "hum": 41}'))
    path = tmp_path / "site/plumewatch.toml"
    path.write_text(path.read_text().replace('quantity = "rh"', 'quantity = "rh"\nrange = [0, 99]'))
    more = {"a2": '{"pm25": "0.004%d mg/m3", "hum": 41}', "a3": '{"pm25": "5.%d ug/m3", "hum": 40}'}
    more["a4"] = '{"pm25": "6.%d ug/m3", "pm1": 3, "hum": 40}'
    again, _ = setup(send(**more))
    shared = "a3: read by the existing mapping:diy-a1-data, with its units: pm25 in ug/m3, rh in %"
    assert f"\n{shared}\n" in again.out
    config = load(path)
    assert {mapping.topic for mapping in config.mapping} == {
        *("diy/{id}/data", "diy/a2/data", "diy/a4/data")
    }
    readings = read_all(config, send(**more)[:3])
    assert [reading.values["pm25"] for reading in readings] == [4.1, 5.1, 6.1]
    assert readings[2].values["pm1"] == 3


def test_setup_again_leaves_a_topic_to_a_mapping_that_reads_more(setup, tmp_path):
    payload = '{"pm25": %d, "cnt": 90, "pm10": 5, "epoch": 5}'
    of_1, of_2 = (
        [Message(f"plant/pms-{k}/d", (payload % n).encode(), MONDAY + 5 * n) for n in range(1, 4)]
        for k in (1, 2)
    )
    setup(of_1)
    path = tmp_path / "site/plumewatch.toml"
    count = r'quantity = "n03"\nunit = "/cm3"\npath = ["cnt"]\n'
    text = path.read_text().replace("pm10 = 5.0", "n03 = 90.0")
    path.write_text(re.sub(r'quantity = "pm10".*\n.*\n.*\n', count, text))
    before = load(path).mapping
    again, _ = setup([*of_1, *of_2])
    config = load(path)
    assert config.mapping == before, again.out
    assert [sensor.id for sensor in config.sensor] == ["pms-1", "pms-2"]


def test_a_person_is_asked_for_columns_until_they_fit(monkeypatch, capsys):
    answers = iter(["time,pm25,humidty", "time,pm25,humidity", ""])
    monkeypatch.setattr("plumewatch.cli.setup.site.ask_person", lambda _text: next(answers))
    sent = [Message(f"lab/u{n}/csv", b"1789344000;7.5;41", MONDAY) for n in (1, 2)]
    sent += [Message("lns/x1/up", b"030032007b660852", MONDAY), Message("a/b1/c", b"7", MONDAY)]
    found = _discover(sent, ZoneInfo("UTC"), {}, asks=True)
    assert [*found.sensors] == ["u1", "u2"]
    assert [*answers] == []
    assert "lab/+/csv: 'humidty' is not a known quantity; did you mean" in capsys.readouterr().out
    assert _discover(sent, ZoneInfo("UTC"), {}, asks=False).sensors == {}


def of_words(words):
    """Return three rounds from devices in two rooms that publish one bare value per topic."""
    return [
        Message(f"bms/f2/{room}/{word}", value.encode(), MONDAY + 5 * n + k / 10)
        for n in range(3)
        for room in ("r214", "r216")
        for k, (word, value) in enumerate(words.items())
    ]


def test_setup_reads_one_quantity_a_topic_whatever_its_last_word(setup, tmp_path):
    """Known quantities become readings; others are listed, then dropped without a dead letter."""
    words = {"dust25": "7.1", "relhum": "41", "airtemp": "21.5", "tvoc_idx": "97"}
    words |= {"wifi_rssi": "-61", "door": "1", "motion": "none", "fanspeed": "1200"}
    words |= {"aerosol": "4"}
    answers = tmp_path / "answers.toml"
    answers.write_text(answers.read_text() + 'columns = { "bms/+/+/aerosol" = "pm1" }\n')
    ran, _ = setup(of_words(words))
    config = load(tmp_path / "site/plumewatch.toml")
    assert [sensor.id for sensor in config.sensor] == ["r214", "r216"], ran.out
    assert "bms/f2/+/door, bms/f2/+/fanspeed, bms/f2/+/motion: not read" in ran.out
    intake = Intake(build_intake_config(config, dedupe_window=8))
    later = Message("bms/f2/r214/dust25", b"8", MONDAY + 60)
    outcomes = [intake.on_message(message) for message in (*of_words(words), later)]
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.ACCEPTED}
    assert intake.counters[OutcomeKind.ACCEPTED, "", "ignore"] == 18
    readings = [reading for outcome in outcomes for reading in outcome.readings]
    expected = {"pm25": 7.1, "pm1": 4, "rh": 41, "temp": 21.5, "voc_index": 97, "rssi": -61}
    assert [reading.values for reading in readings] == 6 * [expected]


@pytest.mark.parametrize(
    ("topics", "sensors"),
    [
        (("school/b1/girls/{}", "school/b1/boys/{}"), ["boys", "girls"]),
        (("school/b1/gym/{}", "school/b2/girls/{}", "school/b1/girls/{}"), None),
        (("s/b1/f1/girls/{}", "s/b1/f2/girls/{}", "s/b2/f1/girls/{}"), None),
        (("school/b1/girls/state", "school/b1/boys/state"), ["b1:boys", "b1:girls"]),
        (("site/north/girls-restroom/{}", "site/north/boys-restroom/{}"), None),
    ],
)
def test_setup_keeps_devices_apart_whose_topics_share_a_level(setup, tmp_path, topics, sensors):
    """A sensor is named by the level above the quantity, or by all levels that tell it apart."""
    words = {"pm25": "%d.%d", "relhum": "4%d.%d", "": '{"pm25": %d.%d}'}
    sent = [
        Message(topic.format(word), (value % (k, n)).encode(), MONDAY + 5 * n + k / 10)
        for n in range(3)
        for k, topic in enumerate(topics)
        for word, value in words.items()
        if bool(word) == ("{}" in topic)
    ]
    ran, _ = setup(sent)
    config = load(tmp_path / "site/plumewatch.toml")
    found = sorted(sensor.id for sensor in config.sensor)
    assert len(found) == len(topics), ran.out
    assert sensors in (None, found)
    intake = Intake(build_intake_config(config, dedupe_window=8))
    readings = [reading for message in sent for reading in intake.on_message(message).readings]
    readings += intake.on_time(MONDAY + 60)
    values = {(r.sensor, int(r.values["pm25"])) for r in readings}
    assert len(values) == len(topics)
    assert {sensor for sensor, _ in values} == {*found}


def test_setup_reads_frames_and_lines_by_the_columns_of_its_answers(setup, tmp_path):
    answers = tmp_path / "answers.toml"
    layout = "type:u8=3, pm1:u16/10, pm25:u16/10, temp:i16le/100, rh:u8/2, tvoc_ppb:u16, u32"
    columns = f'"lns/+/up" = "{layout}", "lab/+" = "time,pm25,rh", "bms/+/raw" = "pm25:u16"'
    answers.write_text(answers.read_text() + f"columns = {{ {columns} }}\n")
    frame = bytes.fromhex("030032007b6608520064") + bytes(4)
    payloads = {"lns/a81758ff/up": base64.b64encode(frame), "lab/aq31": b"1789344000;7.5;41"}
    payloads |= {"bms/r214/pm25": b"7", "bms/r214/raw": b"none", "bms/r214/door": b"open"}
    ran, _ = setup([Message(topic, payload, MONDAY) for topic, payload in payloads.items()])
    config = load(tmp_path / "site/plumewatch.toml")
    assert [sensor.id for sensor in config.sensor] == ["a81758ff", "aq31", "r214"], ran.out
    assert "\nnothing reads bms/r214/raw: " in ran.out
    assert [route.topic for route in config.route] == ["bms/+/door"]
    assert "lns/{id}/up: units are guessed; compare them with the data sheet: pm1 in" in ran.out
    examples = {mapping.example[0].sensor: mapping.example[0].values for mapping in config.mapping}
    assert examples == {
        "a81758ff": {"pm1": 5.0, "pm25": 12.3, "temp": 21.5, "rh": 41.0, "tvoc_ppb": 100},
        "aq31": {"pm25": 7.5, "rh": 41.0},
        "r214": {"pm25": 7.0},
    }


ZONES = "America/New_York"


@pytest.mark.parametrize(
    ("school", "sends", "mark", "said"),
    [
        ("UTC", ZONES, "", "4 h behind"),
        (ZONES, "UTC", "", "4 h ahead"),
        (ZONES, ZONES, "Z", "4 h behind"),
        (ZONES, ZONES, "", ""),
        ("UTC", "UTC", "Z", ""),
    ],
)
def test_setup_and_check_notice_a_clock_in_another_time_zone(
    setup, tmp_path, school, sends, mark, said
):
    answers = tmp_path / "answers.toml"
    answers.write_text(answers.read_text() + f'timezone = "{school}"\n')
    sent = []
    for second in range(0, 60, 6):
        at = datetime.fromtimestamp(MONDAY + second, ZoneInfo(sends)).replace(tzinfo=None)
        payload = f'{{"pm25": {second % 5}, "time": "{at.isoformat()}{mark}"}}'
        sent.append(Message("lab/r214/state", payload.encode(), MONDAY + second))
    ran, _ = setup(sent)
    config = load(tmp_path / "site/plumewatch.toml")
    assert (f"r214: stamps are {said}" in ran.out) == bool(said)
    with closing(Journal(config.data_dir / "journal.db")) as journal:
        journal.open()
        journal.commit(read_all(config, sent))
    found = [f for f in check_clock(config, MONDAY + 60, lambda: None) if f.part == "clock"]
    assert any("4 h" in f.sentence for f in found) == bool(said)


def test_setup_again_adds_the_sensors_that_are_new(setup, tmp_path):
    setup(of_sensor("n2-boys-1"))
    path = tmp_path / "site/plumewatch.toml"
    path.write_text("# mine\n" + path.read_text().replace("Boys' restroom", "Boys 214"))
    passwords = (tmp_path / "site/secrets/broker-password").read_bytes()
    unknown = [
        Message("air/gym/state", b'{"pm2_5_ugm3": 4.2, "hum": %d}' % n, MONDAY + n)
        for n in range(5)
    ]
    more = ("N2-boys-1", "n2-boys-2", "s1-girls")
    again, _ = setup([*(m for name in more for m in of_sensor(name)), *unknown])
    assert (again.code, again.err) == (0, "")
    assert f"added 3 sensors to {path}" in again.out
    config = load(path)
    assert path.read_text().startswith("# mine\n")
    intervals = {sensor.id: sensor.interval_s for sensor in config.sensor}
    assert intervals == {"n2-boys-1": 6, "n2-boys-2": 6, "s1-girls": 6, "gym": 1}
    registry = config.build_registry()
    assert registry.find_room("n2-boys-1").name == "Boys 214"
    assert registry.find_room("n2-boys-2").full_name == "Boys' restroom, 2nd floor, North"
    assert len(config.mapping) == 1
    assert (tmp_path / "site/secrets/broker-password").read_bytes() == passwords
    answers = tmp_path / "answers.toml"
    answers.write_text(answers.read_text().replace("site =", "# site ="))
    strange = [Message(f"gw/x{n % 2}/up{n // 2}", b'{"flow": 1}', MONDAY) for n in range(12)]
    third, _ = setup([*of_sensor("n2-boys-2"), *strange])
    for n in range(6):
        assert f"\nnothing reads gw/+/up{n} (2 topics): no name is a" in third.out
    assert third.out.endswith(f"no sensor to add to {path} was found in 600 s\n")


def test_setup_again_prints_lines_for_the_table_of_a_district(setup, tmp_path):
    folder = tmp_path / "site"
    plumewatch("init", folder.with_name("p.toml"), "--district", "--site", "Lincoln")
    folder.mkdir()
    (folder / "plumewatch.toml").write_text((tmp_path / "p.toml").read_text())
    (folder / "schools.csv").write_text("site,name\nn,North\ns,South\n")
    (folder / "sensors.csv").write_text("site,sensor,room\nn,a,Boys\n")
    ran, _ = setup([*of_sensor("a"), *of_sensor("n2-girls")])
    assert ran.code == 0
    assert ran.out.endswith(",n2-girls,North,2nd floor,Girls' restroom\n")


@pytest.mark.parametrize("site", ['The "Hill"', """The "Hill's" #1"""])
def test_setup_replaces_what_init_wrote_and_keeps_its_values(setup, tmp_path, site):
    path = tmp_path / "site/plumewatch.toml"
    path.parent.mkdir()
    given = ("--site", site, "--timezone", "America/Chicago", "--public-url", "https://p.example")
    plumewatch("init", path, *given)
    data = f'data_dir = "{tmp_path}/data" #'  # as deploy/install.sh edits it
    path.write_text(re.sub("data_dir = .* #", data, path.read_text()))
    setup(of_sensor("n2-boys-1"))
    config = load(path)
    assert (config.site, config.timezone) == ("Small", "America/Chicago")
    assert config.web.public_url == "https://p.example"
    assert config.data_dir == tmp_path / "data"
    assert [sensor.id for sensor in config.sensor] == ["n2-boys-1"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("port = 8420", "port = 8421"),
        ("port = 1883", "port = 18830"),
        ('name = "Facilities"', 'name = "Fay"'),
        ("# By default", "# Mine"),
        ("\n[web]", "\n[alerts]\ncooldown_s = 600\n\n[web]"),
    ],
)
def test_setup_only_adds_to_what_was_edited_after_init(setup, tmp_path, old, new):
    path = tmp_path / "site/plumewatch.toml"
    path.parent.mkdir()
    assert old in STARTER
    path.write_text(STARTER.replace(old, new))
    before = tomllib.loads(path.read_text())
    ran, _ = setup([*of_sensor("n2-boys-1"), *of_sensor("s1-girls")])
    after = tomllib.loads(path.read_text())
    assert ran.code == 0, ran
    assert "of the answers, only listen_s, rooms and columns are used" in ran.out
    added = {key: after.pop(key)[len(before.pop(key)) :] for key in ("room", "sensor")}
    assert after == before
    assert [sensor["id"] for sensor in added["sensor"]] == ["s1-girls"]
    assert not (path.parent / "secrets").exists()
