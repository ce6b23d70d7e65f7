"""Propose a mapping for a topic, based on samples, for a person to check and paste.

Quantities are guessed from well-known names (`ingest.names`). If the name or the payload gives the
unit, that unit is used; otherwise the unit is a guess and is marked as such. A value that could be
several quantities (``tvoc`` without a unit) is left out, and a comment lists the choices.

Anyone may have sent the samples. So their size, their depth and their number of values are
limited, nothing in them is executed, and everything in the output is escaped
(`ingest.mapping.draft`).
"""

from __future__ import annotations

import contextlib
import math
import re
from datetime import UTC
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detection.quantities import FINE_PARTICLES, QUANTITIES, describe_unit, is_unlikely
from ingest.errors import DecodeError
from ingest.mapping.draft import (
    USUAL_UNIT,
    ColumnsError,
    Draft,
    Entry,
    SuggestError,
    format_toml,
    start_draft,
)
from ingest.mapping.schema import Pick
from ingest.mapping.source import follow_path, parse, parse_csv
from ingest.mapping.times import find_form, is_time
from ingest.names import (
    UNIT_KEYS,
    USUAL_QUANTITIES,
    VALUE_KEYS,
    WORDS,
    find_conversion,
    find_quantity,
    find_unit,
    find_units,
    is_of_room,
    list_units,
    replace_comma,
    split_unit,
    strip_unit,
)
from ingest.validation import Limits, parse_number, parse_time
from language.plain_text import pluralize, suggest_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo

Steps = tuple[Any, ...]
Leaves = dict[Steps, list[Any]]
"""The values in all samples, by path."""

_MAX_SAMPLE: Final = 16_384
_MAX_SAMPLES: Final = 32
_MAX_LEAVES: Final = 200
_MAX_FIELDS: Final = 32
_DEPTH: Final = 6
_LIMITS: Final = Limits()
_FORMS: Final = ("json", "text", "form", "pairs", "csv")
"""Forms of payloads, in the order in which to try them."""
_PLAIN: Final = frozenset({*VALUE_KEYS, "reading", "current", "state"})
_IDENTITY: Final = frozenset(
    {"sensor_id", "device_id", "deviceid", "device", "sensor", "mac", "serial", "serialno", "id"}
    | {"sn", "eui", "deveui", "dev_eui", "uid", "uuid", "node", "dev", "station", "name"}
    | {"gerät", "geraet", "gerat", "kennung", "equipo", "dispositivo", "aparato"}
)
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d{1,6},(?:\d{1,2}|\d{4,})(?:\D.*)?")
"""Matches a number with a decimal comma. Three digits after it may be thousands."""
DEVICE_HAS_ONE: Final = frozenset({*FINE_PARTICLES, "tvoc_ppb", "tvoc_ugm3", "voc_index"})
"""Quantities that a device measures only once; a second value belongs to another device."""
_SIZE: Final = re.compile(r"(?<=_)p(?=\d)", re.IGNORECASE)
_NOT_AIR: Final = frozenset({"rssi", "battery", "light"})
_SENTINELS: Final = (65535, 65534, 32767, -1, -99, -999, -1000, -9999)
_LIKELIER: Final = {"temp": "degF", "rh": "fraction"}
"""Unit to guess if the values are unlikely in the usual unit; mg/m³ for other quantities."""


class _Meaning(NamedTuple):
    """Quantity and unit of a value; `source` is empty if the unit is a guess."""

    quantity: str
    unit: str
    source: str = ""

    def convert(self, raw: float) -> float:
        factor, addend = find_conversion(self.quantity, self.unit) or (1.0, 0.0)
        return raw * factor + addend

    def accepts(self, value: Any) -> bool:
        """Return whether the quantity can have this value in this unit."""
        raw = parse_number(value)
        return raw is None or QUANTITIES[self.quantity].accepts(self.convert(raw))

    def make_field(self, path: Steps, doubt: str = USUAL_UNIT) -> Entry:
        entry = Entry()
        entry.add("quantity", self.quantity, "guess: from its name")
        is_only = len(list_units(self.quantity)) == 1
        entry.add("unit", self.unit, self.source or ("" if is_only else f"guess: {doubt}"))
        entry.add("path", write_path(path))
        return entry


