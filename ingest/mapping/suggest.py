"""Propose a mapping for a topic from samples; a person approves it by pasting it.

Quantities are guessed by well-known names (`ingest.names`). A unit that the name or the
payload states is taken; any other is a guess and marked as one. What could be several quantities (a
``tvoc`` without unit) is left out, with the choices in comments.

Home Assistant discovery messages among the samples (`ingest.mapping.ha_discovery`) tell quantities
and units of the payloads. Alone they become a mapping too: those for one JSON topic its fields,
those for topics of one bare value each, which differ in one level, a joined mapping. A discovery
message holds no reading, so the examples are then made up and say so.

The samples may come from anybody: their size, depth and number of values are bounded, nothing of
them is executed, and what is written is escaped (`ingest.mapping.draft`).
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detection.quantities import QUANTITIES
from ingest.errors import DecodeError
from ingest.firmware import version_of
from ingest.mapping.draft import Draft, Entry, SuggestError, toml_value
from ingest.mapping.ha_discovery import Suggestion
from ingest.mapping.ha_discovery import suggest as read_discovery
from ingest.mapping.schema import Pick
from ingest.mapping.source import parse, step_through
from ingest.mapping.suggest_topic import Named, named_topic, slug
from ingest.mapping.topics import TopicFilter
from ingest.names import conversion, quantity_of, unit_in_name, unit_of, units_for
from ingest.validation import Limits, number, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import tzinfo

Steps = tuple[Any, ...]
Leaves = dict[Steps, list[Any]]
"""Values of all samples by path."""

_MAX_MESSAGES: Final = 256
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
_TYPICAL: Final = {
    "temp": 21.0,
    "rh": 40.0,
    "co2": 700.0,
    "pressure": 1013.0,
    "voc_index": 100.0,
    "rssi": -60.0,
    "battery": 90.0,
    "voc_raw": 30_000.0,
}
"""Values of made-up examples; 10 for any other quantity."""
_VOCS: Final = ("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw")
_FORMS: Final = ("json", "text", "form", "pairs")
"""Forms of payloads, in the order in which they are tried."""


class Meant(NamedTuple):
    """Quantity and unit of a value; `source` says where the unit is from, empty for a guess."""

    quantity: str
    unit: str
    source: str = ""
    known: str = "guess: by its name"

    def entry(self, path: Steps, doubt: str = "the usual unit") -> Entry:
        """Return the field of a mapping."""
        entry = Entry()
        entry.add("quantity", self.quantity, self.known)
        entry.add("unit", self.unit, self.source or f"guess: {doubt}")
        entry.add("path", _written(path))
        return entry


Ask = Callable[[str, str, Sequence[str]], str]
"""Gets the place of what a payload does not say (``data.voc``), a question, and examples of
answers; returns an answer, or nothing if it is not known."""


def _ask_nobody(_place: str, _question: str, _examples: Sequence[str]) -> str:
    return ""


def suggest_any(
    topic: str,
    samples: Sequence[bytes],
    *,
    received: float,
    name: str = "",
    zone: tzinfo = UTC,
    ask: Ask = _ask_nobody,
) -> str:
    """Return a mapping as TOML, whose examples pass, from payloads, discovery messages, or both.

    Raises `SuggestError`: nothing in it is understood, or an answer cannot be used.
    """
    found: list[Suggestion] = []
    payloads: list[bytes] = []
    for sample in samples[:_MAX_MESSAGES]:
        try:
            found.append(read_discovery(sample, _LIMITS))
        except DecodeError:
            payloads.append(sample)
    if payloads or not found:
        known = [message for message in found if message.state_topic == topic]
        draft = _of_payloads(topic, payloads, name, _hints(known), ask)
    else:
        draft = _of_discovery(found, name)
    return draft.text(received, zone)


def _hints(found: Iterable[Suggestion]) -> dict[Steps, Meant]:
    """Return what discovery messages of one topic tell, by path."""
    hints: dict[Steps, Meant] = {}
    for message in found:
        meant = _by_discovery(message)
        if meant is not None and message.path is not None:
            hints.setdefault(message.path, meant)
    return hints


def _of_payloads(
    topic: str, samples: Sequence[bytes], name: str, hints: Mapping[Steps, Meant], ask: Ask
) -> Draft:
    usable = [s for s in samples[:_MAX_SAMPLES] if 0 < len(s) <= _MAX_SAMPLE]
    if not usable:
        raise SuggestError(f"give at least one payload of 1 to {_MAX_SAMPLE} bytes")
    read = [(found, sample) for sample in usable if (found := _read(sample)) is not None]
    if not read:
        raise SuggestError(
            "neither JSON, key=value text, a form nor a number; for binary payloads see"
            " docs/mappings.md: offsets cannot be guessed"
        )
    form = read[0][0][0]
    if form == "text":
        return _bare_value(topic, usable, name, hints.get(()), ask)
    contents = [content for (its, content), _ in read if its == form]
    draft = _structured(topic, form, contents, name, hints, ask)
    example = named_topic(topic, None).example
    draft.samples = [(example, s) for (its, _), s in read if its == form][:_EXAMPLES]
    return draft


def _read(payload: bytes) -> tuple[str, Any] | None:
    """Return form and content of a payload; None if it is none of those we read."""
    for form in _FORMS:
        if form in ("form", "pairs") and (form == "form") != (b"&" in payload):
            continue
        with contextlib.suppress(DecodeError):
            content = parse(form, payload, _LIMITS)
            is_number = form == "text" and number(content) is not None
            if is_number or (form != "text" and type(content) in (dict, list) and content != {}):
                return form, content
    return None


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
    for key, value in item.items() if type(item) is dict else ():
        named = type(value) is str and len(value) <= 64 and _by_name(value)
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


def _named(leaves: Leaves, names: frozenset[str]) -> list[Steps]:
    """Return the paths that end in one of some names."""
    return [path for path in leaves if _name(path).lower() in names]


def _written(path: Steps) -> list[Any]:
    return [{"where": s.where, "equals": s.equals} if isinstance(s, Pick) else s for s in path]


def _structured(
    topic: str,
    form: str,
    contents: list[Any],
    name: str,
    hints: Mapping[Steps, Meant],
    ask: Ask = _ask_nobody,
) -> Draft:
    leaves: Leaves = {}
    for content in contents:
        for path, value in _leaves(content):
            if path in leaves or len(leaves) < _MAX_LEAVES:
                leaves.setdefault(path, []).append(value)
    ids = _ids(leaves)
    named = named_topic(topic, ids.values())
    draft = _started(name or topic, named, form, ids)
    _when(leaves, draft, ask)
    for path in _named(leaves, _FIRMWARE):
        if all(version_of(value) for value in leaves[path]):
            draft.head.add("firmware", {"path": _written(path)}, "guess: by its name")
            break
    left = _fill(draft, leaves, contents, {**hints, **_answers(leaves, contents, hints, ids, ask)})
    left = [path for path in left if path not in ids][:12]
    lines = [f"  {toml_value(_written(path))} = {_described(leaves[path][0])}" for path in left]
    if not draft.fields and not draft.events:
        found = "; ".join(line.strip() for line in lines[:5])
        raise SuggestError(
            "no name in it is a known quantity"
            + (f"; numbers at {found}" if found else "")
            + ("; a VOC value without unit, see the data sheet" if draft.questions else "")
        )
    if lines:
        draft.questions += ["Numbers that were not taken:", *lines]
    # All samples have this key, so that other messages of the topic pass on.
    for key in (field.values["path"][0] for field in draft.fields if field.values["path"]):
        if type(key) is str and all(type(c) is dict and key in c for c in contents):
            draft.head.add("when", [{"path": [key], "present": True}])
            break
    return draft


def _answers(
    leaves: Leaves,
    contents: list[Any],
    hints: Mapping[Steps, Meant],
    ids: Iterable[Steps],
    ask: Ask,
) -> dict[Steps, Meant]:
    """Ask what the payload does not say: which quantity a number is, and its unit."""
    found: dict[Steps, Meant] = {}
    for path, values in leaves.items():
        is_number = type(values[0]) in (int, float) or number(values[0]) is not None
        if path in hints or path in ids or not is_number or _is_tamper(path, values):
            continue
        meant = _by_name(_name(path), _unit_of_value(path, values, contents))
        if _name(path).lower() in _TIME or (meant is not None and meant.source):
            continue
        answer = _ask_meaning(_place_of(path), values[0], meant, ask)
        if answer is not None:
            found[path] = answer
    return found


def _ask_meaning(place: str, value: Any, guess: Meant | None, ask: Ask) -> Meant | None:
    """Ask for quantity and unit of a number; None if that is not known."""
    keys = [guess.quantity] if guess else [*_VOCS] if _may_be_voc(place.rpartition(".")[2]) else []
    examples = [f"{key} {unit}" for key in keys for unit in units_for(key)]
    if guess and len(examples) < 2:
        return None
    examples = examples or ["pm25 ug/m3", "tvoc_ppb ppb", "rh %"]
    answer = ask(place, f"which quantity and unit is {_described(value)}?", examples)
    if not answer:
        return None
    quantity, _, unit = answer.partition(" ")
    known = unit_of(unit.strip()) if quantity in QUANTITIES else None
    if known is None or conversion(quantity, known) is None:
        raise SuggestError(
            f"{place}: {answer!r} is no quantity with its unit, such as {', '.join(examples)}"
        )
    return Meant(quantity, known, "as answered", "as answered")


def _place_of(path: Steps) -> str:
    return ".".join(str(step.equals if isinstance(step, Pick) else step) for step in path)


def _fill(
    draft: Draft, leaves: Leaves, contents: list[Any], hints: Mapping[Steps, Meant]
) -> list[Steps]:
    """Add fields, events and questions; return the paths of numbers that are none of these."""
    left: list[Steps] = []
    taken: set[str] = set()
    for path, values in leaves.items():
        entry = _field(path, values, hints.get(path), contents)
        if entry is not None and len(draft.fields) < _MAX_FIELDS:
            if entry.values["quantity"] not in taken:
                taken.add(entry.values["quantity"])
                draft.fields.append(entry)
        elif _is_tamper(path, values):
            event = Entry({"event": "tamper", "path": _written(path)})
            event.add("equals", type(values[0])(1), "guess: this value means tampering")
            draft.events.append(event)
        elif _may_be_voc(_name(path)) and number(values[0]) is not None:
            draft.questions += _voc_question(path)
        elif type(values[0]) in (int, float) and _name(path).lower() not in _TIME:
            left.append(path)
    return left


def _started(name: str, named: Named, form: str, ids: Mapping[Steps, str]) -> Draft:
    head = Entry({"version": 1, "name": slug(name), "topic": named.filter, "format": form})
    if ids and (named.weak or not named.capture):
        head.add("sensor", {"path": _written(next(iter(ids)))}, "guess: this key names the device")
    elif named.capture:
        head.add("sensor", {"capture": named.capture}, f"guess: {named.why}")
    else:
        head.add("sensor", {"fixed": named.fixed}, "guess: one sensor sends under this topic")
    return Draft(head)


def _ids(leaves: Leaves) -> dict[Steps, str]:
    """Return what the payload calls the device, by path; a mere ``name`` last."""
    found = [
        path
        for path in _named(leaves, _IDENTITY)
        if not any(isinstance(step, Pick) for step in path)
        and type(leaves[path][0]) in (str, int)
        and leaves[path][0] != ""
    ]
    found.sort(key=lambda path: (_name(path).lower() == "name", len(path)))
    return {path: str(leaves[path][0]) for path in found}


def _when(leaves: Leaves, draft: Draft, ask: Ask) -> None:
    for path in _named(leaves, _TIME):
        value = leaves[path][0]
        form, note = _time_form(value)
        if form:
            time: dict[str, Any] = {"path": _written(path), "formats": [form]}
            if form == "iso8601" and note:
                question = f"in which time zone is {_described(value)}?"
                answer = ask(_place_of(path), question, ("site", "utc", "America/New_York"))
                if answer:
                    time["zone"], note = answer, "as answered"
            draft.head.add("time", time, note)
            return
        draft.questions.append(
            f"{toml_value(_written(path))} = {_described(value)} is no time of day (since boot?):"
            " receive time is used"
        )


def _time_form(value: Any) -> tuple[str, str]:
    plain = number(value)
    if type(value) is str and plain is None:
        if parse_time(value, 0.0, UTC) is None:
            return "", ""
        local = parse_time(value, 0.0) is None
        return "iso8601", "guess: without zone it is in the zone of the site" if local else ""
    if plain is None or not math.isfinite(plain) or plain < _SINCE_2001:
        return "", ""
    forms = (("unix_s", 1e11), ("unix_ms", 1e14), ("unix_us", 1e17), ("unix_ns", math.inf))
    return next(form for form, limit in forms if plain < limit), "guess: by its magnitude"


def _by_name(name: str, unit: str | None = None) -> Meant | None:
    meaning = quantity_of(name, unit)
    if meaning is not None:
        found = (meaning.scale, meaning.offset)
        units = [u for u in units_for(meaning.quantity) if conversion(meaning.quantity, u) == found]
        stated = unit_of(unit) if unit else unit_in_name(name)
        source = f"as the {'payload' if unit else 'name'} says" if stated else ""
        return Meant(meaning.quantity, units[0], source) if units else None
    if unit is None and name in QUANTITIES:
        return Meant(name, units_for(name)[0], "as the name says")
    return None


def _by_discovery(found: Suggestion) -> Meant | None:
    """Quantity and unit of a discovery message; None if it tells no quantity or no fitting unit."""
    if not found.quantity:
        return None
    unit = unit_of(found.unit) if found.unit else units_for(found.quantity)[0]
    if not unit or conversion(found.quantity, unit) is None:
        return None
    source = "as its discovery message says"
    return Meant(
        found.quantity, unit, source if found.unit else "guess: the message gives no unit", source
    )


def _field(path: Steps, values: list[Any], hint: Meant | None, contents: list[Any]) -> Entry | None:
    numbers = [number(value) for value in values]
    plain = [n for n in numbers if n is not None and math.isfinite(n)]
    if not plain or any(type(value) is bool for value in values):
        return None
    unit = _unit_of_value(path, values, contents)
    meant = hint or _by_name(_name(path), unit) or _by_name("_".join(_words(path)[-2:]), unit)
    if meant is None:
        return None
    hot = meant.quantity == "temp" and max(plain) > 45
    doubt = "could this be degF?" if hot else "the payload does not say"
    entry = meant.entry(path, f"the usual unit; {doubt}")
    factor, addend = conversion(meant.quantity, meant.unit) or (1.0, 0.0)
    accepts = QUANTITIES[meant.quantity].accepts
    broken = [
        value
        for value, n in zip(values, numbers, strict=True)
        if n is not None
        and (n in _SENTINELS or not accepts(n * factor + addend))
        and type(value) in (int, float, str)
        and len(str(value)) <= 128
        and not (type(value) is float and not math.isfinite(value))
    ]
    if broken:
        entry.add("missing", list(dict.fromkeys(broken))[:8], "guess: means a fault")
    return entry


def _unit_of_value(path: Steps, values: list[Any], contents: list[Any]) -> str | None:
    """Return the unit in a value's text (``"30.11 °C"``) or in a member `unit` beside it."""
    if type(values[0]) is str:
        after = values[0].strip().lstrip("0123456789+-.eE").strip()
        if after and unit_of(after):
            return after
    beside = step_through(contents[0], path[:-1])
    found = [beside.get(key) for key in ("unit", "units", "uom")] if type(beside) is dict else []
    return next((str(u) for u in found if type(u) is str and unit_of(u)), None)


