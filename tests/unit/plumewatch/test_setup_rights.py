"""Test the permissions that `plumewatch setup` gives device accounts at the broker."""

import json
from zoneinfo import ZoneInfo

import pytest

from ingest.topics import matches_topic
from ingest.validation import Message
from plumewatch.cli.setup.broker_files import build_acl, name_accounts
from plumewatch.cli.setup.discovery import discover


def rights(*sent):
    """Return the filters that each account can write, given received topics and payloads."""
    messages = [
        Message(topic, content if isinstance(content, bytes) else json.dumps(content).encode(), n)
        for n, (topic, content) in enumerate(sent)
    ]
    sensors = discover(messages, ZoneInfo("UTC")).sensors.values()
    text = build_acl(sensors, name_accounts((s.id for s in sensors), "plumewatch"), "plumewatch")
    found = {}
    for line in text.partition("# Every device")[2].splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "user":
            own = found[rest] = []
        elif line.startswith("topic write"):
            own.append(line.removeprefix("topic write "))
    return found


TASMOTA = {"SEN5X": {"PM2.5": 4.0}}
NATIVE = {"time": 1_790_000_000, "pm25": 4.0}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(
            [("tele/b2/SENSOR", TASMOTA), ("tele/b2/LWT", b"Online"), ("stat/b2/RESULT", {})],
            {"b2": ["stat/b2/#", "tele/b2/#"]},
            id="topics that nobody reads, named where its own are",
        ),
        pytest.param(
            [("plumewatch/v1/tele/reading", NATIVE), ("tele/b3/SENSOR", TASMOTA)],
            {
                "tele": ["plumewatch/v1/tele/reading", "plumewatch/v1/tele/status"],
                "b3": ["tele/b3/#"],
            },
            id="a device called like a level of another format",
        ),
        pytest.param(
            [
                ("tele/b2/SENSOR", TASMOTA),
                ("tele/b2/n5/SENSOR", TASMOTA),
                ("b2/sensor/pm_2_5/state", b"4"),
            ],
            {"b2": ["b2/#", "tele/b2/SENSOR"], "b2-n5": ["tele/b2/n5/SENSOR"]},
            id="a device called like the building of another",
        ),
        pytest.param(
            [
                ("b2/sensor/pm_2_5/state", b"4"),
                ("b2/sensor/sequence/state", b"1"),
                ("b2/status", b"online"),
                ("homeassistant/sensor/b2/pm_2_5/config", {"stat_t": "b2/sensor/pm_2_5/state"}),
                ("n5/sensor/b2/state", b"4"),
                ("n5/sensor/pm_2_5/state", b"4"),
                ("homeassistant/sensor/n5/b2/config", {"stat_t": "n5/sensor/b2/state"}),
            ],
            {
                "b2": ["b2/#", "homeassistant/sensor/b2/#"],
                "n5": ["homeassistant/sensor/n5/#", "n5/#"],
            },
            id="an entity called like another device",
        ),
        pytest.param(
            [("tele/b2/SENSOR", TASMOTA), ("tele/b-2/SENSOR", TASMOTA)],
            {"b2": ["tele/b2/#"], "b-2": ["tele/b-2/#"]},
            id="names that differ in a hyphen",
        ),
    ],
)
def test_a_device_may_write_where_it_publishes_and_nowhere_else(sent, expected):
    assert rights(*sent) == expected


def test_no_account_may_write_the_topic_of_another_device():
    names = ["tele", "b2", "sensor", "v1", "reading", "state", "plumewatch"]
    sent = [(f"plumewatch/v1/{name}/reading", NATIVE) for name in names]
    sent += [(f"tele/{name}/SENSOR", TASMOTA) for name in ("n5", "north/b2", "north/sensor")]
    sent += [(f"{name}/sensor/pm_2_5/state", b"4") for name in ("n6", "n7")]
    found = rights(*sent)
    for topic, _ in sent:
        may = [who for who, own in found.items() if any(matches_topic(f, topic) for f in own)]
        assert len(may) == 1, topic
