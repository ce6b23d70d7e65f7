"""Propose a mapping for a topic from samples; a person approves it by pasting it.

Quantities are guessed by well-known names (`ingest.names`). A unit that the name or the payload
states is taken; any other is a guess, marked as one, or asked for. What could be several quantities
(a ``tvoc`` without unit) is left out, with the choices in comments.

The samples may come from anybody: their size, depth and number of values are bounded, nothing of
them is executed, and what is written is escaped (`ingest.mapping.draft`).
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from detection.quantities import QUANTITIES
from detection.unlikely import is_unlikely, looks_like
from ingest.errors import DecodeError
from ingest.mapping.draft import Draft, Entry, SuggestError, named_topic, slug, toml_value
from ingest.mapping.frames import EXAMPLES, Frame, frame_in, place_of, skeleton
from ingest.mapping.schema import Pick, check_zone
from ingest.mapping.source import csv_of, parse, step_through
from ingest.mapping.times import form_of, is_time
from ingest.names import conversion, quantity_of, unit_in_name, unit_of, units_for
from ingest.validation import Limits, number, parse_time, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import tzinfo

T = TypeVar("T")
Steps = tuple[Any, ...]
Leaves = dict[Steps, list[Any]]
"""Values of all samples by path."""
Ask = Callable[[str, str, Sequence[str]], str]
"""Gets the place of what a payload does not say (``data.voc``), a question, and examples of
answers; returns an answer, or nothing if it is not known."""

_MAX_SAMPLE: Final = 16_384
_MAX_SAMPLES: Final = 32
_MAX_LEAVES: Final = 200
_MAX_FIELDS: Final = 32
_EXAMPLES: Final = 3
_TRIES: Final = 3
_DEPTH: Final = 6
_LIMITS: Final = Limits()
_FORMS: Final = ("json", "text", "form", "pairs", "csv")
"""Forms of payloads, in the order in which they are tried."""
_PLAIN: Final = frozenset({"value", "val", "v", "reading", "current"})
_VOCS: Final = ("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw")
_IDENTITY: Final = frozenset(
    {"sensor_id", "device_id", "deviceid", "device", "sensor", "mac", "serial", "serialno", "id"}
    | {"sn", "eui", "deveui", "dev_eui", "uid", "uuid", "node", "dev", "station", "name"}
)
_FIRMWARE: Final = frozenset(
    {"firmware", "firmware_version", "firmwareversion", "fw", "fw_version", "fwversion"}
    | {"sw_version", "swversion"}
)
_SIZE: Final = re.compile(r"(?<=_)p(?=\d)", re.IGNORECASE)
_SENTINELS: Final = (65535, 65534, 32767, -1, -99, -999, -1000, -9999)


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


def suggest(
    topic: str,
    samples: Sequence[bytes],
    *,
    received: float,
    name: str = "",
    zone: tzinfo = UTC,
    columns: str = "",
    ask: Ask = lambda _place, _question, _examples: "",
) -> str:
    """Return a mapping as TOML, whose examples pass, or a skeleton for frames of bytes.

    `columns` are the names of those of CSV without a header. Raises `SuggestError`: nothing in it
    is understood, or an answer cannot be used.
    """
    usable = [s for s in samples[:_MAX_SAMPLES] if 0 < len(s) <= _MAX_SAMPLE]
    if not usable:
        raise SuggestError(f"give at least one payload of 1 to {_MAX_SAMPLE} bytes")
    try:
        draft, alike = _of_names(topic, usable, name, columns, ask)
    except SuggestError:
        draft, alike = _of_frames(topic, usable, name, ask)
        if not alike:
            raise
    return draft.text(alike[:_EXAMPLES], received, zone)


def _of_names(
    topic: str, samples: list[bytes], name: str, columns: str, ask: Ask
) -> tuple[Draft, list[bytes]]:
    """Return the draft of payloads whose values have names, and the samples that it reads."""
    read = [(found, sample) for sample in samples if (found := _read(sample)) is not None]
    if not read:
        raise SuggestError(
            "neither JSON, key=value text, a form, CSV, a number nor bytes in hex or base64"
        )
    form = read[0][0][0]
    contents, alike = zip(*((found[1], s) for found, s in read if found[0] == form), strict=True)
    headers: list[bytes] = []
    if form == "text":
        draft = _bare_value(topic, alike[0], name, ask)
    elif form == "csv":
        headers = [s for s in samples if s not in alike and b"=" not in s]
        draft = _columns(topic, [*headers[:1], *alike], contents, name, columns, ask)
    else:
        draft = _structured(topic, form, [*contents], name, ask)
    if others := [s for s in samples if s not in (*alike, *headers[:1])]:
        shown = "; ".join(_described(s.decode("utf-8", "replace")) for s in others[:_EXAMPLES])
        count = f"{len(others)} of {len(samples)} samples"
        draft.questions.append(f"Not read: {count}, as the others are {form}: {shown}.")
    return draft, [*alike]


def _columns(
    topic: str,
    samples: Sequence[bytes],
    lines: Sequence[list[str]],
    name: str,
    columns: str,
    ask: Ask,
) -> Draft:
    """Return the draft of CSV, whose columns have names in a header or in an answer."""
    width = len(lines[0])

    def split(text: str) -> list[str]:
        names = [part.strip() for part in re.split(r"[,;\t]", text)]
        if len(names) != width:
            raise ValueError(f"{len(names)} names for {width} columns")
        return names

    header = columns or next((",".join(found) for s in samples if (found := csv_of(s)[0])), "")
    question = f"what are the names of the columns of {_described(samples[-1].decode())}?"
    examples = ("time,pm25,rh,temp", "sensor,pm25 (ug/m3)")
    names = _until_right(lambda *_: header, "columns", "", (), split) or _until_right(
        ask, "columns", question, examples, split
    )
    names = names or [f"column {place}" for place in range(1, width + 1)]
    keys = [f"{one} {k + 1}" if one in names[:k] else one for k, one in enumerate(names)]
    rows = [dict(zip(keys, line, strict=False)) for line in lines]
    try:
        draft = _structured(topic, "csv", rows, name, ask)
    except SuggestError as error:
        raise SuggestError(f"{error}; give the names of the columns: --columns") from error
    draft.head.values.pop("when", None)
    for entry in (draft.head, *draft.fields, *draft.events):
        for table in (entry.values, *entry.values.values()):
            if type(table) is dict and (path := table.get("path")):
                table["path"] = [keys.index(path[0])]
                entry.notes.setdefault("path", f"column {toml_value(path[0])}")
    return draft


def _of_frames(topic: str, samples: list[bytes], name: str, ask: Ask) -> tuple[Draft, list[bytes]]:
    """Return the draft of frames of bytes and the samples that have one; ask for their fields."""
    found = [(frame, sample) for sample in samples if (frame := frame_in(sample))]
    first: Frame | None = found[0][0] if found else None
    alike = [(f, s) for f, s in found if first and f[:3] == first[:3]]
    frames = [frame for frame, _ in alike][:_EXAMPLES]
    ids = {}
    if first and first.form == "json":
        contents = [_read(sample) for _, sample in alike[:1]]
        ids = _ids({path: [v] for c in contents if c for path, v in _leaves_in(c[1])})
    draft = _started(topic, name, first.form if first else "raw", ids)
    places: list[Entry] = []
    shown = " / ".join(frame.content.hex(" ") for frame in frames)
    while frames and len(places) < _MAX_FIELDS:
        so_far = ", ".join(place.values["quantity"] for place in places)
        question = f"which value is where in {shown[:400]}?" + (f" So far {so_far}" * bool(so_far))
        place = _until_right(
            ask,
            "bytes",
            question,
            EXAMPLES,
            lambda text: place_of(text, [f.content for f in frames]),
        )
        if place is None:
            break
        places.append(place)
    if frames:
        draft = skeleton(draft.head, draft.topic, frames, places)
    return draft, [sample for _, sample in alike]


def _until_right(
    ask: Ask, place: str, question: str, examples: Sequence[str], read: Callable[[str], T]
) -> T | None:
    """Ask until an answer can be read, at most `_TRIES` times; None if it is not known."""
    fault = ""
    for _ in range(_TRIES):
        answer = ask(place, f"{fault}; {question}" if fault else question, examples)
        if not answer:
            return None
        try:
            return read(answer)
        except ValueError as error:
            fault = str(error)
    raise SuggestError(f"{place}: {fault}")


def _read(payload: bytes) -> tuple[str, Any] | None:
    """Return form and content of a payload; None if it is none of those we read."""
    for form in _FORMS:
        if form in ("form", "pairs") and (form == "form") != (b"&" in payload):
            continue
        with contextlib.suppress(DecodeError):
            content = parse(form, payload, _LIMITS)
            if form == "text":
                is_read = number(content) is not None
            elif form == "csv":
                is_read = len(content) > 1
            elif form == "pairs":  # a time of day is none
                is_read = any(key[0].isalpha() for key in content)
            else:
                is_read = type(content) in (dict, list) and content != {}
            if is_read:
                return form, content
    return None


def _started(topic: str, name: str, form: str, ids: Mapping[Steps, str], metric: int = -1) -> Draft:
    """Return a draft that says how to find the sensor's name."""
    named = named_topic(topic, ids.values(), metric)
    head = Entry({"version": 1, "name": slug(name or topic), "topic": named.filter, "format": form})
    if ids and (named.weak or not named.capture):
        head.add("sensor", {"path": _written(next(iter(ids)))}, "guess: this key names the device")
    elif named.capture:
        head.add("sensor", {"capture": named.capture}, f"guess: {named.why}")
    else:
        head.add("sensor", {"fixed": named.fixed}, "guess: one sensor sends under this topic")
    return Draft(head, named.example)


