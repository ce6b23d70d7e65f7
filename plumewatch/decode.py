"""``plumewatch decode``: what a message means, exactly as the service would understand it.

One JSON line a reading on standard output::

    {"sensor": "b2", "time": 1767225600.0, "values": {"pm25": 7.1}, "events": [], "faults": []}

``time`` is Unix seconds (the receive time, now, if the message has none that can be used).
``faults`` holds one ``fault:<quantity>`` for each quantity that the device sent as NaN, null, out
of range, of the wrong type, or reported as broken; its value is absent. A refused message prints
one line ``rejected: <reason>: <detail>`` on standard error.

Two things differ from the service, because a sample may be years old and from any site: time
stamps from 2001 on are shown as sent, and no sensor is unknown. With a configuration its mappings,
routes, registry and zone count; without one only the table of decoders.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TextIO

import msgspec

if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path

    from plumewatch.config import PlumewatchConfig

__all__ = ["decode_command", "read_payload", "run_decode"]

_OLDEST_SAMPLE: Final = 1_000_000_000.0
_DONE: Final = 0
_REFUSED: Final = 1
_USAGE: Final = 2


def read_payload(data: bytes, *, is_hex: bool = False, is_base64: bool = False) -> bytes:
    """Return the payload from its file form.

    Parameters
    ----------
    data : bytes
        Content of the file or of standard input.
    is_hex, is_base64 : bool
        The file holds the payload as hex digits or base64; white space, and between hex digits
        also ``:``, ``-``, ``,`` and ``0x``, are ignored.

    Raises
    ------
    ValueError
        Not hex or not base64.
    """
    if is_hex:
        text = re.sub(rb"0[xX]|[\s:,-]", b"", data)
        try:
            return binascii.unhexlify(text)
        except binascii.Error as error:
            raise ValueError("not pairs of hex digits") from error
    if is_base64:
        text = re.sub(rb"\s", b"", data).translate(bytes.maketrans(b"-_", b"+/"))
        try:
            return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
        except binascii.Error as error:
            raise ValueError("not base64") from error
    return data


def run_decode(
    topic: str,
    payload: bytes,
    decoder: str | None,
    out: TextIO,
    err: TextIO,
    *,
    now: float | None = None,
    zone: tzinfo | None = None,
    config: PlumewatchConfig | None = None,
) -> int:
    """Decode one payload and print its readings.

    Parameters
    ----------
    topic : str
        Topic under which it arrived.
    payload : bytes
        Content of the message.
    decoder : str or None
        Name of a decoder; None means: by topic.
    out, err : text streams
        Standard output and error.
    now : float, optional
        Receive time, Unix seconds; the clock by default.
    zone : tzinfo, optional
        Zone of devices that print local time; that of `config`, else UTC, by default.
    config : PlumewatchConfig, optional
        Whose mappings, routes and registry count.

    Returns
    -------
    int
        0 decoded, 1 refused, 2 no such decoder.

    Raises
    ------
    ConfigError
        An example of a mapping fails.
    """
    from datetime import UTC  # noqa: PLC0415 - keeps the command line fast to start

    from ingest.decoders import DECODERS  # noqa: PLC0415
    from ingest.decoders.base import Context  # noqa: PLC0415
    from ingest.errors import DecodeError, PayloadError, Reason  # noqa: PLC0415
    from ingest.message import Message  # noqa: PLC0415
    from ingest.pipeline import decode_message, likely_decoders  # noqa: PLC0415
    from ingest.routes import Routes  # noqa: PLC0415
    from ingest.validation import Limits  # noqa: PLC0415

    context = Context(zone=zone or UTC, limits=Limits(earliest=_OLDEST_SAMPLE))
    order = Routes()
    names = list(DECODERS)
    if config is not None:
        from plumewatch.intake_settings import routes  # noqa: PLC0415

        order = routes(config)
        names += [f"mapping:{mapping.name}" for mapping in config.mapping]
        context = replace(context, zone=zone or config.zone(), registry=config.registry())
    if decoder and order.named(decoder) is None:
        err.write(f"no decoder {decoder!r}; there are: {', '.join(names)}\n")
        return _USAGE
    message = Message(topic, payload, time.time() if now is None else now)
    try:
        readings = decode_message(message, context, decoder or "", order)
        readings += context.states.joiner.close(context.limits)
        if not readings:
            raise PayloadError(Reason.NO_MEASUREMENT, "understood, but nothing to store")
    except DecodeError as error:
        detail = error.detail
        if error.reason is Reason.UNKNOWN_TOPIC and not decoder:
            likely = likely_decoders(message, context)
            if likely:
                detail += f"; read by --decoder {' or '.join(likely)}"
        err.write(f"rejected: {error.reason}: {detail}\n")
        return _REFUSED
    out.writelines(msgspec.json.encode(reading.to_wire()).decode() + "\n" for reading in readings)
    return _DONE


def decode_command(
    topic: str,
    data: bytes,
    out: TextIO,
    err: TextIO,
    *,
    is_hex: bool = False,
    is_base64: bool = False,
    decoder: str | None = None,
    now: float | None = None,
    zone: tzinfo | None = None,
    config_path: Path | None = None,
) -> int:
    """Decode the content of a file; parameters as in `read_payload` and `run_decode`."""
    if is_hex and is_base64:
        err.write("give --hex or --base64, not both\n")
        return _USAGE
    try:
        payload = read_payload(data, is_hex=is_hex, is_base64=is_base64)
    except ValueError as error:
        err.write(f"rejected: malformed: {error}\n")
        return _REFUSED
    if config_path is None:
        return run_decode(topic, payload, decoder, out, err, now=now, zone=zone)
    from ingest.decoders import DECODERS  # noqa: PLC0415
    from plumewatch.config import ConfigError, load  # noqa: PLC0415

    try:
        config = load(config_path, decoders=frozenset(DECODERS))
        return run_decode(topic, payload, decoder, out, err, now=now, zone=zone, config=config)
    except ConfigError as error:
        err.write(f"{error}\n")
        return _USAGE
