"""`plumewatch decode` and `mapping suggest`: show how the service decodes a message.

``decode`` prints one JSON line per reading. ``faults`` has ``fault:<quantity>`` for each quantity
that is NaN, null, out of range, of the wrong type, or reported as broken; its value is left out. A
rejected message prints ``rejected: <reason>: <detail>`` on standard error.

With ``--lines``, the file has one message per line, as ``mosquitto_sub -v`` or ``-F %j`` prints
them; they are decoded in order, as in the service. A topic that contains spaces ends at a tab, or
before a JSON object. A sample may be years old and from any site. So unlike the service, `decode`
shows any time stamp since 2001 as sent, and accepts every sensor. If a configuration is given, its
mappings, routes, registry and time zone apply.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ingest.errors import DecodeError, PayloadError, Reason, RefusedError
from plumewatch.cli.options import REFUSED, OptionalConfig, Site, list_examples
from plumewatch.cli.printer import ask_person, can_ask, echo, print_json
from plumewatch.config.faults import list_known
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.decoders import Routes
    from ingest.decoding import Context
    from ingest.validation import Message
    from storage.reading import Reading


app = typer.Typer()
mapping_app = typer.Typer(help="Mappings for devices that no decoder reads.", no_args_is_help=True)
app.add_typer(mapping_app, name="mapping", rich_help_panel="Sensors")

_MAX_TO_DECODE: Final = 64 * 1024 * 1024
_MAX_OF_A_SAMPLE: Final = 4_000_000
_OLDEST_SAMPLE: Final = 1_000_000_000.0


@app.command(
    rich_help_panel="Sensors",
    epilog=list_examples(
        "plumewatch decode --topic plumewatch/v1/b2/reading payload.json",
        "plumewatch decode --topic lora/as-17/up --decoder milesight --hex frame.txt",
        "mosquitto_sub -h 192.0.2.10 -v -t 'tele/#' -C 50 | plumewatch decode --lines",
    ),
)
def decode(
    file: Annotated[
        Path | None, typer.Argument(help="File with the payload; standard input if left out.")
    ] = None,
    *,
    topic: Annotated[str | None, typer.Option(help="MQTT topic of the message.")] = None,
    lines: Annotated[
        bool,
        typer.Option(
            "--lines",
            help="Instead of --topic: a topic, a space or tab, and a payload per line; or JSON.",
        ),
    ] = False,
    is_hex: Annotated[bool, typer.Option("--hex", help="The payload is in hex digits.")] = False,
    is_base64: Annotated[bool, typer.Option("--base64", help="The payload is in base64.")] = False,
    decoder: Annotated[
        str | None, typer.Option(help="Use this decoder, or mapping:NAME, for any topic.")
    ] = None,
    flags: Annotated[bool, typer.Option("--flags", help="Also print quality flags.")] = False,
    config: OptionalConfig = None,
) -> int | None:
    """Print the readings of a message, one JSON line each."""
    from ingest.decoders.native import describe_misnamed
    from ingest.intake import decode_message, find_candidates
    from ingest.validation import Message

    school = Site.load(config) if config else None
    if is_hex and is_base64:
        raise UsageError("give --hex or --base64, not both")
    if lines == (topic is not None):
        raise UsageError("give --topic, or --lines if each line begins with a topic")
    with nullcontext(sys.stdin.buffer) if file is None else file.open("rb") as source:
        data = source.read(_MAX_TO_DECODE + 1)
    if len(data) > _MAX_TO_DECODE:
        raise RefusedError(f"rejected: too_large: more than {_MAX_TO_DECODE} bytes")
    context, routes = _build_context(school, decoder)
    states = context.states
    received, code, readings = time.time(), None, []
    left_out: dict[str, None] = {}
    for place, name, text in _split_messages(topic or "", data, lines=lines):
        message = None
        try:
            payload = _decode_payload(text, is_hex=is_hex, is_base64=is_base64)
            message = Message(name, payload, received)
            found = decode_message(message, context, decoder or "", routes)
            if not lines:
                found += states.joiner.close(context.limits)
                if not found:
                    raise PayloadError(
                        Reason.NO_MEASUREMENT, "understood, but there is nothing to store"
                    )
            readings += found
            misnamed = describe_misnamed(message, find_candidates(name, decoder or "", routes)[0])
            left_out |= {f"{r.sensor}: {misnamed}": None for r in found if misnamed}
        except DecodeError as error:
            advice = _suggest(message, context, error, decoder) if message else ""
            sys.stderr.write(f"rejected: {error.reason}: {place}{error.detail}{advice}\n")
            code = REFUSED
    readings += states.joiner.close(context.limits)
    left_out |= dict.fromkeys(map(_describe_left_out, readings))
    sys.stderr.writelines(f"{sentence}\n" for sentence in left_out if sentence)
    for reading in readings:
        print_json(reading.to_wire() | ({"flags": list(reading.flags)} if flags else {}))
    return code


def _build_context(site: Site | None, decoder: str | None) -> tuple[Context, Routes]:
    """Return a school's context and routes, or ones with only the built-in decoders."""
    from datetime import UTC

    from ingest.decoders import DECODERS, Routes
    from ingest.decoding import Context
    from ingest.validation import Limits

    context = Context(zone=UTC, limits=Limits(earliest=_OLDEST_SAMPLE))
    routes, names = Routes(), list(DECODERS)
    if site is not None:
        from plumewatch.config.ingest_settings import build_routes as configured_routes
        from plumewatch.config.ingest_settings import find_sensor_zones

        school = site.config
        routes = configured_routes(school)
        names += [f"mapping:{mapping.name}" for mapping in school.mapping]
        context = replace(
            context,
            zone=school.get_zone(),
            registry=school.build_registry(),
            zones=find_sensor_zones(school),
        )
    if decoder and routes.find_by_name(decoder) is None:
        there = list_known(decoder, names, most=len(names))
        raise UsageError(f"no decoder {decoder!r}; the decoders are: {there}")
    return context, routes


