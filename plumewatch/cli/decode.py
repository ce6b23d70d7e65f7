"""``plumewatch decode``: what a message means, exactly as the service would understand it.

One JSON line a reading on standard output::

    {"sensor": "b2", "time": 1767225600.0, "values": {"pm25": 7.1}, "events": [], "faults": []}

``time`` is Unix seconds (the receive time, now, if the message has none that can be used).
``faults`` holds one ``fault:<quantity>`` for each quantity that the device sent as NaN, null, out
of range, of the wrong type, or reported as broken; its value is absent. With ``--flags`` a line has
the quality flags too. A refused message prints one line ``rejected: <reason>: <detail>`` on
standard error.

With ``--lines`` the file is a sequence of messages, one ``<topic> <payload>`` a line, as
``mosquitto_sub -v`` prints them: what a format remembers between messages then counts (values that
are joined, units from descriptions, births). A refused line does not stop the others.

Two things differ from the service, because a sample may be years old and from any site: time
stamps from 2001 on are shown as sent, and no sensor is unknown. With a configuration its mappings,
routes, registry and zone count; without one only the table of decoders.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TextIO

import msgspec

from plumewatch.cli.exit_codes import DONE, REFUSED, USAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo
    from pathlib import Path

    from ingest.decoding import Context
    from ingest.errors import Reason
    from ingest.message import Message
    from plumewatch.config.model import PlumewatchConfig
    from storage.reading import Reading

_OLDEST_SAMPLE: Final = 1_000_000_000.0
_LOOKED_AT: Final = 65_536
_LINES: Final = 8


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


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """How to decode and what to show.

    Attributes
    ----------
    decoder : str or None
        Name of a decoder; None means: by topic.
    lines : bool
        The payload is a sequence of lines ``<topic> <payload>``.
    is_hex, is_base64 : bool
        As in `read_payload`; of each line's payload with `lines`.
    retained : bool
        The messages come from the broker's store.
    flags : bool
        Show the quality flags.
    now : float or None
        Receive time, Unix seconds; the clock by default.
    zone : tzinfo or None
        Zone of devices that print local time; that of the configuration, else UTC, by default.
    """

    decoder: str | None = None
    lines: bool = False
    is_hex: bool = False
    is_base64: bool = False
    retained: bool = False
    flags: bool = False
    now: float | None = None
    zone: tzinfo | None = None


def run_decode(
    topic: str,
    data: bytes,
    out: TextIO,
    err: TextIO,
    options: DecodeOptions | None = None,
    config: PlumewatchConfig | None = None,
) -> int:
    """Decode the content of a file and print its readings.

    Parameters
    ----------
    topic : str
        Topic under which it arrived; ignored with `DecodeOptions.lines`.
    data : bytes
        Content of the file.
    out, err : text streams
        Standard output and error.
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
    from ingest.decoding import Context  # noqa: PLC0415
    from ingest.errors import DecodeError, PayloadError, Reason  # noqa: PLC0415
    from ingest.intake import decode_message  # noqa: PLC0415
    from ingest.message import Message  # noqa: PLC0415
    from ingest.routes import Routes  # noqa: PLC0415
    from ingest.validation import Limits  # noqa: PLC0415

    asked = options or DecodeOptions()
    context = Context(zone=asked.zone or UTC, limits=Limits(earliest=_OLDEST_SAMPLE))
    order = Routes()
    names = list(DECODERS)
    if config is not None:
        from plumewatch.config.ingest_settings import routes  # noqa: PLC0415

        order = routes(config)
        names += [f"mapping:{mapping.name}" for mapping in config.mapping]
        zone = asked.zone or config.zone()
        context = replace(context, zone=zone, registry=config.registry())
    if asked.decoder and order.named(asked.decoder) is None:
        err.write(f"no decoder {asked.decoder!r}; there are: {', '.join(names)}\n")
        return USAGE
    code = DONE
    received = time.time() if asked.now is None else asked.now
    readings: list[Reading] = []
    for place, name, text in _messages(topic, data, lines=asked.lines):
        try:
            payload = read_payload(text, is_hex=asked.is_hex, is_base64=asked.is_base64)
        except ValueError as error:
            err.write(f"rejected: {Reason.MALFORMED}: {place}{error}\n")
            code = REFUSED
            continue
        message = Message(name, payload, received, retained=asked.retained)
        try:
            found = decode_message(message, context, asked.decoder or "", order)
            if not asked.lines:
                found += context.states.joiner.close(context.limits)
                if not found:
                    raise PayloadError(Reason.NO_MEASUREMENT, _nothing(name))
            readings += found
        except DecodeError as error:
            more = _advice(message, context, error.reason, asked)
            err.write(f"rejected: {error.reason}: {place}{error.detail}{more}\n")
            code = REFUSED
    readings += context.states.joiner.close(context.limits)
    for reading in readings:
        shown = reading.to_wire()
        if asked.flags:
            shown["flags"] = list(reading.flags)
        out.write(msgspec.json.encode(shown).decode() + "\n")
    return code


