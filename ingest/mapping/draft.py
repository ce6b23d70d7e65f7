"""Drafts of mappings, written as TOML with comments that mark every guess.

Anyone may have sent the data in a draft, so unprintable characters, quotes and backslashes are
escaped in keys, strings and comments. A payload can neither end its string nor hide anything from
the person who reads the text.
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
from ingest.mapping.examples import (
    MEANING,
    describe_faulty,
    find_failures,
    find_missing,
    read_example,
)
from ingest.mapping.schema import MappingConfig
from ingest.topics import TopicFilter
from ingest.validation import fold_id, make_sensor_id
from language.plain_text import pluralize
from storage.reading import NO_TIME

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import tzinfo

    from storage.reading import Reading

_HEADING: Final = (
    "# A suggestion. Check everything marked guess against the data sheet, especially units that",
    "# the payload does not give. Once it is in the configuration, `plumewatch check` runs its",
    "# examples.",
)
USUAL_UNIT: Final = "the usual unit"
"""Beginning of the reason for a unit that is guessed from the quantity alone."""
_BARE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_COLUMN: Final = 40
_EXAMPLES: Final = 3


class SuggestError(ValueError):
    """There is nothing to suggest; the error message explains why in one sentence."""


class ColumnsError(SuggestError):
    """The names of the columns, or the layout of the frame, are missing or wrong."""


def format_toml(value: object) -> str:
    r"""Return a value as TOML on one line.

    >>> print(format_toml(["pm2.5", {"where": "a\"'", "equals": True}]))
    ["pm2.5", { where = "a\"'", equals = true }]
    """
    if isinstance(value, dict):
        inner = ", ".join(f"{_format_key(str(k))} = {format_toml(v)}" for k, v in value.items())
        return "{ " + inner + " }" if inner else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(format_toml, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return _quote(str(value))


def _quote(text: str) -> str:
    if text.isprintable() and '"' in text and "'" not in text:
        return f"'{text}'"
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else f"\\U{ord(sign):08x}" for sign in quoted)


def _format_key(key: str) -> str:
    return key if key and set(key) <= _BARE else _quote(key)


@dataclass(slots=True)
class Entry:
    """Keys of one TOML table, some with a note."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, key: str, value: object, note: str = "") -> None:
        """Set the value and note of a key."""
        self.values[key] = value
        self.notes[key] = note

    def render_lines(self) -> list[str]:
        """Return one line of TOML for each key."""
        made = []
        for key, value in self.values.items():
            line = f"{key} = {format_toml(value)}"
            note = self.notes.get(key)
            made.append(f"{line:{_COLUMN}} # {note}" if note else line)
        return made


