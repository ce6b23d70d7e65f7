"""Test that reading in large pieces changes only the number of system calls."""

import asyncio
import contextlib
import socket
import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from ingest.mqtt.connection import ignore_cut_connection
from ingest.mqtt.link import Link
from tests.support.broker import Mosquitto
from tests.support.certificates import certificate
from tests.support.mqtt_source import RunningSource, send
from tests.support.service import Publisher
from tests.support.waiting import until

TOPIC = b"plumewatch/v1/b2/reading"


def publish(packet_id, payload, qos=1, topic=TOPIC, *, dup=False, retain=False):
    """Return one PUBLISH packet."""
    body = struct.pack(">H", len(topic)) + topic
    body += struct.pack(">H", packet_id) * (qos > 0) + payload
    length, encoded = len(body), b""
    while True:
        length, low = divmod(length, 128)
        encoded += bytes([low | 0x80 * (length > 0)])
        if not length:
            return bytes([0x30 | dup << 3 | qos << 1 | retain]) + encoded + body


class Socket:
    """Returns a stream in given pieces, and would block between them."""

    def __init__(self, pieces):
        self.pieces = list(pieces)
        self.calls = self.sends = 0
        self.sent = b""

    def recv(self, size):
        self.calls += 1
        if not self.pieces:
            raise BlockingIOError
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def send(self, data):
        self.sends += 1
        self.sent += data
        return len(data)

    def fileno(self):
        return -1

    def close(self):
        pass


def client_of(socket):
    """Return a paho client on a socket, its link, and the messages that it received."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.manual_ack_set(on=True)
    given = []
    link = Link(client, lambda *message: given.append(message))
    client._sock = socket
    return client, link, given


def split(stream, cuts):
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)})
    return [stream[a:b] for a, b in zip([0, *ends], ends, strict=False) if b > a]


MESSAGES = st.tuples(
    st.integers(1, 65_535),
    st.one_of(st.binary(max_size=300), st.integers(16_300, 16_500).map(bytes)),
    st.sampled_from([0, 1]),
    st.sampled_from([TOPIC, b"t", b"\xff/\xfe"]),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(MESSAGES), st.lists(st.integers(1, 5_000), max_size=20))
def test_any_pieces_give_the_same_messages(messages, cuts):
    stream = b"\xd0\x00".join(
        publish(*message, dup=dup, retain=retain) for *message, dup, retain in messages
    )
    socket = Socket(split(stream, cuts))
    client, _, given = client_of(socket)
    while socket.pieces:
        before = socket.calls
        assert client.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
        assert socket.calls == before + 1
    assert given == [
        (topic, body, dup << 3 | qos << 1 | retain, mid if qos else 0)
        for mid, body, qos, topic, dup, retain in messages
    ]


@pytest.mark.parametrize(
    "broken", [b"\x30\x06\x00\x09abcd", b"\x32\x04\x00\x01ab", b"\x30\x03\x00\x00a"]
)
def test_a_malformed_message_ends_the_connection_behind_what_came_before(broken):
    socket = Socket([publish(1, b"a") + publish(2, b"b") + broken + publish(3, b"c")])
    client, _, given = client_of(socket)
    with contextlib.suppress(struct.error):  # aiomqtt ends the connection
        assert client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS
    assert [body for _, body, _, _ in given] == [b"a", b"b"]


def test_the_end_of_the_stream_is_a_lost_connection_after_what_came_before():
    socket = Socket([publish(1, b"a") + publish(2, b"b")[:5], b""])
    client, _, given = client_of(socket)
    lost = []
    client.on_disconnect = lambda *arguments: lost.append(arguments)
    client.loop_read()
    assert not lost
    client.loop_read()
    assert given == [(TOPIC, b"a", 2, 1)]
    assert len(lost) == 1


def test_another_version_of_paho_reads_and_acknowledges_by_itself(monkeypatch):
    monkeypatch.setattr("paho.mqtt.__version__", "2.9.0")
    pieces = [publish(1, b"a"), publish(2, b"b", qos=0), publish(3, b"c", dup=True)]
    socket = Socket(pieces)
    client, link, given = client_of(socket)
    while socket.pieces:
        client.loop_read()
    assert given == [(TOPIC, b"a", 2, 1), (TOPIC, b"b", 0, 0), (TOPIC, b"c", 10, 3)]
    link.acknowledge([1, 3])
    client.loop_write()
    assert socket.sent == b"\x40\x02\x00\x01\x40\x02\x00\x03"


def test_acknowledgments_leave_in_order_as_one_piece():
    socket = Socket([])
    client, link, _ = client_of(socket)
    link.acknowledge([3, 1, 65_535])
    link.acknowledge([])
    client.loop_write()
    assert socket.sends == 1
    assert socket.sent == b"\x40\x02\x00\x03\x40\x02\x00\x01\x40\x02\xff\xff"


async def test_a_burst_over_tls(tmp_path):
    """All messages in a TLS record are read, and none stays in the library's buffer."""
    pem, key = certificate(tmp_path)
    server = f"cafile {pem}\ncertfile {pem}\nkeyfile {key}\nmax_inflight_messages 200"
    context = ssl.create_default_context(cafile=str(pem))
    with Mosquitto(server) as broker:
        async with RunningSource(broker, tls=context) as running:
            with Publisher(broker.port, tls=context) as publisher:
                send(publisher, range(1_000))
                await until(lambda: running.state.acknowledged == 1_000)
    assert running.kept == list(range(1_000))


async def test_a_cut_before_it_could_be_written_to_is_no_stack_in_the_log(caplog):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(ignore_cut_connection)
    gone = socket.socket()
    number = gone.fileno()
    gone.close()
    loop.call_soon(loop.add_writer, number, print)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "Exception in callback" not in caplog.text

    def broken():
        raise OSError("of something else")

    loop.call_soon(broken)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "of something else" in caplog.text
