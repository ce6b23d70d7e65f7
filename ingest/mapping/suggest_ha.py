"""Propose a mapping from Home Assistant discovery messages (`ingest.mapping.ha_discovery`).

Messages for one JSON topic become its fields; messages for topics of one bare value each, which
differ in one level, become a joined mapping. A discovery message holds no reading, so the examples
are made up and say so. With real payloads among the samples the discovery messages only tell
quantities and units.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from ingest.errors import DecodeError
from ingest.mapping.draft import Draft, Entry, SuggestError, toml_value
from ingest.mapping.ha_discovery import Suggestion
from ingest.mapping.ha_discovery import suggest as read_discovery
from ingest.mapping.suggest import head_of, suggest
from ingest.mapping.suggest_topic import named_topic
from ingest.mapping.topics import TopicFilter
from ingest.names import conversion, unit_of, units_for
from ingest.validation import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

_LIMITS: Final = Limits()
_MAX_MESSAGES: Final = 256
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


def suggest_any(
    topic: str, samples: Sequence[bytes], *, received: float, name: str = "", zone: tzinfo = UTC
) -> str:
    """Return a mapping as TOML from payloads, discovery messages, or both.

    Raises `SuggestError`: nothing in it is understood.
    """
    found: list[Suggestion] = []
    payloads: list[bytes] = []
    for sample in samples[:_MAX_MESSAGES]:
        suggestion = _discovery(sample)
        if suggestion is None:
            payloads.append(sample)
        else:
            found.append(suggestion)
    if payloads or not found:
        hints = {t.path: _meant(t) for t in found if t.path and t.state_topic == topic}
        known = {path: meant for path, meant in hints.items() if meant is not None}
        bare = [t for t in found if t.path == () and t.state_topic == topic]
        try:
            return suggest(
                topic, payloads, received=received, name=name, zone=zone, hints=dict(known)
            )
        except SuggestError:
            if not bare:
                raise
        return _many_topics(bare[:1], name).text(received, zone)
    ((state, count),) = Counter(t.state_topic for t in found).most_common(1)
    if count > 1 or found[0].path:
        draft = _one_topic([t for t in found if t.state_topic == state], name)
    else:
        draft = _many_topics(found, name)
    return draft.text(received, zone)


def _discovery(sample: bytes) -> Suggestion | None:
    try:
        return read_discovery(sample, _LIMITS)
    except DecodeError:
        return None


def _meant(found: Suggestion) -> tuple[str, str] | None:
    """Quantity and unit of a discovery message; None if it tells no quantity or no fitting unit."""
    if not found.quantity:
        return None
    unit = unit_of(found.unit) if found.unit else units_for(found.quantity)[0]
    if not unit or conversion(found.quantity, unit) is None:
        return None
    return found.quantity, unit


def _entry(found: Suggestion, meant: tuple[str, str], path: list[str]) -> Entry:
    entry = Entry({"quantity": meant[0]})
    note = "as its discovery message says" if found.unit else "guess: the message gives no unit"
    entry.add("unit", meant[1], note)
    entry.add("path", path)
    return entry


def _raw(quantity: str, unit: str) -> float:
    factor, addend = conversion(quantity, unit) or (1.0, 0.0)
    return round((_TYPICAL.get(quantity, 10.0) - addend) / factor, 3)


def _one_topic(found: list[Suggestion], name: str) -> Draft:
    draft = _started(found[0], name, "json")
    payload: dict[str, Any] = {}
    for message in found:
        meant = _meant(message)
        if meant is None or not message.path or len(draft.fields) >= 32:
            what = toml_value(list(message.path)) if message.path else "a template, or all of it"
            draft.questions.append(f"Not taken: {what}")
            continue
        if any(meant[0] == entry.values["quantity"] for entry in draft.fields):
            continue
        inner = payload
        for step in message.path[:-1]:
            below = inner.setdefault(step, {})
            inner = below if type(below) is dict else {}
        inner[message.path[-1]] = _raw(*meant)
        draft.fields.append(_entry(message, meant, list(message.path)))
    _must_have(draft)
    draft.samples = [(found[0].state_topic, json.dumps(payload).encode())]
    return draft


def _many_topics(found: list[Suggestion], name: str) -> Draft:
    topics = [t.state_topic.split("/") for t in found]
    alike = [t for t in topics if len(t) == len(topics[0])]
    places = [i for i, words in enumerate(zip(*alike, strict=True)) if len(set(words)) > 1]
    if len(alike) < len(topics) or len(places) > 1:
        raise SuggestError(
            "the discovery messages are of several devices; give those of one at a time"
        )
    place = places[0] if places else max(len(topics[0]) - 2, 0)
    draft = _started(found[0], name, "text", place)
    draft.head.add("join_s", 1.0, "values within this many seconds are one reading")
    for message in found:
        word = message.state_topic.split("/")[place]
        meant = _meant(message)
        if meant is None or message.path != () or len(draft.fields) >= 32:
            draft.questions.append(f"Not taken: {toml_value(word)}")
            continue
        entry = _entry(message, meant, [])
        entry.values["when"] = [{"capture": "metric", "equals": word}]
        draft.fields.append(entry)
        draft.samples.append((message.state_topic, repr(_raw(*meant)).encode()))
    _must_have(draft)
    draft.samples = draft.samples[:8]
    return draft


def _started(found: Suggestion, name: str, form: str, metric: int = -1) -> Draft:
    if "{" in found.state_topic:
        raise SuggestError("the state topic has braces, which a filter cannot hold")
    named = named_topic(found.state_topic, None, metric)
    head = head_of(name or found.state_topic, named, form)
    head.notes["topic"] = "guess: which level names the sensor"
    head.values["sensor"] = {"capture": named.capture} if named.capture else {"fixed": named.fixed}
    draft = Draft(head)
    draft.questions.append("The examples are made up from discovery messages: put in real ones.")
    levels, filtered = found.state_topic.split("/"), named.filter.split("/")
    if found.availability and "{id}" in filtered:
        word = levels[filtered.index("{id}")]
        will = ["{id}" if level == word else level for level in found.availability[0].split("/")]
        if will.count("{id}") == 1 and "/".join(will) != named.filter:
            with contextlib.suppress(ValueError):
                draft.availability = Entry({"topic": TopicFilter("/".join(will)).text})
    return draft


def _must_have(draft: Draft) -> None:
    if not draft.fields:
        raise SuggestError("no discovery message tells a known quantity with a unit that fits it")
