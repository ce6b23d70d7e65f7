"""Faults of the HTTP ingest between entries of the configuration, found in what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ingest.http_sources import HTTP_DECODERS, SIGNED_DECODERS
from ingest.mapping.decoder import PREFIX
from plumewatch.config.mapping_faults import mapping_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Entry = dict[str, Any]


class Found(NamedTuple):
    """One fault: where, what is there, what may be there."""

    path: str
    value: str
    allowed: str


def http_faults(tree: Mapping[str, Any]) -> Iterator[Found]:
    """Faults of ``[ingest.http]`` and ``[[ingest.source]]``; wrong types are told elsewhere."""
    ingest = tree.get("ingest")
    if not isinstance(ingest, dict):
        return
    sensors = _texts(tree.get("sensor"), "id")
    mappings = mapping_names(tree)
    joining = _texts([m for m in _list(tree.get("mapping")) if _joins(m)], "name")
    decoders = HTTP_DECODERS | (mappings - {PREFIX + name for name in joining})
    names: dict[str, int] = {}
    for i, source in enumerate(_list(ingest.get("source"))):
        if not isinstance(source, dict):
            continue
        path = f"ingest.source.{i}"
        name = source.get("name")
        if isinstance(name, str) and names.setdefault(name, i) != i:
            allowed = f"must be unique, but is also ingest.source.{names[name]}.name"
            yield Found(f"{path}.name", repr(name), allowed)
        yield from _of_source(path, source, sensors, decoders)
    http = ingest.get("http")
    if isinstance(http, dict):
        yield from _of_listener(http, tree.get("web"))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(entries: object, key: str) -> frozenset[str]:
    return frozenset(str(e[key]) for e in _list(entries) if isinstance(e, dict) and key in e)


def _joins(mapping: object) -> bool:
    """Whether a mapping waits for further messages: one alone then has no outcome to answer."""
    return isinstance(mapping, dict) and "join_s" in mapping


def _of_source(
    path: str, source: Entry, sensors: frozenset[str], decoders: frozenset[str]
) -> Iterator[Found]:
    decoder = source.get("decoder")
    if isinstance(decoder, str) and decoder not in decoders:
        allowed = "must be one of: " + ", ".join(sorted(decoders))
        yield Found(f"{path}.decoder", repr(decoder), allowed)
    for secret in ("token", "signature"):
        keys = (f"{secret}_file", f"{secret}_env")
        if all(source.get(key) for key in keys):
            yield Found(path, " and ".join(keys), "at most one of them")
    signs = bool(source.get("signature_file") or source.get("signature_env"))
    if signs and decoder not in SIGNED_DECODERS:
        allowed = "only senders that sign: " + ", ".join(sorted(SIGNED_DECODERS))
        yield Found(f"{path}.signature", "given", allowed)
    elif not signs and not (source.get("token_file") or source.get("token_env")):
        yield Found(path, "neither token_file nor token_env", "exactly one of them")
    for k, sensor in enumerate(_list(source.get("sensors"))):
        if isinstance(sensor, str) and sensor not in sensors:
            allowed = "must be the id of a [[sensor]]"
            yield Found(f"{path}.sensors.{k}", repr(sensor), allowed)


def _of_listener(http: Entry, web: object) -> Iterator[Found]:
    if bool(http.get("cert_file")) != bool(http.get("key_file")):
        yield Found("ingest.http", "one of cert_file and key_file", "both or neither of them")
    page = web.get("port", 8420) if isinstance(web, dict) else 8420
    if http.get("port") == page:
        yield Found("ingest.http.port", repr(page), "must not be the port of the staff page")