def _split_messages(topic: str, data: bytes, *, lines: bool) -> Iterator[tuple[str, str, bytes]]:
    from storage.dead_letters import make_visible

    if not lines:
        yield "", topic, data
        return
    rows = [line.strip(b"\r") for line in data.split(b"\n")]
    is_by_tab = all(b"\t" in row for row in rows if row and row[:1] != b"{")
    for number, row in enumerate(rows, start=1):
        name, payload = _parse_json(row)
        if not name:
            is_object = b" {" in row and row.endswith(b"}")  # its topic may have spaces
            has_tab = is_by_tab or _ends_at_tab(row)
            gap = b"\t" if has_tab else b" {" if is_object else b" "
            first, _, payload = row.partition(gap)
            payload = gap[1:] + payload
            name = first.decode("utf-8", "surrogateescape")
        if name:
            shown = make_visible(name.encode("utf-8", "surrogateescape"))
            yield f"line {number}: {shown}: ", name, payload


def _ends_at_tab(row: bytes) -> bool:
    """Return whether the topic of a line ends at its first tab, not at its first space."""
    before, tab, _payload = row.partition(b"\t")
    _first, _, rest = before.partition(b" ")
    return bool(tab) and b" {" not in before and (not rest or b"/" in rest)


def _parse_json(row: bytes) -> tuple[str, bytes]:
    """Return the topic and payload of a JSON object that has both; if not, the topic is empty."""
    try:
        found = json.loads(row) if row[:1] == b"{" else None
    except ValueError:
        found = None
    if type(found) is not dict or type(found.get("topic")) is not str or "payload" not in found:
        return "", b""
    payload = found["payload"]
    return found["topic"], (payload if type(payload) is str else json.dumps(payload)).encode()


def _decode_payload(data: bytes, *, is_hex: bool, is_base64: bool) -> bytes:
    try:
        if is_hex:
            return binascii.unhexlify(re.sub(rb"0[xX]|[\s:,-]", b"", data))
        if is_base64:
            text = re.sub(rb"\s", b"", data).translate(bytes.maketrans(b"-_", b"+/"))
            return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        written = "pairs of hex digits" if is_hex else "base64"
        raise PayloadError(Reason.MALFORMED, f"not {written}") from error
    return data