def suggest(
    topic: str,
    samples: Sequence[bytes],
    *,
    received: float,
    name: str = "",
    zone: tzinfo = UTC,
    columns: str = "",
    alone: bool = True,
) -> str:
    """Return a mapping as TOML, with examples that pass.

    `columns`: names of the columns, for CSV without a header.
    `alone`: whether nothing else reads the device. A mapping of only its signal strength would then
    be useless.

    Raises `SuggestError` if nothing in the samples is recognized.
    """
    usable = {n: s for n, s in enumerate(samples, 1) if 0 < len(s) <= _MAX_SAMPLE}
    if not usable:
        raise SuggestError(f"give at least one payload of 1 to {_MAX_SAMPLE} bytes")
    first = dict(islice(usable.items(), _MAX_SAMPLES))
    draft, alike = _Suggestion(topic, first, name, columns).read()
    quantities = [entry.values["quantity"] for entry in draft.fields]
    if alone and not draft.events and _NOT_AIR.issuperset(quantities):
        raise SuggestError(f"nothing in it measures air: {', '.join(quantities)}")
    for n in range(1, len(samples) + 1):
        if n not in first:
            why = f"the limit is {_MAX_SAMPLES}" if n in usable else f"over {_MAX_SAMPLE} bytes"
            draft.questions.append(f"Sample {n} is not read: {why}.")
    return draft.format(alike, received, zone)


