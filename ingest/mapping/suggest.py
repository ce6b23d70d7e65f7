"""Propose a mapping for a topic from samples; a person approves it by pasting it.

A unit that the name or the payload states is taken; any other is a guess and marked as one
(`ingest.mapping.suggest_draft`). What could be several quantities (a ``tvoc`` without unit) is
left out, with the choices in comments.

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
from collections import Counter
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from ingest.errors import DecodeError
from ingest.mapping.draft import Draft, Entry, SuggestError, named_topic, toml_value
from ingest.mapping.ha_discovery import Suggestion
from ingest.mapping.ha_discovery import suggest as read_discovery
from ingest.mapping.source import parse
from ingest.mapping.suggest_draft import (
    Ask,
    Meant,
    Steps,
    ask_meaning,
    ask_nobody,
    bare_draft,
    hints_of,
    may_be_voc,
    meaning_of_discovery,
    meaning_of_name,
    structured_draft,
)
from ingest.mapping.topics import TopicFilter
from ingest.names import TYPICAL, conversion
from ingest.validation import Limits, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

_MAX_MESSAGES: Final = 256
_MAX_SAMPLE: Final = 16_384
_MAX_SAMPLES: Final = 32
_EXAMPLES: Final = 3
_LIMITS: Final = Limits()
_FORMS: Final = ("json", "text", "form", "pairs")
"""Forms of payloads, in the order in which they are tried."""


def suggest_any(
    topic: str,
    samples: Sequence[bytes],
    *,
    received: float,
    name: str = "",
    zone: tzinfo = UTC,
    ask: Ask = ask_nobody,
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
        draft = _of_payloads(topic, payloads, name, hints_of(known), ask)
    else:
        draft = _of_discovery(found, name)
    return draft.text(received, zone)


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
    draft = structured_draft(topic, form, contents, name, hints, ask)
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


def _bare_value(topic: str, samples: list[bytes], name: str, hint: Meant | None, ask: Ask) -> Draft:
    levels = topic.split("/")
    places = [i for i, level in enumerate(levels) if meaning_of_name(level) or may_be_voc(level)]
    if not places and hint is None:
        raise SuggestError(
            "a bare value, and no level of the topic is the name of a known quantity"
        )
    place = places[-1] if places else max(len(levels) - 2, 0)
    meant = hint or meaning_of_name(levels[place])
    if meant is None or not meant.source:
        meant = (
            ask_meaning(levels[place], samples[0].decode("utf-8", "replace"), meant, ask) or meant
        )
    if meant is None:
        raise SuggestError(
            f"{toml_value(levels[place])} is some measure of VOC: ppb, ug/m3 or an index; see the"
            " data sheet"
        )
    draft = bare_draft(name, place, {topic: meant})
    example = named_topic(topic, None, metric=place).example
    draft.samples = [(example, sample) for sample in samples[:_EXAMPLES]]
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
    return round((TYPICAL.get(meant.quantity, 10.0) - addend) / factor, 3)


def _one_topic(state: str, found: Sequence[Suggestion], name: str) -> Draft:
    hints = {path: meant for path, meant in hints_of(found).items() if path}
    payload: dict[str, Any] = {}
    for path, meant in hints.items():
        inner = payload
        for step in path[:-1]:
            below = inner.setdefault(step, {})
            inner = below if type(below) is dict else {}
        inner[path[-1]] = _made_up(meant)
    if not payload:
        raise SuggestError("no discovery message tells a known quantity with a unit that fits it")
    draft = structured_draft(state, "json", [payload], name, hints)
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
    known = {t.state_topic: meaning_of_discovery(t) if t.path == () else None for t in found}
    draft = bare_draft(name, place, known)
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
