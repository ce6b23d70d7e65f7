"""The input record: one message as the broker or the HTTP ingest delivered it."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message, before anything is believed about it.

    `topic`: MQTT topic. Bytes that are no UTF-8 arrive as lone surrogates (``surrogateescape``) and
    are refused as `bad_topic`.
    `received`: when it reached us, Unix seconds.
    `retained`: delivered from the broker's store: it says what was, not what is.
    `duplicate`: the MQTT DUP flag: a redelivery of a message that was not acknowledged.
    `packet`: MQTT packet id, by which a redelivery is recognized; 0 without one.
    `live`: published after we connected, so not of a backlog that waited in the broker.
    `clock_step`: seconds by which this machine's clock was set since the message before.
    """

    topic: str
    payload: bytes
    received: float
    retained: bool = False
    duplicate: bool = False
    packet: int = 0
    live: bool = False
    clock_step: float = 0.0


def never_set(_now: float) -> float:
    """Return 0, the step of a clock that is not followed."""
    return 0.0
