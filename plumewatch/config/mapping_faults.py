"""Faults of mappings, routes, decoders' names and aliases, found in what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import ValidationError

from ingest.mapping.decoder import PREFIX
from ingest.mapping.schema import FieldConfig, MappingConfig, cross_faults, field_faults
from ingest.mapping.topics import TopicFilter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Entries: TypeAlias = "list[tuple[int, dict[str, Any]]]"
Found: TypeAlias = "tuple[str, str, str]"


def mapping_names(tree: Mapping[str, Any]) -> frozenset[str]:
    """Names under which the mappings of a configuration stand beside those of decoders."""
    return frozenset(f"{PREFIX}{m.get('name')}" for _, m in _entries(tree, "mapping"))


def mapping_faults(tree: Mapping[str, Any], decoders: frozenset[str]) -> Iterator[Found]:
    """Faults between entries as (path, value, allowed); wrong types are told elsewhere.

    Parameters
    ----------
    tree : mapping
        The configuration as written.
    decoders : frozenset of str
        Names of the table of decoders; empty to accept any.
    """
    yield from _of_mappings(_entries(tree, "mapping"))
    yield from _of_aliases(_entries(tree, "sensor"))
    if decoders:
        yield from _of_decoders(tree, decoders)


def _entries(tree: Mapping[str, Any], key: str) -> Entries:
    found = tree.get(key)
    if not isinstance(found, list):
        return []
    return [(i, entry) for i, entry in enumerate(found) if isinstance(entry, dict)]


def _of_mappings(entries: Entries) -> Iterator[Found]:
    """Faults inside a mapping that concern several entries; names; mappings never reached."""
    names: dict[str, int] = {}
    everything: dict[str, int] = {}
    for i, entry in entries:
        try:
            mapping = MappingConfig.model_validate(entry)
        except ValidationError:
            yield from _of_fields(i, entry)
            continue
        for path, value, allowed in cross_faults(mapping):
            yield f"mapping.{i}.{path}", value, f"must be {allowed}"
        if names.setdefault(mapping.name, i) != i:
            allowed = f"must be unique, but is also mapping.{names[mapping.name]}.name"
            yield f"mapping.{i}.name", repr(mapping.name), allowed
        pattern = TopicFilter(mapping.topic).pattern
        if pattern in everything:
            allowed = (
                f"is never reached: mapping.{everything[pattern]} has no `when` and takes every"
                " message of these topics; give that one conditions, or place it behind this one"
            )
            yield f"mapping.{i}.topic", repr(mapping.topic), allowed
        elif not mapping.when:
            everything[pattern] = i


def _of_fields(i: int, entry: dict[str, Any]) -> Iterator[Found]:
    """Faults of those fields that are whole, in a mapping that is not."""
    for k, part in _entries(entry, "field"):
        try:
            field = FieldConfig.model_validate(part)
        except ValidationError:
            continue
        for path, value, allowed in field_faults(f"field.{k}", field):
            yield f"mapping.{i}.{path}", value, f"must be {allowed}"


def _of_aliases(entries: Entries) -> Iterator[Found]:
    taken = {s["id"] for _, s in entries if isinstance(s.get("id"), str)}
    for i, sensor in entries:
        aliases = sensor.get("aliases")
        for k, alias in enumerate(aliases if isinstance(aliases, list) else []):
            if isinstance(alias, str) and alias in taken:
                allowed = "must not be the id or alias of a sensor already"
                yield f"sensor.{i}.aliases.{k}", repr(alias), allowed
            elif isinstance(alias, str):
                taken.add(alias)


def _of_decoders(tree: Mapping[str, Any], decoders: frozenset[str]) -> Iterator[Found]:
    """Names of decoders that there are not; `ingest.decoders` names those of the table only."""
    ingest = tree.get("ingest")
    listed = ingest.get("decoders") if isinstance(ingest, dict) else None
    every = decoders | mapping_names(tree)
    named = [
        (f"ingest.decoders.{i}", name, decoders)
        for i, name in enumerate(listed if isinstance(listed, list) else [])
    ]
    named += [(f"route.{i}.decoder", r.get("decoder"), every) for i, r in _entries(tree, "route")]
    for path, name, known in named:
        if isinstance(name, str) and name not in known:
            yield path, repr(name), "must be one of: " + ", ".join(sorted(known))
