"""Several processes of one school: exactly one accepts each reading."""

import json

import pytest

from ingest.intake import OTHER_SHARD, Intake
from ingest.message import Message
from plumewatch.config.faults import ConfigError
from plumewatch.config.ingest_settings import intake_config, polled_sensors
from plumewatch.config.load import VARIABLE, ProcessShard, ShardError, load_shard
from plumewatch.service.app import Service
from storage.registry import shard_of

SENSORS = {"n-1": "North", "n-2": "North", "s-1": "South", "g-1": "Gym", "a-1": "Annex"}
AT = 1_789_387_200.0


@pytest.fixture
def school(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    lines = ['site = "Lincoln High"', 'timezone = "America/New_York"']
    for sensor, building in SENSORS.items():
        lines += [
            "[[room]]",
            f'id = "r-{sensor}"',
            f'name = "{sensor}"',
            f'building = "{building}"',
        ]
        lines += ["[[sensor]]", f'id = "{sensor}"', f'room = "r-{sensor}"']
        lines += [f'aliases = ["Tasmota-{sensor}"]']
        lines += ["[[sensor]]", f'id = "{sensor}p"', f'room = "r-{sensor}"', 'decoder = "halo"']
    for sensor in SENSORS:
        lines += ["[[ingest.poll]]", f'sensor = "{sensor}p"', 'url = "http://127.0.0.1:9/api"']
    path = tmp_path / "plumewatch.toml"
    path.write_text("\n".join(lines))

    def part(shard):
        monkeypatch.setenv(VARIABLE, shard)
        return load_shard(path)

    return part


def test_each_sensor_belongs_to_the_process_of_its_building(school):
    parts = [school("0/2"), school("1/2")]
    owned = [{s.id for s in part.sensor if s.id in SENSORS} for part in parts]
    assert owned[0] | owned[1] == set(SENSORS)
    assert not owned[0] & owned[1]
    for index, names in enumerate(owned):
        assert all(shard_of(f"Lincoln High/{SENSORS[n]}", 2) == index for n in names)
        assert {room.id for room in parts[index].room} == {f"r-{n}" for n in names}
        assert {polled.sensor for polled in polled_sensors(parts[index])} == {
            f"{n}p" for n in names
        }
        assert {n for n in parts[index].other_shards if n in SENSORS} == set(SENSORS) - names
    assert [p.data_dir.name for p in parts] == ["shard-0-of-2", "shard-1-of-2"]
    assert len({(p.broker.client_id, p.web.port, p.ingest.http.port) for p in parts}) == 2
    assert [p.accepts_unregistered for p in parts] == [True, False]
    assert all(
        Service(p).resources.registry.sensors.keys() & SENSORS.keys() == names
        for p, names in zip(parts, owned, strict=True)
    )


def messages():
    def native(topic_sensor, k, **more):
        body = {"time": AT + k, "pm25": 4 + k, **more}
        return f"plumewatch/v1/{topic_sensor}/reading", json.dumps(body).encode()

    made = [native(sensor, k) for k in range(3) for sensor in SENSORS]
    made += [native("Tasmota-g-1", 9), native("N-1", 10), native("unregistered", 11)]
    made += [("nobody/reads/this", b"1"), native("s-1", 0), ("plumewatch/v1/s-1/reading", b"{")]
    return [Message(topic, payload, AT + 20) for topic, payload in made]


def accepted(intake):
    outcomes = [intake.on_message(message) for message in messages()]
    readings = [r for outcome in outcomes for r in outcome.readings]
    return sorted((r.sensor, r.time, r.flags) for r in readings), outcomes


def test_together_they_accept_what_one_process_does(school):
    parts = [Intake(intake_config(school(f"{k}/3"), dedupe_window=256)) for k in range(3)]
    one = school("0/1")
    assert one.other_shards == frozenset()
    whole, outcomes = accepted(Intake(intake_config(one, dedupe_window=256)))
    found = [accepted(intake) for intake in parts]
    assert sorted(r for readings, _ in found for r in readings) == whole
    assert len(whole) == 3 * len(SENSORS) + 3
    each = zip(*(of for _, of in found), strict=True)
    refused = [sum(outcome.dead_letter is not None for outcome in of) for of in each]
    assert refused == [int(outcome.dead_letter is not None) for outcome in outcomes]
    for intake in parts:
        assert sum(intake.counters.values()) == len(messages())
        assert intake.counters["accepted", "", OTHER_SHARD] > 0
    assert [list(intake.quarantine) for intake in parts] == [["unregistered"], [], []]


def test_a_sensor_of_another_process_is_refused_by_http_ingest(school):
    part = school("0/2")
    foreign = min(n for n in part.other_shards if "Tasmota" not in n)
    intake = Intake(intake_config(part, dedupe_window=256))
    message = Message(f"plumewatch/v1/{foreign}/reading", b'{"time": 1789387200, "pm25": 4}', AT)
    outcome = intake.on_message(message, "native", lambda *_: True)
    assert outcome.dead_letter is not None
    assert "belongs to another process" in outcome.dead_letter.detail


@pytest.mark.parametrize("text", ["2/2", "-1/2", "1", "0/65", "a/b", "0/2/3"])
def test_invalid_shards_are_refused(school, text):
    with pytest.raises(ShardError, match="INDEX/COUNT"):
        ProcessShard.of(text)
    fault = f"--shard or {VARIABLE}: {text!r}: must be INDEX/COUNT"
    with pytest.raises(ConfigError, match=fault):
        school(text)


def test_a_process_without_a_building_does_not_start(school):
    empty = next(
        k
        for k in range(64)
        if all(shard_of(f"Lincoln High/{b}", 64) != k for b in SENSORS.values())
    )
    with pytest.raises(ConfigError, match=r"SHARD: \d+/64: none of the 4 buildings .* choose"):
        school(f"{empty}/64")


def test_a_school_of_a_district_is_never_split(tmp_path):
    lines = ['district = "Lincoln Schools"', 'timezone = "America/New_York"']
    lines += ['[[staff]]\nid = "ad"\nname = "A D"\nrole = "admin"\nsites = ["*"]']
    for k in range(12):
        lines += [f'[[site]]\nid = "s{k}"\nname = "School {k}"']
        for building in ("Main", "Annex"):
            lines += [f'[[room]]\nid = "{k}-{building}"\nname = "Boys"\nbuilding = "{building}"']
            lines += [f'site = "s{k}"\n[[sensor]]\nid = "{k}-{building}"']
            lines += [f'room = "{k}-{building}"']
    path = tmp_path / "plumewatch.toml"
    path.write_text("\n".join(lines))
    parts = [load_shard(path, f"{k}/2").registry() for k in range(2)]
    schools = [{room.site for room in part.rooms.values()} for part in parts]
    assert not schools[0] & schools[1]
    assert [len(part.sensors) for part in parts] == [2 * len(own) for own in schools]
    assert [set(part.sites) for part in parts] == schools  # no page counts 0 incidents elsewhere
    assert {room.names_site for part in parts for room in part.rooms.values()} == {True}
    assert sum(map(len, schools)) == 12
    assert min(map(len, schools)) > 0
    path.write_text("\n".join(lines).replace("School 7", "Lincoln"))
    renamed = load_shard(path, "0/2").registry()
    assert renamed.rooms.keys() == parts[0].rooms.keys()
    empty = next(k for k in range(64) if all(shard_of(f"s{n}", 64) != k for n in range(12)))
    with pytest.raises(ConfigError, match=r"none of the 12 schools .* choose another COUNT"):
        load_shard(path, f"{empty}/64")
