"""Test the documented behavior of `plumewatch decode`."""

import json

import pytest

from tests.support.command import plumewatch

NOW = 1_790_000_000.0
TOPIC = "plumewatch/v1/b2/reading"


def run(data, topic=TOPIC, *options):
    words = [*(["--topic", topic] if topic else []), *options]
    ran = plumewatch("decode", *words, now=NOW, stdin=data)
    return ran.code, ran.out, ran.err


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


class TestGeneric:
    """The generic decoder reads values with clear names, and reports the values that it skips."""

    AIRBOX = b'{"id":"3F21","t":1764321000,"air":{"p25":6.3},"gas":{"tvoc_ppb":143},"rssi":-61}'

    def test_what_is_left_out_is_said(self):
        code, out, err = run(self.AIRBOX, "airbox/3F21/state", "--decoder", "generic")
        assert (code, json.loads(out)["values"]) == (0, {"tvoc_ppb": 143.0, "rssi": -61.0})
        assert err == (
            "3F21: some numbers are left out because their names don't"
            " identify a quantity; no particles are"
            " read, so a sensor that nothing else reads cannot detect vaping; see plumewatch"
            " mapping suggest\n"
        )
        assert run(b'{"id":"a","pm25":7}', "x/a", "--decoder", "generic")[2] == ""

    def test_advice_says_what_it_would_leave_out(self):
        code, _, err = run(self.AIRBOX, "airbox/3F21/state")
        assert code == 1
        assert err.endswith(
            "; --decoder generic reads tvoc_ppb, rssi only: see plumewatch mapping suggest\n"
        )


def test_hex_and_base64():
    plain = run(b'{"pm25": 7.5}')
    assert run(b"7b22706d3235223a20372e357d\n", TOPIC, "--hex") == plain
    assert run(b"eyJwbTI1IjogNy41fQ==\n", TOPIC, "--base64") == plain
    assert run(b"zz", TOPIC, "--hex") == (1, "", "rejected: malformed: not pairs of hex digits\n")
    assert run(b"e", TOPIC, "--base64")[0] == 1
    assert run(b"7b", TOPIC, "--hex", "--base64")[0] == 2


def test_named_decoder():
    code, out, _ = run(b'{"wifi":-5,"rco2":600}', "lab/1", "--decoder", "airgradient")
    assert code == 0
    assert json.loads(out)["sensor"] == "lab:1"
    code, out, err = run(b"{}", TOPIC, "--decoder", "nope")
    assert (code, out) == (2, "")
    assert "airgradient" in err
    assert run(b"{}", topic="lab/1")[2] == "rejected: unknown_topic: no decoder for this topic\n"


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (b'{"cmd":"rx","EUI":"24E124000000A001","ts":1790000000000,"data":"010c"}', "loriot"),
        (b'{"my":{"pm25":3}}', "generic"),
        (b'{"VALUES":{"TEMP":23.5}}', "generic"),
        (b"air,device=a pm25=3", "influx"),
    ],
)
def test_unknown_topic_names_who_would_read_it(payload, named):
    code, out, err = run(payload, topic="lab/1")
    assert (code, out) == (1, "")
    assert err.startswith("rejected: unknown_topic: ")
    assert named in err
    assert err.count("\n") == 1


LINES = b"""\
homeassistant/sensor/b/tvoc/config {"stat_t": "b/sensor/tvoc/state", "unit_of_meas": "ug/m3"}
b/status online
b/sensor/pm_2_5/state 12

b/sensor/tvoc/state 150
b/sensor/humidity/state nan
"""


def test_lines_are_a_sequence_that_is_remembered_and_joined():
    code, out, err = run(LINES, None, "--lines")
    assert (code, err) == (0, "")
    online, joined = (json.loads(line) for line in out.splitlines())
    assert online["events"] == ["online"]
    assert joined == {
        "sensor": "b",
        "time": NOW,
        "values": {"pm25": 12.0, "tvoc_ugm3": 150.0},
        "events": [],
        "faults": ["fault:rh"],
    }


def test_a_refused_line_names_itself_and_stops_no_other():
    data = b"""\
plumewatch/v1/a/reading {\r
no/such 1
b/sensor/\xff/state 1

plumewatch/v1/b/reading [7]
plumewatch/v1/c/reading {"pm25": 1}"""
    code, out, err = run(data, None, "--lines")
    assert code == 1
    assert [json.loads(line)["sensor"] for line in out.splitlines()] == ["c"]
    reasons = [line.split(": ")[1:3] for line in err.splitlines()]
    assert reasons == [
        ["malformed", "line 1"],
        ["unknown_topic", "line 2"],
        ["bad_topic", "line 3"],
        ["wrong_type", "line 5"],
    ]


@pytest.mark.parametrize(
    "data",
    [
        b'North hall/b7/state\t{"pm25": 7}\nNorth hall/b8/state\t???\n',
        b'North hall/b7/state {"pm25": 7}\nNorth hall/b8/state\t???\n',
        (
            b'{"topic": "North hall/b7/state", "payload": {"pm25": 7}}\n'
            b'{"topic": "North hall/b8/state", "qos": 0, "payload": "???"}\n'
        ),
    ],
)
def test_topics_with_spaces_and_the_topic_of_what_is_refused(data):
    code, out, err = run(data, None, "--lines", "--decoder", "generic")
    assert (code, json.loads(out)["sensor"]) == (1, "North_hall:b7:state")
    assert err.startswith("rejected: malformed: line 2: North hall/b8/state: ")
    _, _, err = run(data, None, "--lines")
    assert err.startswith("rejected: unknown_topic: line 1: North hall/b7/state: no decoder")