class _Suggestion(NamedTuple):
    """The input for a suggestion; samples by number."""

    topic: str
    samples: dict[int, bytes]
    name: str
    columns: str

    def read(self) -> tuple[Draft, dict[int, bytes]]:
        """Draft a mapping; also return the samples it reads."""
        is_one = self._find_metric() >= 0
        parsed = {n: _parse_any(sample, is_one=is_one) for n, sample in self.samples.items()}
        read = {n: found for n, found in parsed.items() if found}
        if not read:
            is_xml = all(s.lstrip()[:1] == b"<" for s in self.samples.values())
            raise SuggestError(
                "XML is not supported: configure the device or a gateway to send JSON"
                if is_xml
                else "neither JSON, key=value text, a form, CSV nor a number"
            )
        form = next(iter(read.values()))[0]
        alike = {n: self.samples[n] for n, found in read.items() if found[0] == form}
        contents = [read[n][1] for n in alike]
        others = [n for n in self.samples if n not in alike]
        each = find_devices(contents[0])
        if self._is_bare(form, contents[0]):
            draft = self._draft_bare_value(form, contents)
        elif each is not None:
            draft = self._draft_devices(each, contents)
        elif form == "csv":
            headers = [n for n in others if b"=" not in self.samples[n]][:1]
            others = [n for n in others if n not in headers]
            lines = [self.samples[n] for n in headers]
            draft = self._draft_columns([*lines, *alike.values()], contents)
        else:
            draft = self._draft_values(form, contents)
        for n in others:
            its = read[n][0] if n in read else "unknown"
            draft.questions.append(f"Sample {n} is not read: it is {its}, the others are {form}.")
        return draft, alike

    def _start(self, form: str, ids: dict[Steps, str], metric: int = -1) -> Draft:
        path = write_path(next(iter(ids), ()))
        return start_draft(self.topic, self.name, form, [*ids.values()], path, metric)

    def _find_metric(self, *, named_inside: bool = False) -> int:
        """Return the topic level that names a quantity, or -1.

        `named_inside`: whether the payload has an unknown name for it, which `columns` explains.
        """
        levels = self.topic.split("/")
        places = [i for i, level in enumerate(levels) if look_up(level) or _may_be_voc(level)]
        if self.columns and not places and not named_inside:
            places = [i for i, level in enumerate(levels) if level.lower() not in _PLAIN]
        return places[-1] if places else -1

    def _is_bare(self, form: str, content: Any) -> bool:
        """Return whether a payload has one value, which its topic or a person names."""
        names = [name_of(path) for path, _ in walk(content)]
        is_named = any(look_up(name) or _may_be_voc(name) for name in names)
        bare = None if is_named else _find_bare(content)
        return form == "text" or (
            bare is not None
            and (self._find_metric() >= 0 or bool(_find_unit(bare, None, [content])))
        )

    def _draft_bare_value(self, form: str, contents: list[Any]) -> Draft:
        """Draft a mapping for bare values; the topic or `columns` names their quantity."""
        leaves, path = _collect(contents), _find_bare(contents[0]) or ()
        word = name_of(path)
        named_inside = word.lower() not in {*_PLAIN, ""}
        place = self._find_metric(named_inside=named_inside)
        if place >= 0:
            word = self.topic.split("/")[place]
        elif not (named_inside and self.columns):
            raise ColumnsError(
                "a bare value, and no level of the topic is the name of a known quantity; name it"
                " as columns, such as pm25"
            )
        draft = self._start(form, find_ids(leaves), metric=place)
        _use_comma(draft, leaves)
        meaning = look_up(self.columns or word, _find_unit(path, leaves[path][0], contents))
        if meaning is None and not _may_be_voc(self.columns or word):
            raise ColumnsError(
                f"columns: {format_toml(self.columns or word)} is not a known quantity"
            )
        if meaning is None:
            raise SuggestError(
                f"{format_toml(word)} measures VOC in ppb, ug/m3 or as an index; see the data sheet"
            )
        add_time(leaves, draft)
        draft.head.add("join_s", 1.0, "a sensor's values within this many seconds are one reading")
        if "{metric}" in draft.head.values["topic"]:
            condition = [{"capture": "metric", "equals": word}]
            draft.head.add("when", condition, "other topics of this device need their own mapping")
        draft.fields.append(meaning.make_field(path))
        return draft

    def _draft_devices(self, each: Steps, contents: list[Any]) -> Draft:
        """Draft a mapping for messages with several devices, in the list or object at `each`."""
        found = [f for c in contents if type(f := follow_path(c, each)) in (dict, list)]
        members = [i for f in found for i in (f.values() if type(f) is dict else f)]
        items = [item for item in members if _find_measured(item)]
        draft = self._draft_values("json", items)
        head, key = draft.head, {"capture": "key"}
        head.values.pop("when", None)
        head.add("each", {"path": write_path(each)}, "guess: each of these is a device")
        if each:
            head.add("when", [{"path": write_path(each), "present": True}])
        if ids := find_ids(_collect(items)):
            head.add("sensor", {"path": write_path(next(iter(ids)))}, "guess: names the device")
        elif all(type(f) is dict and not any(map(str.isdigit, f)) for f in found):
            head.add("sensor", key, "guess: the member's name names the device")
        elif "time" not in head.values:
            own = head.values["sensor"]
            head.add("sensor", [own, key], "guess: the message's name and the place in the message")
        if "time" not in head.values:
            add_time(_collect(contents), draft)
            if "time" in head.values:
                head.values["time"]["outer"] = True
        return draft

    def _draft_columns(self, samples: list[bytes], lines: list[list[str]]) -> Draft:
        """Draft a mapping for CSV; a header or `columns` names the columns."""
        width = len(lines[0])
        headers = (found for sample in samples if (found := parse_csv(sample)[0]))
        given = [part.strip() for part in re.split(r"[,;\t]", self.columns)]
        names = given if self.columns else [part.strip() for part in next(headers, [])]
        if names and len(names) != width:
            raise ColumnsError(
                f"columns: {pluralize(len(names), 'name')} for {pluralize(width, 'column')}"
            )
        for one, value in zip(names, lines[0], strict=True) if self.columns else ():
            check_column(one, value)
        names = names or [f"column {place}" for place in range(1, width + 1)]
        keys = [f"{one} {k + 1}" if one in names[:k] else one for k, one in enumerate(names)]
        rows = [dict(zip(keys, line, strict=False)) for line in lines]
        try:
            draft = self._draft_values("csv", rows)
        except SuggestError as error:
            raise ColumnsError(
                f"{error}; give their names as columns, such as time,pm25,rh (- for one to skip)"
            ) from error
        draft.head.values.pop("when", None)
        for entry in (draft.head, *draft.fields, *draft.events):
            for table in (entry.values, *entry.values.values()):
                if type(table) is dict and (path := table.get("path")):
                    table["path"] = [keys.index(path[0])]
                    entry.notes.setdefault("path", f"column {format_toml(path[0])}")
        return draft

    def _draft_values(self, form: str, contents: list[Any]) -> Draft:
        """Draft a mapping for payloads with several named values."""
        leaves = _collect(contents)
        ids = find_ids(leaves)
        draft = self._start(form, ids)
        _use_comma(draft, leaves)
        taken = {*ids, add_time(leaves, draft)}
        lines = [
            _describe(path, values[0])
            for path, values in leaves.items()
            if path not in taken and not self._add(draft, path, leaves, contents)
        ]
        if not draft.fields and not draft.events:
            found = "; ".join(line.strip() for line in lines[:8])
            raise SuggestError(
                "no name is a known quantity"
                + (f"; there is {found}" if found else "")
                + ("; a VOC value has no unit, see the data sheet" if draft.questions else "")
                + (f"; known names: {', '.join(USUAL_QUANTITIES)}, ..." if form != "csv" else "")
            )
        if lines:
            draft.questions += ["Left out:", *lines]
        # Require a key that all samples have, so that other decoders get the other messages.
        for key in (field.values["path"][0] for field in draft.fields):
            if type(key) is str and all(type(c) is dict and key in c for c in contents):
                draft.head.add("when", [{"path": [key], "present": True}])
                break
        return draft

    def _add(self, draft: Draft, path: Steps, leaves: Leaves, contents: list[Any]) -> bool:
        """Add a value to the draft as a field, event or question; return whether it is known."""
        values, word = leaves[path], name_of(path)
        value = values[0]
        if "tamper" in re.split(r"[^a-z]+", word.lower()) and type(value) in (bool, int):
            event = Entry({"event": "tamper", "path": write_path(path)})
            event.add("equals", type(value)(1), "guess: this value means tampering")
            draft.events.append(event)
            return True
        meaning = _guess(path, leaves, _find_unit(path, value, contents))
        field = _make_field(path, values, meaning)
        known = {entry.values["quantity"] for entry in draft.fields}
        if field and field.values["quantity"] not in known and len(known) < _MAX_FIELDS:
            draft.fields.append(field)
        elif _may_be_voc(word) and parse_number(value) is not None:
            draft.questions += [
                f"{format_toml(write_path(path))} measures VOC; see the data sheet for the unit:",
                "tvoc_ppb (ppb or ppm), tvoc_ugm3 (ug/m3 or mg/m3) or voc_index (index). None can",
                "be converted to another. Add a [[mapping.field]] for it.",
            ]
        else:
            is_unit = word.lower() in UNIT_KEYS and find_unit(value) is not None
            return value is None or is_unit or is_time(word, value)
        return True