@dataclass(slots=True)
class Draft:
    """An unfinished mapping.

    `topic`: topic for the examples, which matches the filter.
    `questions`: lines that become comments, for a person to decide.
    """

    head: Entry
    topic: str
    fields: list[Entry] = field(default_factory=list)
    events: list[Entry] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    _sensors: dict[str, None] = field(default_factory=dict)

    def format(self, samples: Mapping[int, bytes], received: float, zone: tzinfo = UTC) -> str:
        """Return the mapping as TOML, with the first samples it reads as examples.

        Raises `SuggestError` if it reads no sample.
        """
        made = {n: self.make_example(sample, received, zone) for n, sample in samples.items()}
        shown = {n: entry for n, entry in made.items() if isinstance(entry, Entry)}
        if not shown:
            raise SuggestError(
                f"the suggestion cannot read any sample: {next(iter(made.values()))}"
            )
        examples = list(shown.values())[:_EXAMPLES]
        self.questions += [
            f"Sample {n} is not used as an example: {why}."
            for n, why in made.items()
            if isinstance(why, str)
        ]
        if len(shown) > _EXAMPLES:
            more = pluralize(len(shown) - _EXAMPLES, "more sample")
            self.questions.append(f"Read, but not shown: {more}.")
        quantities = [entry.values["quantity"] for entry in self.fields]
        missing = find_missing(quantities, has_time="time" in self.head.values)
        lines = [*_HEADING, *(f"# Note: {MEANING[word]}." for word in missing)]
        if faulty := describe_faulty(entry.values for entry in examples):
            lines.append(f"# Note: {faulty}: check its unit, scale and range.")
        lines += ["[[mapping]]", *self.head.render_lines()]
        for name, entries in (("field", self.fields), ("event", self.events)):
            for entry in entries:
                lines += ["", f"[[mapping.{name}]]", *entry.render_lines()]
        if self.questions:
            lines += ["", *(f"# {line}".rstrip() for line in self.questions)]
        for entry in examples:
            lines += ["", "[[mapping.example]]", *entry.render_lines()]
        lines += ["", "# Each sensor then gets a room:"]
        for sensor in self._sensors:
            lines += ["# [[sensor]]", f"# id = {format_toml(sensor)}", '# room = "..."']
        text = "\n".join(lines) + "\n"
        _verify(text, zone)
        return text

    def make_example(self, payload: bytes, received: float, zone: tzinfo) -> Entry | str:
        """Return a sample and the reading in it as an example, or why there is no reading."""
        shown: dict[str, Any] = {"topic": self.topic}
        try:
            shown["payload"] = payload.decode("utf-8")
        except UnicodeDecodeError:
            shown["payload_hex"] = payload.hex()
        try:
            reading = self._read(shown, received, zone)
            if "time" in self.head.values and "late" in reading.flags:
                received = reading.time
                reading = self._read(shown, received, zone)
        except DecodeError as error:
            return error.detail
        except (ValueError, IndexError):
            return "it contains no reading"
        shown |= {"received": received, "sensor": reading.sensor}
        if not NO_TIME & set(reading.flags):
            shown["time"] = reading.time
        found = {
            "values": reading.values,
            "faults": list(reading.faults),
            "events": list(reading.events),
        }
        return Entry(shown | {key: value for key, value in found.items() if value})

    def _read(self, shown: dict[str, Any], received: float, zone: tzinfo) -> Reading:
        mapping = MappingConfig.model_validate(
            {
                **self.head.values,
                "field": [entry.values for entry in self.fields],
                "event": [entry.values for entry in self.events],
                "example": [{**shown, "received": received, "rejected": "no_measurement"}],
            }
        )
        readings = read_example(compile_mapping(mapping), mapping.example[0], zone)
        self._sensors |= dict.fromkeys(reading.sensor for reading in readings)
        return readings[0]


def fix_topic(text: str, topic: str) -> str:
    """Return a suggestion that reads only this topic, without captures."""
    mapping = tomllib.loads(text)["mapping"][0]
    fixed: dict[str, object] = {"topic": topic}
    if "path" not in mapping["sensor"] and "each" not in mapping:
        fixed["sensor"] = {"fixed": mapping["example"][0]["sensor"]}
    return _change_head(text, mapping, fixed)


def add_levels(text: str, topic: str, places: Collection[int]) -> str:
    """Return a suggestion that adds these levels of the topic to the sensor's name."""
    mapping = tomllib.loads(text)["mapping"][0]
    levels, own = mapping["topic"].split("/"), mapping["sensor"].get("capture")
    names = {k: f"level{k + 1}" for k in places if not _CAPTURE.fullmatch(levels[k])}
    if own is None or not names:
        return text
    names[levels.index(f"{{{own}}}")] = own
    captures = [{"capture": names[k]} for k in sorted(names)]
    named = make_sensor_id(":".join(topic.split("/")[k] for k in sorted(names)))
    levels = [f"{{{names[k]}}}" if k in names else level for k, level in enumerate(levels)]
    old, new = (f"\nsensor = {format_toml(s)}" for s in (mapping["example"][0]["sensor"], named))
    text = _change_head(text, mapping, {"topic": "/".join(levels), "sensor": captures})
    return text.replace(old, new)


def _change_head(text: str, mapping: Mapping[str, Any], changes: Mapping[str, object]) -> str:
    for key, value in changes.items():
        old, new = (f"\n{key} = {format_toml(part)}" for part in (mapping[key], value))
        text = text.replace(old, new, 1)
    return text


def find_guessed_units(text: str) -> list[tuple[str, str, str]]:
    """Return the quantity, unit and reason of each guessed unit in a suggestion."""
    found = _GUESSED_UNIT.finditer(text)
    return [(one["quantity"], one["unit"], one["why"]) for one in found]


def find_left_out(text: str) -> tuple[list[str], list[str]]:
    """Return the paths of values that a suggestion leaves out, and of VOC without a unit."""
    found = [(one["path"], one["voc"]) for one in _LEFT_OUT.finditer(text)]
    return [path for path, _ in found if path], [voc for _, voc in found if voc]


