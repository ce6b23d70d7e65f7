"""Reading and acknowledging in large pieces.

paho asks the kernel for every message four times or more and sends each acknowledgement by itself.
Every such call releases the interpreter's lock and has to win it back from the threads that store
and detect, which costs more than all the rest of a message. `Link` puts a buffer before paho's
reads, filled once each time the socket is readable, and sends the acknowledgements of a group as
one piece. What paho makes of the bytes is untouched, and so is their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from paho.mqtt.enums import MessageType, MQTTErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from paho.mqtt.client import Client as PahoClient

_PIECE: Final = 32_768
"""Bytes taken from the socket at once: some 150 readings, a few milliseconds of work."""


class Link:
    """The reading and acknowledging side of a paho client that is not connected yet.

    `client`: driven by an event loop that calls its `loop_read` when the socket is readable.
    `session_present`: whether the broker has continued a session from before.
    """

    def __init__(self, client: PahoClient) -> None:
        self._client = client
        self._receive = client._sock_recv  # noqa: SLF001 - all reads of paho go through it
        self._loop_read = client.loop_read
        self._piece = b""
        self._at = 0
        self._asked = False
        client._sock_recv = self._take  # type: ignore[method-assign]  # noqa: SLF001
        client.loop_read = self._read  # type: ignore[method-assign]
        self.session_present = False
        self._on_connect = client.on_connect
        client.on_connect = self._connected

    def _connected(self, client: PahoClient, data: Any, flags: Any, *rest: Any) -> None:
        self.session_present = bool(flags.session_present)
        if self._on_connect is not None:
            self._on_connect(client, data, flags, *rest)

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Send PUBACKs in this order, as one piece."""
        acks = b"".join(b"\x40\x02" + packet_id.to_bytes(2) for packet_id in packet_ids)
        if acks:
            self._client._packet_queue(MessageType.PUBACK, acks, 0, 1)  # noqa: SLF001

    def _read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Handle all packets of one piece."""
        self._asked = False
        while True:
            code = self._loop_read(max_packets)
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS or self._at == len(self._piece):
                return code

    def _take(self, bufsize: int) -> bytes:
        """Return some bytes, of at most one piece of the socket until `_read` is called anew."""
        if self._at == len(self._piece):
            if self._asked:
                raise BlockingIOError
            self._asked = True
            self._piece, self._at = b"", 0
            self._piece = self._receive(_PIECE)
        taken = self._piece[self._at : self._at + bufsize]
        self._at += len(taken)
        return taken
