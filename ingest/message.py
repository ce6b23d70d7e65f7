"""The input record: one message as the broker or the HTTP ingest delivered it."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True):
    """One message, before anything is believed about it.

    Attributes
    ----------
    topic : str
        MQTT topic. Bytes that are no UTF-8 arrive as lone surrogates (``surrogateescape``) and
        are refused as `bad_topic`.
    payload : bytes
        Content, unparsed.
    received : float
        When it reached us, Unix seconds.
    retained : bool
        Delivered from the broker's store: it says what was, not what is.
    duplicate : bool
        The MQTT DUP flag: a redelivery of a message that was not acknowledged.
    """

    topic: str
    payload: bytes
    received: float
    retained: bool = False
    duplicate: bool = False
