"""Read and acknowledge many messages at once.

For each message, paho makes at least four system calls, creates about ten objects, and sends a
separate acknowledgment. Each system call releases the interpreter lock, and must then wait until
the threads that store and detect release it. `Link` puts a buffer in front of paho's reads, fills
it once whenever the socket is readable, and sends the acknowledgments of a group together.

`Link` itself parses complete PUBLISH packets (MQTT 3.1.1, QoS 0 and 1). paho gets the packets that
are incomplete, large, malformed or of another type. It also gets the first packet of each read, so
that it knows that the connection is alive. The messages and their order are the same as with paho
alone.

`Link` relies on private parts of paho version `CHECKED_PAHO`. With any other version, paho reads
and acknowledges one message at a time.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt
from paho.mqtt.enums import MessageType, MQTTErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from paho.mqtt.client import Client as PahoClient
    from paho.mqtt.client import MQTTMessage

    OnPublish = Callable[[bytes, bytes, int, int], None]

log = logging.getLogger(__name__)

CHECKED_PAHO: Final = "2.2.0"
"""Version of paho that `Link` was written for, because it uses private parts."""
_PIECE: Final = 32_768
"""Bytes read from the socket at once: about 150 readings, a few milliseconds of work."""
_LARGE: Final = 16_383
"""Largest packet length that fits into two bytes."""
_PUBLISH: Final = 0x30
QOS: Final = 0b110
AT_LEAST_ONCE: Final = 0b010
RETAIN: Final = 0b1
DUP: Final = 0b1000
"""Flags in the first byte of a PUBLISH packet."""


class Link:
    """Reads and acknowledges messages for a paho client.

    `client`: must not be connected yet; an event loop calls its `loop_read` when the socket is
    readable.
    `on_publish`: called with the topic, payload, flags and packet id (0 at QoS 0) of each message.
    `session_present`: whether the broker resumed an earlier session.
    """

    def __init__(self, client: PahoClient, on_publish: OnPublish) -> None:
        self._client = client
        self._on_publish = on_publish
        self._receive = client._sock_recv  # noqa: SLF001 - all reads of paho go through it
        self._loop_read = client.loop_read
        self._piece = b""
        self._at = 0
        self._asked = False
        self._in_pieces = paho.mqtt.__version__ == CHECKED_PAHO
        if self._in_pieces:
            client._sock_recv = self._take  # type: ignore[method-assign]  # noqa: SLF001
            client.loop_read = self._read  # type: ignore[method-assign]
        else:
            log.info("paho-mqtt %s reads message by message", paho.mqtt.__version__)
        client.on_message = self._on_message
        self.session_present = False
        self._on_connect = client.on_connect
        client.on_connect = self._handle_connect

    def _handle_connect(self, client: PahoClient, data: Any, flags: Any, *rest: Any) -> None:
        self.session_present = bool(flags.session_present)
        if self._on_connect is not None:
            self._on_connect(client, data, flags, *rest)

    def _on_message(self, _client: PahoClient, _data: object, raw: MQTTMessage) -> None:
        flags = raw.dup << 3 | raw.qos << 1 | raw.retain
        topic = raw._topic  # noqa: SLF001 - .topic raises if it is not UTF-8
        self._on_publish(topic, bytes(raw.payload), flags, raw.mid if raw.qos else 0)

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Send PUBACKs in this order, in one write if possible."""
        if not self._in_pieces:
            for packet_id in packet_ids:
                self._client.ack(packet_id, 1)
            return
        acks = b"".join([b"\x40\x02" + packet_id.to_bytes(2) for packet_id in packet_ids])
        if acks:
            self._client._packet_queue(MessageType.PUBACK, acks, 0, 1)  # noqa: SLF001

    def _read(self, max_packets: int = 1) -> MQTTErrorCode:
        self._asked = False
        while True:
            code = self._loop_read(max_packets)
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS or self._at == len(self._piece):
                return code
            if not self._client._in_packet["command"]:  # noqa: SLF001 - paho is between packets
                self._at = self._read_publishes(self._piece, self._at)
                if self._at == len(self._piece):
                    return code

    def _read_publishes(self, piece: bytes, at: int) -> int:
        """Pass the complete PUBLISH packets from `at` on to the callback; return where they end."""
        on_publish, end = self._on_publish, len(piece)
        while at + 4 < end:
            flags, size, begin = piece[at], piece[at + 1], at + 2
            if flags & 0xF0 != _PUBLISH or flags & QOS > AT_LEAST_ONCE:
                break
            if size > 127:
                size += (piece[begin] << 7) - 128
                begin += 1
                if size > _LARGE:
                    break
            name, stop = begin + 2, begin + size
            id_at = name + (piece[begin] << 8 | piece[begin + 1])
            body = id_at + 2 if flags & QOS else id_at
            if stop > end or body > stop or id_at == name:
                break
            packet_id = int.from_bytes(piece[id_at:body])
            on_publish(piece[name:id_at], piece[body:stop], flags & 0xF, packet_id)
            at = stop
        return at

    def _take(self, bufsize: int) -> bytes:
        """Return up to `bufsize` bytes; read the socket at most once per call of `_read`."""
        if self._at == len(self._piece):
            if self._asked:
                raise BlockingIOError
            self._asked = True
            self._piece, self._at = b"", 0
            self._piece = self._receive(_PIECE)
        taken = self._piece[self._at : self._at + bufsize]
        self._at += len(taken)
        return taken
