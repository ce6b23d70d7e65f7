"""Test that no decoder takes time proportional to the square of a payload's size.

The payloads are eight times the accepted size. Code that reads each byte once takes milliseconds.
Code that reads from each byte to the end does not finish in time.
"""

import json

import pytest

from ingest.decoders import DECODERS
from ingest.decoding import Context
from ingest.intake import Intake, IntakeConfig
from ingest.names import _look_up as look_up
from ingest.names import find_quantity
from ingest.validation import Limits, Message

NOW = 1_790_000_000.0
LIMITS = Limits(payload_bytes=8 * Limits().payload_bytes, json_members=100_000)
SIZE = LIMITS.payload_bytes


def fill(unit, head=b"", tail=b""):
    return head + unit * ((SIZE - len(head) - len(tail)) // len(unit)) + tail


WORST = {
    "escaped quotes": fill(b'\\"', b'"'),
    "escaped quotes in brackets": fill(b'\\"', b"[[[[[[[[[[[[[[[[[[[[[[[[[["),
    "quotes": fill(b'"'),
    "backslashes": fill(b"\\", b'{"a":"'),
    "commas": fill(b", ", b"{", b"}"),
    "commas before brackets": fill(b",]", b"["),
    "spaces": fill(b" "),
    "many small numbers": fill(b"1,", b"[", b"1]"),
    "digits": fill(b"9", b'{"pm25":', b"}"),
    "digits after the point": fill(b"9", b'{"pm25":0.', b"}"),
    "one long text": fill(b"x", b'{"pm25":"', b'"}'),
    "one long name": fill(b"x", b'{"', b'":1}'),
    "one long name with units": fill(b"pm_", b'{"', b'":1}'),
    "line protocol names": fill(b"a,"),
    "line protocol tags": fill(b"a=b,", b"m,"),
    "line protocol escapes": fill(b"\\ ", b"m,"),
    "lines": fill(b"m a=1\n"),
    "pairs": fill(b"a=1 "),
    "form": fill(b"a=1&"),
    "protobuf metrics": fill(b"\x12\x00"),
    "protobuf varints": fill(b"\xff"),
    "wide object": json.dumps({f"pm{n}": n for n in range(1000)}).encode(),
    "list of objects": json.dumps({"sensorData": [{"pm25": {"value": 1}}] * 500}).encode(),
    "station": json.dumps(
        {"sensordatavalues": [{"value_type": f"x{n}", "value": "1"} for n in range(500)]}
    ).encode(),
}


@pytest.mark.parametrize("case", WORST)
def test_no_decoder_is_slow(case):
    intake = Intake(IntakeConfig(context=Context(limits=LIMITS)))
    for name in DECODERS:
        letter = intake.on_message(Message("a/b/c/d", WORST[case], NOW), name).dead_letter
        assert letter is None or letter.reason not in ("decoder_failed", "too_large"), name


def test_long_names_are_not_remembered():
    before = look_up.cache_info().currsize
    assert find_quantity("x" * 65_000) is None
    assert find_quantity("pm25", "x" * 65_000) is None
    assert look_up.cache_info().currsize == before
