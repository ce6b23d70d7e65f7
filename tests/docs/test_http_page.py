"""Test that the program accepts and prints what docs/http.md shows."""

import re
import tomllib
from pathlib import Path

from ingest.decoding import Context
from ingest.intake import decode_message
from ingest.validation import Message
from plumewatch.config.load import parse
from tests.support.halo import WORDS, message, templates

PAGE = (Path(__file__).parents[2] / "docs/http.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_configuration_is_valid(tmp_path):
    text = "\n".join(blocks("toml"))
    room = {"id": "N2-boys", "name": "Boys' restroom", "building": "North"}
    tree = {"site": "S", "timezone": "UTC", "room": [room]} | tomllib.loads(text)
    config = parse(tree, base=tmp_path)
    assert config.ingest.source[0].name == "halo"
    assert config.sensor[0].aliases == ["1C:82:59:00:00:01"]
    assert config.ingest.poll[0].sensor == config.sensor[0].id


def test_what_a_halo_makes_of_the_templates_is_read():
    events = {}
    for name, (url, _) in templates().items():
        assert url == "https://%USER%:%PSWD%@plumewatch.example.org:8421/ingest/halo"
        sent = Message("", message(name), 1_790_000_010.0)
        (reading,) = decode_message(sent, Context(), "halo")
        assert (reading.sensor, reading.time) == (WORDS["MAC"], 1_790_000_000.0)
        events[name] = reading.events
        assert ("pm25" in reading.values) == (name == "Heartbeat String")
    assert events == {
        "Set String": ("vendor_vape",),
        "Reset String": ("online",),
        "Heartbeat String": ("online",),
    }


def test_the_message_is_read():
    body = re.search(r"-d '(.*?)'", PAGE)[1].encode()
    message = Message("plumewatch/v1/n2-boys-1/reading", body, 1_790_000_000.0)
    (reading,) = decode_message(message, Context(), "native")
    assert reading.values == {"pm25": 7.1, "rh": 41.0}
    assert reading.flags == ()