def _collect(contents: list[Any]) -> Leaves:
    leaves: Leaves = {}
    for content in contents:
        for path, value in walk(content):
            if path in leaves or len(leaves) < _MAX_LEAVES:
                leaves.setdefault(path, []).append(value)
    return leaves


def _use_comma(draft: Draft, leaves: Leaves) -> None:
    """If numbers have decimal commas, add that to the draft, and replace them in `leaves`."""
    texts = (v.strip() for values in leaves.values() for v in values if type(v) is str)
    if any(map(_DECIMAL_COMMA.fullmatch, texts)):
        draft.head.add("decimal", ",", "guess: from the numbers")
        for path, values in leaves.items():
            leaves[path] = [replace_comma(v) if type(v) is str else v for v in values]


def _find_bare(content: Any) -> Steps | None:
    """Return the path of the first number whose name means nothing (``value``), or None."""
    found = (p for p, v in walk(content) if p and parse_number(strip_unit(v)) is not None)
    return next((p for p in found if type(p[-1]) is str and p[-1].lower() in _PLAIN), None)


def _find_measured(item: Any) -> set[str]:
    """Return the quantities that an object measures, unless it is one value with its name."""
    if type(item) is not dict or _pick(item) is not None:
        return set()
    found = (look_up(name_of(path)) for path, _ in walk(item))
    return {meaning.quantity for meaning in found if meaning}