# --- one bare value a topic ------------------------------------------------------------------


def _bare_value(topic: str, sample: bytes, name: str, ask: Ask) -> Draft:
    """Return the draft of topics that differ in the level that names the quantity."""
    levels = topic.split("/")
    places = [i for i, level in enumerate(levels) if meaning_of_name(level) or may_be_voc(level)]
    if not places:
        raise SuggestError(
            "a bare value, and no level of the topic is the name of a known quantity"
        )
    place = places[-1]
    word = levels[place]
    meant = meaning_of_name(word)
    if meant is None or not meant.source:
        meant = _ask_meaning(word, sample.decode("utf-8", "replace"), meant, ask) or meant
    if meant is None:
        raise SuggestError(
            f"{toml_value(word)} is some measure of VOC: ppb, ug/m3 or an index; see the data sheet"
        )
    draft = _started(topic, name, "text", {}, metric=place)
    draft.head.add("join_s", 1.0, "values of one sensor within this many seconds are one reading")
    if "{metric}" in draft.head.values["topic"]:
        condition = [{"capture": "metric", "equals": word}]
        draft.head.add("when", condition, "the other topics of this device need mappings like it")
    draft.fields.append(meant.entry(()))
    return draft


# --- several values in one payload -----------------------------------------------------------


def _structured(topic: str, form: str, contents: list[Any], name: str, ask: Ask) -> Draft:
    leaves: Leaves = {}
    for content in contents:
        for path, value in _leaves_in(content):
            if path in leaves or len(leaves) < _MAX_LEAVES:
                leaves.setdefault(path, []).append(value)
    ids = _ids(leaves)
    draft = _started(topic, name, form, ids)
    _add_time(leaves, draft, ask)
    versions = (p for p in _named(leaves, _FIRMWARE) if all(map(version_of, leaves[p])))
    if (version := next(versions, None)) is not None:
        draft.head.add("firmware", {"path": _written(version)}, "guess: by its name")
    left = _fill(draft, leaves, contents, _answers(leaves, contents, ids, ask))
    time = draft.head.values.get("time", {}).get("path")
    left = [p for p in left if p not in ids and p != version and _written(p) != time]
    lines = [_line_of(path, leaves[path][0]) for path in left]
    if not draft.fields and not draft.events:
        found = "; ".join(line.strip() for line in lines[:5])
        raise SuggestError(
            "no name in it is a known quantity"
            + (f"; there is {found}" if found else "")
            + ("; a VOC value without unit, see the data sheet" if draft.questions else "")
        )
    if lines:
        draft.questions += ["Not taken:", *lines]
    # All samples have this key, so that other messages of the topic pass on.
    for key in (field.values["path"][0] for field in draft.fields if field.values["path"]):
        if type(key) is str and all(type(c) is dict and key in c for c in contents):
            draft.head.add("when", [{"path": [key], "present": True}])
            break
    return draft