def _advice(message: Message, context: Context, reason: Reason, asked: DecodeOptions) -> str:
    """Return how a refused message may be read: as lines, or by a decoder of other topics."""
    if not asked.lines and _is_sequence(message.payload):
        return "; its lines begin with topics: give --lines instead of --topic"
    return "" if asked.decoder else _who_reads(message, context, reason)


def _who_reads(message: Message, context: Context, reason: Reason) -> str:
    """Return which decoders read a message under a topic that is nobody's."""
    from ingest.errors import Reason  # noqa: PLC0415 - keeps the command line fast to start
    from ingest.intake import likely_decoders  # noqa: PLC0415

    likely = likely_decoders(message, context) if reason is Reason.UNKNOWN_TOPIC else ()
    return f"; read by --decoder {' or '.join(likely)}" if likely else ""


def _messages(topic: str, data: bytes, *, lines: bool) -> Iterator[tuple[str, str, bytes]]:
    """Yield place, topic and payload, as in the file, of each message."""
    if not lines:
        yield "", topic, data
        return
    for number, line in enumerate(data.split(b"\n"), start=1):
        name, _, payload = line.strip(b"\r").partition(b" ")
        if name:
            yield f"line {number}: ", name.decode("utf-8", "surrogateescape"), payload


def _is_sequence(payload: bytes) -> bool:
    """Whether every line of a payload begins with a topic of some decoder."""
    from ingest.decoders import find  # noqa: PLC0415 - keeps the command line fast to start

    names = [line.partition(b" ")[0] for line in payload[:_LOOKED_AT].splitlines()[:_LINES]]
    return bool(names) and all(find(n.decode("utf-8", "replace")) is not None for n in names)


def _nothing(topic: str) -> str:
    """Return why an understood message gives no reading."""
    from ingest.decoders import find  # noqa: PLC0415 - keeps the command line fast to start

    said = "understood, but nothing to store"
    decoder = find(topic)
    if decoder is not None and decoder.name == "ha_discovery":
        return f"{said}: a hint; plumewatch mapping suggest --topic {topic} FILE shows it"
    return said


def decode_command(
    topic: str | None,
    data: bytes,
    out: TextIO,
    err: TextIO,
    options: DecodeOptions | None = None,
    config_path: Path | None = None,
) -> int:
    """Decode the content of a file; parameters as in `run_decode`."""
    asked = options or DecodeOptions()
    if asked.is_hex and asked.is_base64:
        err.write("give --hex or --base64, not both\n")
        return USAGE
    if asked.lines == (topic is not None):
        err.write("give --topic, or --lines for a file whose lines begin with the topic\n")
        return USAGE
    if config_path is None:
        return run_decode(topic or "", data, out, err, asked)
    from plumewatch.config.faults import ConfigError  # noqa: PLC0415
    from plumewatch.config.sharding import load_shard  # noqa: PLC0415

    try:
        config = load_shard(config_path)
        return run_decode(topic or "", data, out, err, asked, config)
    except ConfigError as error:
        err.write(f"{error}\n")
        return USAGE
