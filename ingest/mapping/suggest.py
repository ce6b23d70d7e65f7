"""Propose a mapping for a topic from sample payloads; a person approves it by pasting it.

Quantities are guessed by well-known names (`ingest.names`). A unit that the name or the
payload states is taken; any other is a guess and marked as one. What could be several quantities (a
``tvoc`` without unit) is left out, with the choices in comments. Home Assistant discovery messages
among the samples tell quantities and units (`ingest.mapping.suggest_ha`).

The samples may come from anybody: their size, depth and number of values are bounded, nothing of
them is executed, and what is written is escaped (`ingest.mapping.draft`).
"""

from __future__ import annotations

import math
import re
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from detection.quantities import QUANTITIES
from ingest.errors import DecodeError
from ingest.firmware import version_of
from ingest.mapping.draft import Draft, Entry, SuggestError, toml_value
from ingest.mapping.schema import Pick
from ingest.mapping.source import parse, step_through
from ingest.mapping.suggest_topic import Named, named_topic, slug
from ingest.names import conversion, quantity_of, unit_in_name, unit_of, units_for
from ingest.validation import Limits, number, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import tzinfo

Steps = tuple[Any, ...]
Hints = dict[Steps, tuple[str, str]]
"""Quantity and unit by path, from discovery."""

_MAX_SAMPLE: Final = 16_384
_MAX_SAMPLES: Final = 32
_EXAMPLES: Final = 3
_MAX_LEAVES: Final = 200
_MAX_FIELDS: Final = 32
_DEPTH: Final = 6
_LIMITS: Final = Limits()
_IDENTITY: Final = frozenset(
    {"sensor_id", "device_id", "deviceid", "device", "sensor", "mac", "serial", "serialno", "id"}
    | {"sn", "eui", "deveui", "dev_eui", "uid", "uuid", "node", "dev", "station", "name"}
)
_TIME: Final = frozenset(
    {"time", "timestamp", "ts", "datetime", "unix", "date", "epoch", "last_seen", "utc"}
)
_FIRMWARE: Final = frozenset(
    {"firmware", "firmware_version", "firmwareversion", "fw", "fw_version", "fwversion"}
    | {"sw_version", "swversion"}
)
_PLAIN: Final = frozenset({"value", "val", "v", "reading", "current"})
_SENTINELS: Final = (65535, 65534, 32767, -1, -99, -999, -1000, -9999)
_SINCE_2001: Final = 1e9


def suggest(
    topic: str,
    samples: Sequence[bytes],
    *,
    received: float,
    name: str = "",
    zone: tzinfo = UTC,
    hints: Hints | None = None,
) -> str:
    """Return a mapping as TOML whose own examples pass.

    Raises `SuggestError`: nothing in it is understood.
    """
    usable = [s for s in samples[:_MAX_SAMPLES] if 0 < len(s) <= _MAX_SAMPLE]
    if not usable:
        raise SuggestError(f"give at least one payload of 1 to {_MAX_SAMPLE} bytes")
    form, contents = _understood(usable)
    if form == "text":
        return _bare(topic, usable, name).text(received, zone)
    leaves: dict[Steps, list[Any]] = {}
    for content in contents:
        for path, value in _leaves(content):
            if path in leaves or len(leaves) < _MAX_LEAVES:
                leaves.setdefault(path, []).append(value)
    draft = _structured(topic, form, leaves, contents, name, hints or {})
    fitting = [s for s in usable if _form(s) == form]
    draft.samples = [(named_topic(topic, None).example, s) for s in fitting[:_EXAMPLES]]
    return draft.text(received, zone)


def _understood(samples: list[bytes]) -> tuple[str, list[Any]]:
    forms = [_form(sample) for sample in samples]
    form = next((f for f in forms if f), "")
    if not form:
        raise SuggestError(
            "neither JSON, key=value text, a form nor a number; for binary payloads see"
            " docs/mappings.md: offsets cannot be guessed"
        )
    return form, [
        parse(form, sample, _LIMITS)
        for sample, its in zip(samples, forms, strict=True)
        if its == form
    ]