def _leaves_in(content: Any, path: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """Values that are no object or list, with their paths; items of lists by their name."""
    if len(path) > _DEPTH:
        return
    if type(content) is dict:
        for key, value in content.items():
            if len(key) <= 128:
                yield from _leaves_in(value, (*path, key))
    elif type(content) is list:
        for place, item in enumerate(content[:64]):
            step = _pick(item)
            if step is not None or place < 4:
                yield from _leaves_in(item, (*path, place if step is None else step))
    else:
        yield path, content


def _pick(item: Any) -> Pick | None:
    """How to find an item of a list again: by the member whose text is a known name."""
    for key, value in item.items() if type(item) is dict else ():
        named = type(value) is str and len(value) <= 64 and meaning_of_name(value)
        if named and 0 < len(key) <= 128:
            return Pick(where=key, equals=value)
    return None


def _named(leaves: Leaves, names: frozenset[str]) -> list[Steps]:
    return [path for path in leaves if _word_of(path).lower() in names]


def _ids(leaves: Leaves) -> dict[Steps, str]:
    found = [
        path
        for path in _named(leaves, _IDENTITY)
        if not any(isinstance(step, Pick) for step in path)
        and type(leaves[path][0]) in (str, int)
        and leaves[path][0] != ""
    ]
    found.sort(key=lambda path: (_word_of(path).lower() == "name", len(path)))
    return {path: str(leaves[path][0]) for path in found}


def _add_time(leaves: Leaves, draft: Draft, ask: Ask) -> None:
    """Take the first time stamp of those that their names tell, or else an answer."""
    for path in sorted(leaves, key=lambda path: not is_time(_word_of(path), leaves[path][0])):
        place, value = _place_of(path), leaves[path][0]
        form, is_named = form_of(value), is_time(_word_of(path), value)
        if is_named and not form:
            draft.questions.append(
                f"{toml_value(_written(path))} = {_described(value)} is no time of day (since"
                " boot?): receive time is used"
            )
        if not form or not (is_named or _meaning(path, leaves) is None):
            continue
        time: dict[str, Any] = {"path": _written(path), "formats": [form]}
        note = "guess: by its magnitude"
        if form == "iso8601" and is_named:
            note = ""
            if parse_time(value, 0.0) is None:
                note = "guess: without zone it is in the zone of the site"
                question = f"in which time zone is {_described(value)}?"
                zones = ("site", "UTC", "America/New_York")
                if zone := _until_right(ask, place, question, zones, check_zone):
                    time["zone"], note = zone, "as answered"
        else:
            words, question = (form, "none"), f"is {_described(value)} the time of the reading?"
            answer = _until_right(ask, place, question, words, partial(_one_of, words)) or ""
            if answer == "none" or not (answer or is_named):
                continue
            note = "as answered" if answer else note
        draft.head.add("time", time, note)
        return


def _one_of(words: Sequence[str], answer: str) -> str:
    if answer not in words:
        raise ValueError(f"{answer!r} is neither {' nor '.join(words)}")
    return answer


def _answers(
    leaves: Leaves, contents: list[Any], ids: Iterable[Steps], ask: Ask
) -> dict[Steps, Meant]:
    """Ask for what names and units leave open."""
    found: dict[Steps, Meant] = {}
    for path, values in leaves.items():
        is_number = type(values[0]) in (int, float) or number(values[0]) is not None
        if path in ids or not is_number or _is_tamper(path, values):
            continue
        meant = _meaning(path, leaves, _unit_of_value(path, values, contents))
        is_sure = meant.source if meant else form_of(values[0])
        if is_sure or is_time(_word_of(path), values[0]):
            continue
        answer = _ask_meaning(_place_of(path), values[0], meant, ask)
        if answer is not None:
            found[path] = answer
    return found


def _fill(
    draft: Draft, leaves: Leaves, contents: list[Any], answers: Mapping[Steps, Meant]
) -> list[Steps]:
    """Add fields, events and questions; return the paths of values that are none of these."""
    left: list[Steps] = []
    taken: set[str] = set()
    for path, values in leaves.items():
        unit = _unit_of_value(path, values, contents)
        entry = _field(path, values, answers.get(path) or _meaning(path, leaves, unit))
        if entry and entry.values["quantity"] not in taken and len(draft.fields) < _MAX_FIELDS:
            taken.add(entry.values["quantity"])
            draft.fields.append(entry)
        elif _is_tamper(path, values):
            event = Entry({"event": "tamper", "path": _written(path)})
            event.add("equals", type(values[0])(1), "guess: this value means tampering")
            draft.events.append(event)
        elif may_be_voc(_word_of(path)) and number(values[0]) is not None:
            draft.questions += _voc_question(path)
        elif values[0] is not None and not is_time(_word_of(path), values[0]):
            left.append(path)
    return left


def _field(path: Steps, values: list[Any], meant: Meant | None) -> Entry | None:
    numbers = [number(value) for value in values]
    plain = [n for n in numbers if n is not None and math.isfinite(n)]
    if meant is None or not plain or any(type(value) is bool for value in values):
        return None
    factor, addend = conversion(meant.quantity, meant.unit) or (1.0, 0.0)
    is_odd = all(is_unlikely(meant.quantity, n * factor + addend) for n in plain)
    doubt = looks_like(meant.quantity) if is_odd else "the payload does not say"
    entry = meant.entry(path, f"the usual unit; {doubt}")
    broken = [
        value
        for value, n in zip(values, numbers, strict=True)
        if n is not None
        and (n in _SENTINELS or not _can_be(meant.quantity, meant.unit, n))
        and len(str(value)) <= 128
        and not (type(value) is float and not math.isfinite(value))
    ]
    if broken:
        entry.add("missing", list(dict.fromkeys(broken))[:8], "guess: means a fault")
    return entry


def _is_tamper(path: Steps, values: list[Any]) -> bool:
    words = re.split(r"[^a-z]+", _word_of(path).lower())
    return "tamper" in words and type(values[0]) in (bool, int)


# --- what a value means ----------------------------------------------------------------------


def meaning_of_name(name: str, unit: str | None = None) -> Meant | None:
    """Return what a well-known name means, with the unit of the payload if there is one."""
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


def may_be_voc(name: str) -> bool:
    """Whether a name is some measure of VOC that only its unit would tell."""
    return quantity_of(name) is None and quantity_of(name, "ppb") is not None


def _meaning(path: Steps, leaves: Leaves, unit: str | None = None) -> Meant | None:
    """Return what the name of a value means, alone or after its parent's (``pm.p25``).

    ``P1`` beside ``P0`` or ``P2`` is PM10 at Sensor.Community: not guessed.
    """
    word, two = _word_of(path), "_".join(_words_of(path)[-2:])
    if word.lower() != "p1" or {"p0", "p2"}.isdisjoint(_word_of(p).lower() for p in leaves):
        two = _SIZE.sub("", two)
    return meaning_of_name(word, unit) or meaning_of_name(two, unit)


def _unit_of_value(path: Steps, values: list[Any], contents: list[Any]) -> str | None:
    """Return the unit in a value's text (``"30.11 °C"``) or in a member `unit` beside it."""
    if type(values[0]) is str:
        after = values[0].strip().lstrip("0123456789+-.eE").strip()
        if after and unit_of(after):
            return after
    beside = step_through(contents[0], path[:-1])
    found = [beside.get(key) for key in ("unit", "units", "uom")] if type(beside) is dict else []
    return next((str(u) for u in found if type(u) is str and unit_of(u)), None)


def _ask_meaning(place: str, value: Any, guess: Meant | None, ask: Ask) -> Meant | None:
    """Ask for quantity and unit of a number; None if that is not known."""
    keys = [guess.quantity] if guess else [*_VOCS] if may_be_voc(place.rpartition(".")[2]) else []
    examples = [f"{k} {unit}" for k in keys for unit in units_for(k) if _can_be(k, unit, value)]
    if guess and len(examples) < 2:
        return None
    examples = examples or ["pm25 ug/m3", "tvoc_ppb ppb", "rh %"]

    def meant(answer: str) -> Meant:
        quantity, _, unit = answer.partition(" ")
        known = unit_of(unit.strip()) if quantity in QUANTITIES else None
        if known is None or conversion(quantity, known) is None:
            such = ", ".join(examples)
            raise ValueError(f"{answer!r} is no quantity with its unit, such as {such}")
        return Meant(quantity, known, "as answered", "as answered")

    question = f"which quantity and unit is {_described(value)}?"
    return _until_right(ask, place, question, examples, meant)


def _can_be(quantity: str, unit: str, value: Any) -> bool:
    factor, addend = conversion(quantity, unit) or (1.0, 0.0)
    raw = number(value)
    return raw is None or QUANTITIES[quantity].accepts(raw * factor + addend)


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


# --- paths -----------------------------------------------------------------------------------


def _words_of(path: Steps) -> list[str]:
    """Return the names in a path, without a last one that says nothing (``value``)."""
    words = [step.equals if isinstance(step, Pick) else step for step in path]
    texts = [word for word in words if type(word) is str]
    while len(texts) > 1 and texts[-1].lower() in _PLAIN:
        texts.pop()
    return texts


def _word_of(path: Steps) -> str:
    """Return the name of a value: the last one of its path."""
    return (_words_of(path) or [""])[-1]


def _written(path: Steps) -> list[Any]:
    """Return a path as a mapping writes it."""
    return [{"where": s.where, "equals": s.equals} if isinstance(s, Pick) else s for s in path]


def _place_of(path: Steps) -> str:
    """Return a path as people say it: ``data.voc``."""
    return ".".join(str(step.equals if isinstance(step, Pick) else step) for step in path)


def _described(value: object) -> str:
    """Return a value as a person may read it: TOML, cut to 60 characters."""
    text = toml_value(value) if type(value) in (str, int, float, bool) else type(value).__name__
    return text if len(text) <= 60 else text[:59] + "…"


def _line_of(path: Steps, value: Any) -> str:
    hint = f" (a time in {form}?)" if (form := form_of(value)) else ""
    return f"  {toml_value(_written(path))} = {_described(value)}{hint}"