def _is_tamper(path: Steps, values: list[Any]) -> bool:
    words = re.split(r"[^a-z]+", _name(path).lower())
    return "tamper" in words and type(values[0]) in (bool, int)


def _may_be_voc(name: str) -> bool:
    return quantity_of(name) is None and quantity_of(name, "ppb") is not None


def _voc_question(path: Steps) -> list[str]:
    place = toml_value(_written(path))
    return f"""{place} is some measure of VOC; the data sheet says which one.
They are never converted into each other. Take one of these:
[[mapping.field]]
quantity = "tvoc_ppb"    # unit = "ppb" or "ppm"
# quantity = "tvoc_ugm3" # unit = "ug/m3" or "mg/m3"
# quantity = "voc_index" # unit = "index"
unit = "ppb"
path = {place}
""".split("\n")


def _described(value: object) -> str:
    """Return a value as a person may read it: TOML, cut to 60 characters."""
    text = toml_value(value) if type(value) in (str, int, float, bool) else type(value).__name__
    return text if len(text) <= 60 else text[:59] + "…"


def _bare_value(topic: str, samples: list[bytes], name: str, hint: Meant | None, ask: Ask) -> Draft:
    levels = topic.split("/")
    places = [i for i, level in enumerate(levels) if _by_name(level) or _may_be_voc(level)]
    if not places and hint is None:
        raise SuggestError(
            "a bare value, and no level of the topic is the name of a known quantity"
        )
    place = places[-1] if places else max(len(levels) - 2, 0)
    meant = hint or _by_name(levels[place])
    if meant is None or not meant.source:
        meant = (
            _ask_meaning(levels[place], samples[0].decode("utf-8", "replace"), meant, ask) or meant
        )
    if meant is None:
        raise SuggestError(
            f"{toml_value(levels[place])} is some measure of VOC: ppb, ug/m3 or an index; see the"
            " data sheet"
        )
    draft = _bare(name, place, {topic: meant})
    example = named_topic(topic, None, metric=place).example
    draft.samples = [(example, sample) for sample in samples[:_EXAMPLES]]
    return draft


