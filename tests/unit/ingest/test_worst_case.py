"""The most expensive payloads of 64 KiB cost no more than some loops over their bytes.

So much is tens of milliseconds, whichever decoder gets them; how many depends on the machine.
"""

import json
import time

import pytest

from ingest.decoders import DECODERS
from ingest.intake import Intake
from ingest.names import _look_up as look_up
from ingest.names import quantity_of
from ingest.validation import Message

NOW = 1_790_000_000.0
SIZE = 65_536
MOST_LOOPS = 150
"""The most that any costs is 43; what grows with the square of the size costs thousands."""


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


def loop(payload):
    total = 0
    for byte in payload:
        total += byte
    return total


def seconds(work):
    started = time.thread_time()
    work()
    return time.thread_time() - started


def is_quick(intake, message, name):
    taken = []
    cost = seconds(lambda: taken.append(intake.on_message(message, name)))
    letter = taken[0].dead_letter
    assert letter is None or letter.reason != "decoder_failed"
    return cost < MOST_LOOPS * seconds(lambda: loop(message.payload))


@pytest.mark.parametrize("case", WORST)
def test_no_decoder_is_slow(case):
    intake = Intake()
    for name in DECODERS:
        message = Message("a/b/c/d", WORST[case], NOW)
        # A collection of garbage may fall into one of them, not into all.
        assert any(is_quick(intake, message, name) for _ in range(3)), name


def test_long_names_are_not_remembered():
    before = look_up.cache_info().currsize
    assert quantity_of("x" * 65_000) is None
    assert quantity_of("pm25", "x" * 65_000) is None
    assert look_up.cache_info().currsize == before
