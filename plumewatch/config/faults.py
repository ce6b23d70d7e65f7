"""Faults between entries of the configuration, found in what was written, so that all are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plumewatch.config.http_faults import Found, http_faults
from plumewatch.config.mapping_faults import mapping_faults, mapping_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ONE_SECRET: Final = (
    ("broker", "password"),
    ("metrics", "token"),
    ("timeseries", "token"),
    ("watchdog", "ping_url"),
)


def cross_faults(tree: Mapping[str, Any], decoders: frozenset[str]) -> Iterator[Found]:
    """Faults between entries, found in what was written, so that they show beside all others."""
    for section in ("room", "sensor", "staff", "receiver", "zone", "bells", "shift"):
        yield from _repeated_ids(section, _entries(tree, section))
    known = decoders | mapping_names(tree) if decoders else decoders
    yield from _sensor_faults(tree, known)
    yield from _secret_faults(tree)
    for path, value, allowed in mapping_faults(tree, decoders):
        yield Found(path, value, allowed)
    yield from http_faults(tree)


def _entries(tree: Mapping[str, Any], key: str) -> list[tuple[int, dict[str, Any]]]:
    """Entries of a list that are tables, with their places; other entries are told elsewhere."""
    found = tree.get(key)
    if not isinstance(found, list):
        return []
    return [(i, entry) for i, entry in enumerate(found) if isinstance(entry, dict)]


def _repeated_ids(section: str, entries: list[tuple[int, dict[str, Any]]]) -> Iterator[Found]:
    seen: dict[str, int] = {}
    for i, entry in entries:
        found = entry.get("id")
        if not isinstance(found, str):
            continue
        if found in seen:
            yield Found(
                path=f"{section}.{i}.id",
                value=repr(found),
                allowed=f"must be unique, but is also {section}.{seen[found]}.id",
            )
        seen.setdefault(found, i)


def _sensor_faults(tree: Mapping[str, Any], decoders: frozenset[str]) -> Iterator[Found]:
    rooms = {room["id"] for _, room in _entries(tree, "room") if isinstance(room.get("id"), str)}
    for i, sensor in _entries(tree, "sensor"):
        room, decoder = sensor.get("room"), sensor.get("decoder")
        if isinstance(room, str) and room not in rooms:
            yield Found(
                path=f"sensor.{i}.room",
                value=repr(room),
                allowed="must be the id of a [[room]]: " + ", ".join(sorted(rooms)[:20]),
            )
        if decoders and isinstance(decoder, str) and decoder and decoder not in decoders:
            yield Found(
                path=f"sensor.{i}.decoder",
                value=repr(decoder),
                allowed="must be empty or one of: " + ", ".join(sorted(decoders)),
            )


def _secret_faults(tree: Mapping[str, Any]) -> Iterator[Found]:
    for i, person in _entries(tree, "staff"):
        for k, target in _entries(person, "notify"):
            if bool(target.get("url_file")) == bool(target.get("url_env")):
                yield Found(
                    path=f"staff.{i}.notify.{k}",
                    value="both or neither of url_file and url_env",
                    allowed="exactly one of them",
                )
    for section, name in _ONE_SECRET:
        found = tree.get(section)
        keys = (f"{name}_file", f"{name}_env")
        if isinstance(found, dict) and all(found.get(key) for key in keys):
            yield Found(path=section, value=" and ".join(keys), allowed="at most one of them")