def _bare(name: str, place: int, topics: Mapping[str, Meant | None]) -> Draft:
    """Return the draft of topics of one bare value each, which differ in the level at `place`."""
    first = next(iter(topics))
    named = named_topic(first, None, metric=place)
    draft = _started(name or first, named, "text", {})
    draft.head.add("join_s", 1.0, "values of one sensor within this many seconds are one reading")
    for topic, meant in topics.items():
        word = topic.split("/")[place]
        if meant is None or len(draft.fields) >= _MAX_FIELDS:
            draft.questions.append(f"Not taken: {toml_value(word)}")
            continue
        entry = meant.entry(())
        if "{metric}" in named.filter:
            note = "add a field for each of the other topics of this device"
            condition = [{"capture": "metric", "equals": word}]
            entry.add("when", condition, note if len(topics) == 1 else "")
        draft.fields.append(entry)
    return draft


def _of_discovery(found: list[Suggestion], name: str) -> Draft:
    ((state, count),) = Counter(message.state_topic for message in found).most_common(1)
    if "{" in state:
        raise SuggestError("the state topic has braces, which a filter cannot hold")
    if count > 1 or found[0].path:
        found = [message for message in found if message.state_topic == state]
        draft = _one_topic(state, found, name)
    else:
        draft = _many_topics(found, name)
    if not draft.fields:
        raise SuggestError("no discovery message tells a known quantity with a unit that fits it")
    draft.head.notes["topic"] = "guess: which level names the sensor"
    draft.questions.append("The examples are made up from discovery messages: put in real ones.")
    _add_availability(draft, found[0])
    return draft


