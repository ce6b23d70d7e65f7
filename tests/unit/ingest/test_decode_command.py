"""`plumewatch decode` as contracted."""

import io
import json

import pytest

from plumewatch.decode import decode_command, read_payload, run_decode

NOW = 1_790_000_000.0
TOPIC = "plumewatch/v1/b2/reading"


def run(data, topic=TOPIC, **more):
    out, err = io.StringIO(), io.StringIO()
    code = decode_command(topic, data, out, err, now=NOW, **more)
    return code, out.getvalue(), err.getvalue()


def test_one_line_a_reading():
    code, out, err = run(b'{"time": 1790000000, "seq": 4, "pm25": 7.5, "rh": "x"}')
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    assert json.loads(out) == {
        "sensor": "b2",
        "time": NOW,
        "values": {"pm25": 7.5},
        "events": [],
        "faults": ["fault:rh"],
    }


def test_refused_is_one_line_on_stderr():
    code, out, err = run(b"garbage\n\n")
    assert (code, out) == (1, "")
    assert err.startswith("rejected: malformed: ")
    assert err.count("\n") == 1


def test_old_samples_are_shown_as_sent_and_history_too():
    code, out, _ = run(b'{"time": "2011-05-05T00:00:00Z", "pm25": 7.5}')
    assert code == 0
    assert json.loads(out)["time"] == 1_304_553_600.0


def test_hex_and_base64():
    plain = run(b'{"pm25": 7.5}')
    assert run(b"7b22706d3235223a20372e357d\n", is_hex=True) == plain
    assert run(b"eyJwbTI1IjogNy41fQ==\n", is_base64=True) == plain
    assert run(b"zz", is_hex=True) == (1, "", "rejected: malformed: not pairs of hex digits\n")
    assert run(b"e", is_base64=True)[0] == 1
    assert run(b"7b", is_hex=True, is_base64=True)[0] == 2


def test_named_decoder():
    code, out, _ = run(b'{"wifi":-5,"rco2":600}', topic="lab/1", decoder="airgradient")
    assert code == 0
    assert json.loads(out)["sensor"] == "lab:1"
    code, out, err = run(b"{}", decoder="nope")
    assert (code, out) == (2, "")
    assert "airgradient" in err
    assert run(b"{}", topic="lab/1")[2] == "rejected: unknown_topic: no decoder for this topic\n"


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (b'{"cmd":"rx","EUI":"24E124000000A001","ts":1790000000000,"data":"010c"}', "loriot"),
        (b'{"my":{"pm25":3}}', "generic"),
        (b"air,device=a pm25=3", "influx"),
    ],
)
def test_unknown_topic_names_who_would_read_it(payload, named):
    code, out, err = run(payload, topic="lab/1")
    assert (code, out) == (1, "")
    assert err.startswith("rejected: unknown_topic: ")
    assert named in err
    assert err.count("\n") == 1


def test_the_clock_is_the_receive_time_by_default():
    out = io.StringIO()
    assert run_decode(TOPIC, b'{"pm25": 1}', None, out, io.StringIO()) == 0
    assert json.loads(out.getvalue())["time"] > NOW - 1e9


@pytest.mark.parametrize("text", [b"01 02", b"01:02", b"0x01,0x02", b"01\n02\n"])
def test_hex_spellings(text):
    assert read_payload(text, is_hex=True) == b"\x01\x02"
