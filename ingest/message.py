"""The input record: one message as the broker or the HTTP ingest delivered it."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True):
    """One message, before anything is believed about it.

    `topic`: MQTT topic. Bytes that are no UTF-8 arrive as lone surrogates (``surrogateescape``) and
    are refused as `bad_topic`.
    `payload`: content, unparsed.
    `received`: when it reached us, Unix seconds.
    `retained`: delivered from the broker's store: it says what was, not what is.
    `duplicate`: the MQTT DUP flag: a redelivery of a message that was not acknowledged.
    `packet`: MQTT packet id, by which a redelivery is recognized; 0 without one.
    """

    topic: str
    payload: bytes
    received: float
    retained: bool = False
    duplicate: bool = False
    packet: int = 0
