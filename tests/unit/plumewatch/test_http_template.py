"""What is pasted into a HALO is what the decoder reads once the device replaced its keywords."""

import re

import pytest
from typer.testing import CliRunner

from ingest.decoding import Context
from ingest.message import Message
from ingest.routes import decode_message
from plumewatch.cli.main import app

WORDS = {
    "NAME": "Bath",
    "MAC": "1C:82:59:00:00:01",
    "EID": "Vape",
    "SOURCE": "VAPE1",
    "VAL": "107.3",
    "DATE": "2026-9-21",
    "TIME": "14:13:20",
}


def template(*arguments):
    return CliRunner().invoke(app, ["http-template", *arguments])


def test_halo():
    output = template("halo", "--url", "https://door.example.org:8421/")
    assert output.exit_code == 0
    fields = dict(line.split("\t") for line in output.stdout.splitlines())
    events = {}
    for name in ("Set String", "Reset String", "Heartbeat String"):
        head, _, body = fields[name].partition("?[JSONBODY]")
        assert head == "POST:https://%USER%:%PSWD%@door.example.org:8421/ingest/halo"
        rendered = re.sub(r"%([A-Z]+)%", lambda m: WORDS[m[1]], body)
        rendered = re.sub(r"%SENSOR:[^%]+%", "12", rendered)
        (reading,) = decode_message(
            Message("", rendered.encode(), 1_790_000_010.0), Context(), "halo"
        )
        assert (reading.sensor, reading.time) == (WORDS["MAC"], 1_790_000_000.0)
        events[name] = reading.events
        assert ("pm25" in reading.values) == (name == "Heartbeat String")
    assert events == {
        "Set String": ("vendor_vape",),
        "Reset String": ("online",),
        "Heartbeat String": ("online",),
    }


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["tasmota"], "no template for 'tasmota'; there are: halo"),
        (["halo", "--url", "ftp://x"], "must be http:// or https://"),
        (["halo", "--url", "http://user:token@x"], "and no user"),
        (["halo", "--url", "http://"], "with a host"),
    ],
)
def test_refused(arguments, why):
    output = template(*arguments)
    assert output.exit_code == 2
    assert why in output.stderr
    assert output.stdout == ""
