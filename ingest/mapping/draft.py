"""A mapping in the making, and its text: TOML with what is a guess said in comments.

The text is made of data that anybody may have sent. Keys, texts and comments are written with
every character that is not printable, quotes and backslashes escaped, so that a payload can
neither end its string nor hide anything from the person who reads it.
"""

from __future__ import annotations

import json
import re
import tomllib
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from ingest.errors import DecodeError
from ingest.mapping.decoder import compile_mapping
from ingest.mapping.examples import MEANING, differences, lacking, read_example
from ingest.mapping.schema import MappingConfig
from ingest.topics import TopicFilter
from ingest.validation import fold_id
from storage.reading import NO_TIME

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from storage.reading import Reading

_HEADING: Final = (
    "# A suggestion. Check everything marked guess, above all the units: the data sheet",
    "# knows, the payload does not. In the configuration, `plumewatch check` then runs its",
    "# examples.",
)
SKELETON: Final = (
    "# A skeleton: the data sheet says which bytes are which value. Fill in the places, and",
    "# what the device shows into the examples; then `plumewatch check` compares them.",
)
_BARE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_COLUMN: Final = 40


class SuggestError(ValueError):
    """Nothing can be suggested; the message is one sentence."""


def toml_value(value: object) -> str:
    r"""Return a value as TOML on one line.

    >>> print(toml_value(["pm2.5", {"where": "a\"'", "equals": True}]))
    ["pm2.5", { where = "a\"'", equals = true }]
    """
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(str(k))} = {toml_value(v)}" for k, v in value.items())
        return "{ " + inner + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return _text(str(value))


def _text(text: str) -> str:
    if text.isprintable() and '"' in text and "'" not in text:
        return f"'{text}'"
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else f"\\U{ord(sign):08x}" for sign in quoted)


def _key(key: str) -> str:
    return key if key and set(key) <= _BARE else _text(key)