def _made_up(meant: Meant) -> float:
    factor, addend = conversion(meant.quantity, meant.unit) or (1.0, 0.0)
    return round((_TYPICAL.get(meant.quantity, 10.0) - addend) / factor, 3)


def _one_topic(state: str, found: Sequence[Suggestion], name: str) -> Draft:
    hints = {path: meant for path, meant in _hints(found).items() if path}
    payload: dict[str, Any] = {}
    for path, meant in hints.items():
        inner = payload
        for step in path[:-1]:
            below = inner.setdefault(step, {})
            inner = below if type(below) is dict else {}
        inner[path[-1]] = _made_up(meant)
    if not payload:
        raise SuggestError("no discovery message tells a known quantity with a unit that fits it")
    draft = _structured(state, "json", [payload], name, hints)
    for message in found:
        if message.path in hints:
            continue
        what = toml_value(list(message.path)) if message.path else "a template, or all of it"
        draft.questions.append(f"Not taken: {what}")
    draft.samples = [(state, json.dumps(payload).encode())]
    return draft


def _many_topics(found: Sequence[Suggestion], name: str) -> Draft:
    topics = [message.state_topic.split("/") for message in found]
    alike = [t for t in topics if len(t) == len(topics[0])]
    places = [i for i, words in enumerate(zip(*alike, strict=True)) if len(set(words)) > 1]
    if len(alike) < len(topics) or len(places) > 1:
        raise SuggestError(
            "the discovery messages are of several devices; give those of one at a time"
        )
    place = places[0] if places else max(len(topics[0]) - 2, 0)
    known = {t.state_topic: _by_discovery(t) if t.path == () else None for t in found}
    draft = _bare(name, place, known)
    meant = [(topic, value) for topic, value in known.items() if value is not None]
    draft.samples = [(topic, repr(_made_up(value)).encode()) for topic, value in meant[:8]]
    return draft


def _add_availability(draft: Draft, found: Suggestion) -> None:
    levels = found.state_topic.split("/")
    filtered = draft.head.values["topic"].split("/")
    if not found.availability or "{id}" not in filtered:
        return
    word = levels[filtered.index("{id}")]
    will = ["{id}" if level == word else level for level in found.availability[0].split("/")]
    if will.count("{id}") == 1 and will != filtered:
        with contextlib.suppress(ValueError):
            draft.availability = Entry({"topic": TopicFilter("/".join(will)).text})