def _suggest(message: Message, context: Context, error: DecodeError, decoder: str | None) -> str:
    from ingest.decoding import States
    from ingest.intake import decode_message, find_likely_decoders

    if decoder or error.reason is not Reason.UNKNOWN_TOPIC:
        return ""
    likely = find_likely_decoders(message, context)
    if likely == ("generic",):
        readings = decode_message(message, replace(context, states=States()), "generic")
        if _describe_left_out(readings[0]):
            known = ", ".join(readings[0].values)
            return f"; --decoder generic reads {known} only: see plumewatch mapping suggest"
    return f"; read by --decoder {' or '.join(likely)}" if likely else ""


def _describe_left_out(reading: Reading) -> str:
    """Describe numbers that `generic` could not name; empty if there are none."""
    from ingest.mapping.examples import MEANING, find_missing
    from ingest.validation import UNREAD

    if UNREAD not in reading.flags:
        return ""
    text = (
        f"{reading.sensor}: some numbers are left out because their names don't identify a quantity"
    )
    if "particles" in find_missing({*reading.values, *reading.faults}, has_time=True):
        text += f"; {MEANING['particles']}"
    return f"{text}; see plumewatch mapping suggest"


@mapping_app.command(
    "suggest",
    epilog=list_examples("plumewatch mapping suggest --topic site/n2/as-17/state sample.json"),
)
def mapping_suggest(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Payloads, one per line or file; standard input if left out."),
    ] = None,
    *,
    topic: Annotated[
        str, typer.Option(help="MQTT topic of the payloads; may have {captures}.")
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the mapping.")] = "",
    columns: Annotated[
        str, typer.Option(help="Columns of CSV without a header, or the layout of a binary frame.")
    ] = "",
    config: OptionalConfig = None,
) -> None:
    """Propose a mapping (TOML) from payloads."""
    from datetime import UTC

    from ingest.decoders import find_decoder
    from ingest.decoding import Context
    from ingest.intake import find_likely_decoders
    from ingest.mapping.draft import ColumnsError, SuggestError, format_toml
    from ingest.mapping.frames import propose
    from ingest.validation import Message
    from plumewatch.cli.setup.answers import ask_until_valid

    if not topic:
        raise UsageError("give the MQTT topic of the payloads: --topic site/n2/as-17/state")
    samples = [] if files else split_samples(sys.stdin.buffer.read())
    zone = Site.load(config).config.get_zone() if config else UTC
    for file in files or ():
        with file.open("rb") as opened:
            samples += split_samples(opened.read(_MAX_OF_A_SAMPLE))

    received = float(round(time.time()))

    def propose_with(columns: str) -> str:
        return propose(topic, samples, received=received, name=name, zone=zone, columns=columns)

    try:
        try:
            text = propose_with(columns)
        except ColumnsError as error:
            if not can_ask():
                raise SuggestError(f"option --columns: {error}") from error
            echo(str(error), err=True)
            text = ask_until_valid(lambda: ask_person("Columns"), propose_with)
    except SuggestError as error:
        message = Message(topic, samples[0] if samples else b"", received)
        advice = ""
        if likely := find_likely_decoders(message, Context(zone=zone)):
            route = f"topic = {format_toml(topic)}, decoder = {format_toml(likely[0])}"
            advice = f"; decoder {format_toml(likely[0])} reads it: add [[route]] {route}"
        raise RefusedError(f"no suggestion: {error}{advice}") from error
    if (known := find_decoder(topic)) is not None:
        sys.stderr.write(
            f"decoder {known.name!r} already reads this topic; a mapping takes precedence\n"
        )
    echo(text, nl=False)


def split_samples(data: bytes) -> list[bytes]:
    r"""Split a file into payloads: its lines, or all of it if it is one JSON value or not text.

    >>> split_samples(b'{"a": 1}\n{"a": 2}\n'), split_samples(b'{\n"a": 1\n}\n')
    ([b'{"a": 1}', b'{"a": 2}'], [b'{\n"a": 1\n}'])
    """
    content = data.strip(b"\r\n")
    try:
        json.loads(content.decode("utf-8"))
    except UnicodeDecodeError:
        return [data]
    except (ValueError, RecursionError):
        lines = (line.strip(b"\r") for line in content.split(b"\n"))
        return [line for line in lines if line.strip()]
    return [content]