@dataclass(slots=True)
class Entry:
    """Keys of one table with a note behind some of them."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, key: str, value: object, note: str = "") -> None:
        """Set a key, with a note behind it."""
        self.values[key] = value
        self.notes[key] = note

    def lines(self) -> list[str]:
        """Return one line a key."""
        made = []
        for key, value in self.values.items():
            line = f"{key} = {toml_value(value)}"
            note = self.notes.get(key)
            made.append(f"{line:{_COLUMN}} # {note}" if note else line)
        return made


@dataclass(slots=True)
class Draft:
    """What was understood so far; `questions` are commented lines for a person to decide.

    `topic`: one that the filter matches, for the examples. A skeleton has places to fill in.
    """

    head: Entry
    topic: str
    fields: list[Entry] = field(default_factory=list)
    events: list[Entry] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    is_skeleton: bool = False

    def text(self, samples: Iterable[bytes], received: float, zone: tzinfo = UTC) -> str:
        """Return the mapping as TOML with examples that pass; `SuggestError` if it reads none."""
        shown = [self._example(sample, received, zone) for sample in samples]
        examples = [entry for entry in shown if entry is not None]
        if not examples:
            raise SuggestError("no sample holds a value that the suggestion could show")
        quantities = [entry.values["quantity"] for entry in self.fields]
        lacks = lacking(quantities, has_time="time" in self.head.values)
        lines = [
            *(SKELETON if self.is_skeleton else _HEADING),
            *(f"# Note: {MEANING[word]}." for word in lacks if not self.is_skeleton),
            "[[mapping]]",
            *self.head.lines(),
        ]
        events = [] if self.is_skeleton else self.events  # its only one shows the sensor
        for name, entries in (("field", self.fields), ("event", events)):
            for entry in entries:
                lines += ["", f"[[mapping.{name}]]", *entry.lines()]
        if self.questions:
            lines += ["", *(f"# {line}".rstrip() for line in self.questions)]
        for entry in examples:
            if self.is_skeleton:
                entry.values.pop("events")
                entry.add("values", {}, "fill in: what the device shows")
            lines += ["", "[[mapping.example]]", *entry.lines()]
        sensors = dict.fromkeys(entry.values["sensor"] for entry in examples)
        lines += ["", "# Each sensor then gets a room:"]
        for sensor in sensors:
            lines += ["# [[sensor]]", f"# id = {toml_value(sensor)}", '# room = "..."']
        text = "\n".join(lines) + "\n"
        if not self.is_skeleton:
            _prove(text, zone)
        return text

    def _example(self, payload: bytes, received: float, zone: tzinfo) -> Entry | None:
        shown: dict[str, Any] = {"topic": self.topic}
        try:
            shown["payload"] = payload.decode("utf-8")
        except UnicodeDecodeError:
            shown["payload_hex"] = payload.hex()
        try:
            reading = self._read(shown, received, zone)
            if reading is not None and "time" in self.head.values and "late" in reading.flags:
                received = reading.time
                reading = self._read(shown, received, zone)
        except (ValueError, DecodeError):
            return None
        if reading is None:
            return None
        shown |= {"received": received, "sensor": reading.sensor}
        if not NO_TIME & set(reading.flags):
            shown["time"] = reading.time
        found = {
            "firmware": reading.firmware,
            "values": reading.values,
            "faults": list(reading.faults),
            "events": list(reading.events),
        }
        return Entry(shown | {key: value for key, value in found.items() if value})

    def _read(self, shown: dict[str, Any], received: float, zone: tzinfo) -> Reading | None:
        mapping = MappingConfig.model_validate(
            {
                **self.head.values,
                "field": [entry.values for entry in self.fields],
                "event": [entry.values for entry in self.events],
                "example": [{**shown, "received": received, "nothing": True}],
            }
        )
        return next(iter(read_example(compile_mapping(mapping), mapping.example[0], zone)), None)


def _prove(text: str, zone: tzinfo) -> None:
    """Read the text back as a configuration does and run its examples."""
    try:
        mapping = MappingConfig.model_validate(tomllib.loads(text)["mapping"][0])
        failed = list(differences(compile_mapping(mapping), mapping.example, zone))
    except ValueError as error:
        raise SuggestError("the sample cannot be written as a mapping") from error
    if failed:
        raise SuggestError(f"the suggestion contradicts its sample: {failed[0][1]}")


_CAPTURE: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\+?\}")
_VERSION: Final = re.compile(r"v?\d{1,2}(?:\.\d{1,2})?", re.IGNORECASE)
_OF_NAMES: Final = ("sensor", "device", "id", "node", "name", "mac", "serial")


@dataclass(frozen=True, slots=True)
class Named:
    """A filter, where in it the sensor is named, and a topic that it matches.

    `fixed` is the name of the one sensor, if no capture names it. `why` this level is for the
    comment; `weak`: a key of the payload that names the device is better.
    """

    filter: str
    capture: str
    fixed: str
    why: str
    weak: bool
    example: str


def slug(text: str) -> str:
    """Return a name for a mapping, from a topic or what a person gave.

    >>> slug("Site/{room}/Détecteur 7/state")
    'site-detecteur-7-state'
    """
    plain = unicodedata.normalize("NFKD", _CAPTURE.sub("", text)).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", plain.lower())
    return "-".join(words)[:40].strip("-") or "device"


def named_topic(topic: str, ids: Iterable[str] | None, metric: int = -1) -> Named:
    """Return a filter for a topic.

    Raises `SuggestError`: no filter can be made of it.
    """
    levels = topic.split("/")
    if {"+", "#"} & set(levels):
        raise SuggestError("give the topic of a message, or one with {captures}, without + and #")
    example = "/".join(
        f"{found[1]}-1" if (found := _CAPTURE.fullmatch(level)) else level for level in levels
    )
    try:
        if _CAPTURE.search(topic):
            given = TopicFilter(topic)
            likely = [c for c in given.captures if any(w in c for w in _OF_NAMES)]
            capture = (likely or list(given.captures))[-1]
            why = "this capture names the sensor"
            return Named(topic, capture, "", why, weak=False, example=example)
        place, why, weak = _place(levels, set(map(fold_id, ids or ())), metric)
        names = {place: "id", metric: "metric"}
        text = "/".join(
            "{" + names[i] + "}" if i >= 0 and i in names else level
            for i, level in enumerate(levels)
        )
        TopicFilter(text)
    except ValueError as error:
        raise SuggestError(f"the topic cannot be a filter: it must be {error}") from error
    return Named(text, "id" if place >= 0 else "", levels[-1], why, weak, example)


def _place(levels: list[str], ids: set[str], metric: int) -> tuple[int, str, bool]:
    """Place of the level that names the sensor (-1 for none), why, and whether that is weak."""
    free = [i for i, level in enumerate(levels) if level and i != metric]
    named = [i for i in free if fold_id(levels[i]) in ids]
    if not free or (len(free) < 2 and metric < 0):
        return -1, "", True
    if named:
        return named[-1], "the payload names the device like this level", False
    with_digits = [
        i
        for i in free
        if any(c.isdigit() for c in levels[i]) and _VERSION.fullmatch(levels[i]) is None
    ]
    if with_digits:
        return with_digits[-1], "this level looks like the name of a device", False
    if len(free) >= 3:
        return free[-2], "the level before the last", True
    return (free[-1] if len(free) == 2 else free[0]), "a level of the topic", True