def find_devices(content: Any, path: Steps = ()) -> Steps | None:
    """Return the path of a list or object with several devices, or None.

    Several objects that measure the same quantity are devices. In an object, this must be a
    quantity that a device measures once, since a device may have two chips that measure the
    temperature.
    """
    if type(content) not in (dict, list) or len(path) > _DEPTH:
        return None
    inner = content.items() if type(content) is dict else ()
    members = [v for k, v in inner if is_of_room(k)] if type(content) is dict else content
    measured = [found for item in members if (found := _find_measured(item))]
    if len(measured) > 1:
        shared = set.intersection(*measured)
        if shared and (type(content) is list or shared & DEVICE_HAS_ONE):
            return path
    found_inside = (find_devices(value, (*path, key)) for key, value in inner)
    return next((found for found in found_inside if found is not None), None)


def check_column(name: str, value: object = None) -> None:
    """Raise a `ColumnsError` if a person seems to have misspelled the name of a column."""
    if len(name) < 4 or look_up(name) or _may_be_voc(name) or is_time(name, value):
        return
    digits = re.sub(r"\D", "", name)
    known = {*QUANTITIES, "time", *(word for word in WORDS if look_up(word))}
    near = suggest_name(name, sorted(k for k in known if re.sub(r"\D", "", k) == digits))
    if near and name.lower() not in _IDENTITY:
        raise ColumnsError(
            f"{name!r} is not a known quantity{near} Give another name, or - to leave it out"
        )


def _parse_any(payload: bytes, *, is_one: bool) -> tuple[str, Any] | None:
    """Return the form and content of a payload; None if it has none of the known forms.

    `is_one`: whether the topic names one quantity, so ``12,3`` is a number and not two columns.
    """
    for form in _FORMS:
        if form in ("form", "pairs") and (form == "form") != (b"&" in payload):
            continue
        with contextlib.suppress(DecodeError):
            content = parse(form, payload, _LIMITS)
            if form == "text":
                if _DECIMAL_COMMA.fullmatch(content) and (is_one or not content[-1:].isdigit()):
                    content = replace_comma(content)
                is_read = parse_number(strip_unit(content)) is not None
            elif form == "csv":
                is_read = len(content) > 1
            elif form == "pairs":  # "10:05" is a time, not a pair
                is_read = any(key[0].isalpha() for key in content)
            else:
                is_read = type(content) in (dict, list) and content != {}
            if is_read:
                return form, content
    return None