def _verify(text: str, zone: tzinfo) -> None:
    """Parse the text as part of a configuration, and run its examples."""
    try:
        mapping = MappingConfig.model_validate(tomllib.loads(text)["mapping"][0])
        failed = list(find_failures(compile_mapping(mapping), mapping.example, zone))
    except ValueError as error:
        raise SuggestError("the sample cannot be written as a mapping") from error
    if failed:
        raise SuggestError(f"the suggestion contradicts its sample: {failed[0][1]}")


_GUESSED_UNIT: Final = re.compile(
    r'^quantity = "(?P<quantity>\w+)".*\nunit = (?P<unit>"[^"]*") +# guess: (?P<why>.*)$',
    re.MULTILINE,
)
_LEFT_OUT: Final = re.compile(
    r"^# (?:  (?P<path>\[.*?\]) = .*|(?P<voc>\[.*\]) measures VOC; .*)$", re.MULTILINE
)
_CAPTURE: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\+?\}")
_VERSION: Final = re.compile(r"v?\d{1,2}(?:\.\d{1,2})?", re.IGNORECASE)
_OF_NAMES: Final = ("sensor", "device", "id", "node", "name", "mac", "serial")


def make_slug(text: str) -> str:
    """Make a name for a mapping from a topic or from a name that a person entered.

    >>> make_slug("Site/{room}/Détecteur 7/state")
    'site-detecteur-7-state'
    """
    plain = unicodedata.normalize("NFKD", _CAPTURE.sub("", text)).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", plain.lower())
    return "-".join(words)[:40].strip("-") or "device"


def start_draft(
    topic: str, name: str, form: str, ids: Sequence[str], path: list[Any], metric: int = -1
) -> Draft:
    """Return a draft with a topic filter and the source of the sensor's name.

    `ids`: values of the payload that may name the device, best first.
    `path`: path of the first of them in the payload.
    `metric`: index of the topic level that names the quantity, or -1.

    Raises `SuggestError` if the topic cannot be turned into a filter.
    """
    levels = topic.split("/")
    if {"+", "#"} & set(levels):
        raise SuggestError("give the topic of a message, or one with {captures}, without + and #")
    example = "/".join(
        f"{found[1]}-1" if (found := _CAPTURE.fullmatch(level)) else level for level in levels
    )
    try:
        if _CAPTURE.search(topic):
            captures = TopicFilter(topic).captures
            likely = [c for c in captures if any(w in c for w in _OF_NAMES)]
            capture = (likely or list(captures))[-1]
            why, is_weak = "this capture names the sensor", False
        else:
            place, why, is_weak = _find_place(levels, set(map(fold_id, ids)), metric)
            capture = "id" if place >= 0 else ""
            names = {place: "{id}", metric: "{metric}", -1: ""}
            topic = "/".join(names.get(i) or level for i, level in enumerate(levels))
            TopicFilter(topic)
    except ValueError as error:
        raise SuggestError(f"the topic cannot be used as a filter: it must be {error}") from error
    head = Entry({"version": 1, "name": make_slug(name or example), "topic": topic, "format": form})
    if ids and (is_weak or not capture):
        head.add("sensor", {"path": path}, "guess: this key names the device")
    elif capture:
        head.add("sensor", {"capture": capture}, f"guess: {why}")
    else:
        head.add("sensor", {"fixed": levels[-1]}, "guess: one sensor sends under this topic")
    return Draft(head, example)


def _find_place(levels: list[str], ids: set[str], metric: int) -> tuple[int, str, bool]:
    """Find the topic level that names the sensor.

    Return its index (-1 if there is none), the reason, and whether the reason is weak.
    """
    free = [i for i, level in enumerate(levels) if level and i != metric]
    named = [i for i in free if fold_id(levels[i]) in ids]
    if not free or (len(free) < 2 and metric < 0):
        return -1, "", True
    if named:
        return named[-1], "the payload contains the same name", False
    with_digits = [
        i
        for i in free
        if any(c.isdigit() for c in levels[i]) and _VERSION.fullmatch(levels[i]) is None
    ]
    above = [i for i in free if i < metric]
    if above and not any(i > metric for i in with_digits):
        return above[-1], "the level above the quantity", above[-1] not in with_digits
    if with_digits:
        return with_digits[-1], "this level looks like a device name", False
    if len(free) >= 3:
        return free[-2], "the next-to-last level", True
    return (free[-1] if len(free) == 2 else free[0]), "a level of the topic", True