def _form(payload: bytes) -> str:
    """Form of a payload; empty if it is none of those we read."""
    for form in ("json", "text", "form" if b"&" in payload else "pairs"):
        try:
            content = parse(form, payload, _LIMITS)
        except DecodeError:
            continue
        if form == "json" and type(content) in (dict, list):
            return form
        if form == "text" and number(content) is not None:
            return form
        if form in ("form", "pairs") and content:
            return form
    return ""


def _leaves(content: Any, path: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """Values that are no object or list, with their paths; items of lists by their name."""
    if len(path) > _DEPTH:
        return
    if type(content) is dict:
        for key, value in content.items():
            if len(key) <= 128:
                yield from _leaves(value, (*path, key))
    elif type(content) is list:
        for place, item in enumerate(content[:64]):
            step = _pick(item)
            if step is not None or place < 4:
                yield from _leaves(item, (*path, place if step is None else step))
    else:
        yield path, content


def _pick(item: Any) -> Pick | None:
    """How to find an item of a list again: by the member whose text is a known name."""
    if type(item) is not dict:
        return None
    for key, value in item.items():
        named = type(value) is str and len(value) <= 64 and _meant(value, None)
        if named and 0 < len(key) <= 128:
            return Pick(where=key, equals=value)
    return None


def _words(path: Steps) -> list[str]:
    words = [step.equals if isinstance(step, Pick) else step for step in path]
    texts = [str(word) for word in words if type(word) is str]
    while len(texts) > 1 and texts[-1].lower() in _PLAIN:
        texts.pop()
    return texts


def _name(path: Steps) -> str:
    return (_words(path) or [""])[-1]


def _written(path: Steps) -> list[Any]:
    return [{"where": s.where, "equals": s.equals} if isinstance(s, Pick) else s for s in path]


def _structured(
    topic: str,
    form: str,
    leaves: Mapping[Steps, list[Any]],
    contents: list[Any],
    name: str,
    hints: Hints,
) -> Draft:
    ids = _named_by(leaves)
    named = named_topic(topic, ids.values())
    head = head_of(name or topic, named, form)
    draft = Draft(head)
    _identify(head, named, ids)
    _when(head, leaves, draft)
    _firmware(head, leaves)
    taken: set[str] = set()
    left: list[str] = []
    first: list[Steps] = []
    for path, values in leaves.items():
        entry = _field(path, values, hints.get(path), contents)
        if entry is not None and len(draft.fields) < _MAX_FIELDS:
            if entry.values["quantity"] not in taken:
                taken.add(entry.values["quantity"])
                draft.fields.append(entry)
                first.append(path)
        elif _tamper(path, values):
            draft.events.append(_tamper_entry(path, values))
        elif _may_be_voc(_name(path)) and number(values[0]) is not None:
            draft.questions += _voc_question(path)
        elif path not in ids and len(left) < 12 and _is_leftover(path, values[0]):
            left.append(f"  {toml_value(_written(path))} = {describe(values[0])}")
    if not draft.fields and not draft.events:
        found = "; ".join(line.strip() for line in left[:5])
        raise SuggestError(
            "no name in it is a known quantity"
            + (f"; numbers at {found}" if found else "")
            + ("; a VOC value without unit, see the data sheet" if draft.questions else "")
        )
    if left:
        draft.questions += ["Numbers that were not taken:", *left]
    _guard(head, first, contents)
    return draft


def head_of(name: str, named: Named, form: str) -> Entry:
    """Return the first keys of a mapping."""
    return Entry({"version": 1, "name": slug(name), "topic": named.filter, "format": form})


def _is_leftover(path: Steps, value: Any) -> bool:
    return type(value) in (int, float) and _name(path).lower() not in _TIME


def _named_by(leaves: Mapping[Steps, list[Any]]) -> dict[Steps, str]:
    """Return what the payload calls the device, by path; a mere ``name`` last."""
    found = [
        (path, values[0])
        for path, values in leaves.items()
        if not any(isinstance(step, Pick) for step in path)
        and _name(path).lower() in _IDENTITY
        and type(values[0]) in (str, int)
        and values[0] != ""
    ]
    found.sort(key=lambda pair: (_name(pair[0]).lower() == "name", len(pair[0])))
    return {path: str(value) for path, value in found}


def _identify(head: Entry, named: Named, ids: Mapping[Steps, str]) -> None:
    if ids and (named.weak or not named.capture):
        head.add("sensor", {"path": _written(next(iter(ids)))}, "guess: this key names the device")
    elif named.capture:
        head.add("sensor", {"capture": named.capture}, f"guess: {named.why}")
    else:
        head.add("sensor", {"fixed": named.fixed}, "guess: one sensor sends under this topic")


def _when(head: Entry, leaves: Mapping[Steps, list[Any]], draft: Draft) -> None:
    for path, values in leaves.items():
        if _name(path).lower() not in _TIME:
            continue
        forms, note = _time_form(values[0])
        if forms:
            head.add("time", {"path": _written(path), "formats": forms}, note)
            return
        draft.questions.append(
            f"{toml_value(_written(path))} = {describe(values[0])} is no time of day (since boot?):"
            " receive time is used"
        )


def _firmware(head: Entry, leaves: Mapping[Steps, list[Any]]) -> None:
    for path, values in leaves.items():
        if _name(path).lower() in _FIRMWARE and all(version_of(value) for value in values):
            head.add("firmware", {"path": _written(path)}, "guess: by its name")
            return


def _time_form(value: Any) -> tuple[list[str], str]:
    if type(value) is str and number(value) is None:
        local = parse_time(value, 0.0) is None
        if parse_time(value, 0.0, UTC) is None:
            return [], ""
        return ["iso8601"], "guess: without zone it is in the zone of the site" if local else ""
    plain = number(value)
    if plain is None or not math.isfinite(plain) or plain < _SINCE_2001:
        return [], ""
    for form, limit in (("unix_s", 1e11), ("unix_ms", 1e14), ("unix_us", 1e17)):
        if plain < limit:
            return [form], "guess: by its magnitude"
    return ["unix_ns"], "guess: by its magnitude"


def _guard(head: Entry, first: list[Steps], contents: list[Any]) -> None:
    """Ask for a key that all samples have, so that other messages of the topic pass on."""
    for key in (path[0] for path in first if path):
        if type(key) is str and all(type(c) is dict and key in c for c in contents):
            head.add("when", [{"path": [key], "present": True}])
            return


def _meant(name: str, unit: str | None) -> tuple[str, str, bool] | None:
    """Quantity, unit, and whether the unit is stated rather than guessed."""
    stated = unit_of(unit) if unit else unit_in_name(name)
    meaning = quantity_of(name, unit)
    if meaning is not None:
        found = (meaning.scale, meaning.offset)
        units = [u for u in units_for(meaning.quantity) if conversion(meaning.quantity, u) == found]
        return (meaning.quantity, units[0], bool(stated)) if units else None
    if unit is None and name in QUANTITIES:
        return name, units_for(name)[0], True
    return None


def _field(
    path: Steps, values: list[Any], hint: tuple[str, str] | None, contents: list[Any]
) -> Entry | None:
    numbers = [number(value) for value in values]
    plain = [n for n in numbers if n is not None and math.isfinite(n)]
    if not plain or any(type(value) is bool for value in values):
        return None
    if hint is not None:
        meant: tuple[str, str, bool] | None = (hint[0], hint[1], True)
        note = "as its discovery message says"
    else:
        unit = _unit_of_value(path, values, contents)
        meant = _meant(_name(path), unit) or _meant("_".join(_words(path)[-2:]), unit)
        note = "as the payload says" if unit else "as the name says"
    if meant is None:
        return None
    quantity, unit_key, stated = meant
    factor, addend = conversion(quantity, unit_key) or (1.0, 0.0)
    entry = Entry()
    entry.add("quantity", quantity, note if hint else "guess: by its name")
    entry.add("unit", unit_key, note if stated else f"guess: {_doubt(quantity, plain)}")
    entry.add("path", _written(path))
    broken = [
        value
        for value, n in zip(values, numbers, strict=True)
        if n is not None
        and (n in _SENTINELS or not QUANTITIES[quantity].accepts(n * factor + addend))
        and type(value) in (int, float, str)
        and len(str(value)) <= 128
        and not (type(value) is float and not math.isfinite(value))
    ]
    if broken:
        entry.add("missing", list(dict.fromkeys(broken))[:8], "guess: means a fault")
    return entry


def _doubt(quantity: str, plain: list[float]) -> str:
    if quantity == "temp" and max(plain) > 45:
        return "the usual unit; could this be degF?"
    return "the usual unit; the payload does not say"


def _unit_of_value(path: Steps, values: list[Any], contents: list[Any]) -> str | None:
    """Return the unit in a value's text (``"30.11 °C"``) or in a member `unit` beside it."""
    if type(values[0]) is str:
        after = values[0].strip().lstrip("0123456789+-.eE").strip()
        if after and unit_of(after):
            return after
    beside = step_through(contents[0], path[:-1])
    if type(beside) is dict:
        for key in ("unit", "units", "uom"):
            if type(beside.get(key)) is str and unit_of(beside[key]):
                return str(beside[key])
    return None


def _tamper(path: Steps, values: list[Any]) -> bool:
    words = re.split(r"[^a-z]+", _name(path).lower())
    return "tamper" in words and type(values[0]) in (bool, int)


def _tamper_entry(path: Steps, values: list[Any]) -> Entry:
    entry = Entry({"event": "tamper", "path": _written(path)})
    entry.add("equals", type(values[0])(1), "guess: this value means tampering")
    return entry


def _may_be_voc(name: str) -> bool:
    return quantity_of(name) is None and quantity_of(name, "ppb") is not None


def _voc_question(path: Steps) -> list[str]:
    return [
        f"{toml_value(_written(path))} is some measure of VOC; the data sheet says which one.",
        "They are never converted into each other. Take one of these:",
        "[[mapping.field]]",
        'quantity = "tvoc_ppb"    # unit = "ppb" or "ppm"',
        '# quantity = "tvoc_ugm3" # unit = "ug/m3" or "mg/m3"',
        '# quantity = "voc_index" # unit = "index"',
        'unit = "ppb"',
        f"path = {toml_value(_written(path))}",
        "",
    ]


def describe(value: object) -> str:
    """Return a value as a person may read it: TOML, cut to 60 characters."""
    text = toml_value(value) if type(value) in (str, int, float, bool) else type(value).__name__
    return text if len(text) <= 60 else text[:59] + "…"


def _bare(topic: str, samples: list[bytes], name: str) -> Draft:
    levels = topic.split("/")
    places = [i for i, level in enumerate(levels) if _meant(level, None) or _may_be_voc(level)]
    if not places:
        raise SuggestError(
            "a bare value, and no level of the topic is the name of a known quantity"
        )
    place = places[-1]
    word = levels[place]
    meant = _meant(word, None)
    if meant is None:
        raise SuggestError(
            f"{toml_value(word)} is some measure of VOC: ppb, ug/m3 or an index; see the data sheet"
        )
    quantity, unit, stated = meant
    named = named_topic(topic, None, metric=place)
    head = head_of(name or topic, named, "text")
    _identify(head, named, {})
    head.add("join_s", 1.0, "values of one sensor within this many seconds are one reading")
    entry = Entry()
    entry.add("quantity", quantity, "guess: by the topic")
    entry.add("unit", unit, "as the name says" if stated else "guess: the usual unit")
    entry.add("path", [])
    if "{metric}" in named.filter:
        condition = [{"capture": "metric", "equals": word}]
        entry.add("when", condition, "add a field for each of the other topics of this device")
    draft = Draft(head, [entry])
    draft.samples = [(named.example, sample) for sample in samples[:_EXAMPLES]]
    return draft