def walk(content: Any, path: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """Yield each scalar value with its path; list items are identified by their name, if any."""
    if len(path) > _DEPTH:
        return
    if type(content) is dict:
        for key, value in content.items():
            if len(key) <= 128:
                yield from walk(value, (*path, key))
    elif type(content) is list:
        for place, item in enumerate(content[:64]):
            step = _pick(item)
            if step is not None:
                rest = {key: value for key, value in item.items() if key != step.where}
                yield from walk(rest, (*path, step))
            elif place < 4:
                yield from walk(item, (*path, place))
    else:
        yield path, content


def _pick(item: Any) -> Pick | None:
    """Return a step that finds a list item by the member that names its quantity, or None."""
    for key, value in item.items() if type(item) is dict else ():
        named = type(value) is str and len(value) <= 64 and (look_up(value) or _may_be_voc(value))
        if named and 0 < len(key) <= 128:
            return Pick(where=key, equals=value)
    return None


def find_ids(leaves: Leaves) -> dict[Steps, str]:
    """Return the values that may name the device, by path, best first."""
    found = [
        path
        for path in leaves
        if name_of(path).lower() in _IDENTITY
        and not any(isinstance(step, Pick) for step in path)
        and type(leaves[path][0]) in (str, int)
        and leaves[path][0] != ""
    ]
    found.sort(key=lambda path: (name_of(path).lower() == "name", len(path)))
    return {path: str(leaves[path][0]) for path in found}


def add_time(leaves: Leaves, draft: Draft) -> Steps | None:
    """Add the first value that is a time, based on its name, to the draft; return its path."""
    for path, (value, *_) in leaves.items():
        if not is_time(name_of(path), value):
            continue
        form = find_form(value)
        if not form:
            draft.questions.append(
                f"{format_toml(write_path(path))} = {_shorten(value)} is not a date and time"
                " (counted from boot?), so the receive time is used"
            )
            continue
        note = "guess: from its magnitude" if form.startswith("unix") else "guess: from its form"
        if form.startswith("%m"):
            note = "guess: month first, in the site's zone"
        if form == "iso8601":
            has_zone = parse_time(value, 0.0) is not None
            note = "" if has_zone else "guess: no zone given, so the site's zone"
        draft.head.add("time", {"path": write_path(path), "formats": [form]}, note)
        return path
    return None


def look_up(name: str, unit: str | None = None) -> _Meaning | None:
    """Return the meaning of a well-known name, with the unit of the payload if there is one."""
    meaning = find_quantity(name, unit)
    if meaning is not None:
        source = f"as the {'payload' if unit else 'name'} says" if meaning.unit else ""
        unit = meaning.unit or list_units(meaning.quantity)[0]
        return _Meaning(meaning.quantity, unit, source)
    if unit is None and name in QUANTITIES:
        return _Meaning(name, list_units(name)[0], "as the name says")
    return None


def _may_be_voc(name: str) -> bool:
    """Return whether a name means a VOC quantity that only the unit could identify."""
    return find_quantity(name) is None and find_quantity(name, "ppb") is not None


def _guess(path: Steps, leaves: Leaves, unit: str | None = None) -> _Meaning | None:
    """Return the meaning of a value's name, alone or combined with its parent's (``pm.p25``).

    ``P1`` next to ``P0`` or ``P2`` is not read as PM1, because Sensor.Community uses it for PM10.
    """
    word, two = name_of(path), "_".join(_find_names(path)[-2:])
    if word.lower() != "p1" or {"p0", "p2"}.isdisjoint(name_of(p).lower() for p in leaves):
        two = _SIZE.sub("", two)
    return look_up(word, unit) or look_up(two, unit)


def _find_unit(path: Steps, value: Any, contents: list[Any]) -> str | None:
    """Return the unit in a value's text (``"30.11 °C"``), or in a member next to it."""
    after = split_unit(value)[1] if type(value) is str else None
    if after and find_unit(after):
        return after
    beside = follow_path(contents[0], path[:-1])
    return find_units(beside).get(path[-1]) if type(beside) is dict else None


def _make_field(path: Steps, values: list[Any], meaning: _Meaning | None) -> Entry | None:
    numbers = [parse_number(strip_unit(value)) for value in values]
    plain = [n for n in numbers if n is not None and math.isfinite(n)]
    if meaning is None or not plain or any(type(value) is bool for value in values):
        return None
    quantity, doubt = meaning.quantity, f"{USUAL_UNIT}; the payload gives none"
    if not meaning.source and all(is_unlikely(quantity, meaning.convert(n)) for n in plain):
        doubt = describe_unit(quantity)
        meaning = meaning._replace(unit=_LIKELIER.get(quantity, "mg/m3"))
    entry = meaning.make_field(path, doubt)
    broken = [
        value
        for value, n in zip(values, numbers, strict=True)
        if n is not None
        and (n in _SENTINELS or not meaning.accepts(n))
        and len(str(value)) <= 128
        and not (type(value) is float and not math.isfinite(value))
    ]
    if broken:
        entry.add("missing", list(dict.fromkeys(broken))[:8], "guess: means a fault")
    return entry


def _find_names(path: Steps) -> list[str]:
    """Return the names in a path, without meaningless last names (``value``)."""
    words = [step.equals if isinstance(step, Pick) else step for step in path]
    texts = [word for word in words if type(word) is str]
    while len(texts) > 1 and texts[-1].lower() in _PLAIN:
        texts.pop()
    return texts


def name_of(path: Steps) -> str:
    """Return the last name in a path that means something, or an empty string."""
    return (_find_names(path) or [""])[-1]


def write_path(path: Steps) -> list[Any]:
    """Return a path in the form used in mappings."""
    return [{"where": s.where, "equals": s.equals} if isinstance(s, Pick) else s for s in path]


def _shorten(value: object) -> str:
    """Return a value as TOML, cut to 60 characters."""
    text = format_toml(value) if type(value) in (str, int, float, bool) else type(value).__name__
    return text if len(text) <= 60 else text[:59] + "…"


def _describe(path: Steps, value: Any) -> str:
    hint = f" (a time in {form}?)" if (form := find_form(value)) else ""
    return f"  {format_toml(write_path(path))} = {_shorten(value)}{hint}"
