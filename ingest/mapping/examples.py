"""Decode the examples of a mapping as the service would, and report differences.

Each example is decoded in a new context, and its join window, if any, is closed afterward.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from detection.quantities import FINE_PARTICLES
from ingest.decoding import Context
from ingest.errors import DecodeError
from ingest.validation import Limits, Message, Readings, check_size, check_topic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from ingest.decoding import Decoder
    from ingest.mapping.schema import ExampleConfig, MappingConfig
    from storage.reading import Reading


MEANING: Final = {
    "particles": "no particles are read, so a sensor that nothing else reads cannot detect vaping",
    "gas or PM1": "neither gas nor PM1 is read, so most puffs are reported only as possible vaping",
    "time": "no time is read, so the receive time is used",
}

_DISTINGUISHING: Final = {"pm1", "n03", "n05", "tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw"}
"""Quantities that, together with PM2.5, help to distinguish vaping from spray and steam."""


def find_missing(quantities: Collection[str], *, has_time: bool) -> list[str]:
    """Return what a mapping with only these quantities lacks, as keys of `MEANING`."""
    read = set(quantities)
    has_particles = not read.isdisjoint(FINE_PARTICLES)
    tells_more = not has_particles or not read.isdisjoint(_DISTINGUISHING)
    has = (has_particles, tells_more, has_time)
    return [word for word, is_read in zip(MEANING, has, strict=True) if not is_read]


def describe_faulty(examples: Iterable[Mapping[str, Any]]) -> str:
    """Name the quantities that only have faults in the examples; empty if there are none."""
    shown = list(examples)
    read = {key for example in shown for key in example.get("values", ())}
    faulty = {key: 0 for example in shown for key in example.get("faults", ()) if key not in read}
    return f"no example has a value for {', '.join(faulty)}, only faults" if faulty else ""


def find_all_missing(mappings: Sequence[MappingConfig]) -> dict[str, list[str]]:
    """Return, for each key of `MEANING`, the names of the mappings that lack it.

    A mapping needs no particles if it has no fields (a door contact), if the device sends its own
    vape alarms, or if another mapping of the same sensor reads particles. Mappings belong to the
    same sensor if their examples name it.
    """
    missing: dict[str, list[str]] = {word: [] for word in MEANING}
    for mapping in mappings:
        sensors = {example.sensor for example in mapping.example} - {None}
        same = [m for m in mappings if not sensors.isdisjoint({e.sensor for e in m.example})]
        read = {field.quantity for each in (mapping, *same) for field in each.field}
        words = find_missing(read, has_time=bool(mapping.time or mapping.time_or))
        if any(event.event == "vendor_vape" for each in (mapping, *same) for event in each.event):
            words = [word for word in words if word == "time"]
        for word in words if mapping.field else ():
            missing[word].append(mapping.name)
    return missing


_OLDEST: Final = 1_000_000_000.0


def find_failures(
    decoder: Decoder, examples: list[ExampleConfig], zone: tzinfo = UTC
) -> Iterator[tuple[int, str]]:
    """Yield the index of each example that fails, and a sentence that explains how."""
    for place, example in enumerate(examples):
        failure = find_failure(decoder, example, zone)
        if failure:
            yield place, failure


def read_example(decoder: Decoder, example: ExampleConfig, zone: tzinfo = UTC) -> Readings:
    """Return the readings of an example; raises `DecodeError` if it is rejected."""
    text = example.payload
    payload = bytes.fromhex(example.payload_hex or "") if text is None else text.encode()
    context = Context(zone=zone, limits=replace(Limits(), earliest=_OLDEST))
    message = Message(example.topic, payload, example.received, retained=example.retained)
    check_topic(message.topic, context.limits)
    check_size(message.payload, context.limits.payload_bytes)
    readings = decoder.decode(message, context)
    return readings + context.states.joiner.close(context.limits)


def find_failure(decoder: Decoder, example: ExampleConfig, zone: tzinfo = UTC) -> str:
    """Return a sentence that explains how an example fails, or an empty string if it passes."""
    try:
        readings = read_example(decoder, example, zone)
    except DecodeError as error:
        failure = f"is rejected: {error.reason}: {error.detail}"
        return "" if error.reason.value == example.rejected else failure
    if example.rejected is not None:
        return f"is not rejected as {example.rejected}"
    if not readings:
        return "contains no reading"
    named = [r for r in readings if r.sensor == example.sensor]
    if not named:
        return f"comes from sensor {readings[0].sensor!r}, not {example.sensor!r}"
    return "; ".join(_compare(named[0], example))


def _compare(reading: Reading, example: ExampleConfig) -> Iterator[str]:
    for key in {**example.values, **reading.values}:
        got, want = reading.values.get(key), example.values.get(key)
        if got is None or want is None or not math.isclose(got, want, rel_tol=1e-6, abs_tol=1e-9):
            yield f"{key} is {_format(got)}, not {_format(want)}"
    pairs: list[tuple[str, Any, Any]] = [
        ("faults", set(reading.faults), set(example.faults)),
        ("events", set(reading.events), set(example.events)),
    ]
    if example.flags is not None:
        pairs.append(("flags", set(reading.flags), set(example.flags)))
    for what, found, wanted in pairs:
        if found != wanted:
            yield f"{what} are {_join(found)}, not {_join(wanted)}"
    if example.time is not None and abs(reading.time - example.time) > 1e-3:
        yield f"time is {reading.time:.3f}, not {example.time:.3f} (Unix seconds)"


def _format(value: float | None) -> str:
    return "absent" if value is None else f"{value:g}"


def _join(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
