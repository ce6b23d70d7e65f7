"""All faults of a scenario file at once: path, value, and what is allowed."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from sensor_sim.devices.models import MODELS
from sensor_sim.errors import ScenarioFault
from sensor_sim.faults.attacks import ATTACKS
from sensor_sim.scenarios.schema import SECTIONS, ScenarioConfig, hours_of_day, moment, zones
from sensor_sim.wire import ENCODERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import ValidationError


def faults_within(error: ValidationError, raw: Mapping[str, Any]) -> list[ScenarioFault]:
    """Faults of single values, from what pydantic found."""
    errors = error.errors(include_url=False)
    return [_fault(e, raw) for e in errors if not _follows(e, errors)]


def unix_of(at: float | datetime, start: float, zone: tzinfo) -> float:
    """Unix seconds of a moment of a file; times without a zone are of `zone`."""
    if isinstance(at, datetime):
        aware = at if at.tzinfo is not None else at.replace(tzinfo=zone)
        return aware.timestamp()
    return start + at


def _follows(error: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a list is called too short only because its items have faults of their own."""
    loc = error["loc"]
    return error["type"] == "too_short" and any(
        len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in errors
    )


def _fault(error: Mapping[str, Any], raw: Mapping[str, Any]) -> ScenarioFault:
    loc, kind = error["loc"], error["type"]
    path = _shown(loc, raw)
    names = [part for part in loc if isinstance(part, str)]
    section = SECTIONS[names[-2]] if len(names) > 1 else ScenarioConfig
    field = section.model_fields.get(names[-1]) if names else None
    described = (field and field.description) or ""
    if kind == "extra_forbidden":
        return ScenarioFault(path, "unknown key", f"one of {', '.join(section.model_fields)}")
    if kind == "missing":
        return ScenarioFault(path, "missing", described or "a value")
    if kind in {"union_tag_not_found", "union_tag_invalid"}:
        value = _brief(error["ctx"]["tag"]) if kind == "union_tag_invalid" else "missing"
        return ScenarioFault(f"{path}.kind", value, f"one of {', '.join(ATTACKS)}")
    hint = str(error.get("ctx", {}).get("error", ""))
    if hint.startswith("did you mean"):
        described = f"{described} ({hint})"
    rule = _RULES.get(kind, "")
    if isinstance(loc[-1], int):  # an item of a list, which is described as a whole
        described = rule or described
    message = error["msg"]
    allowed = described or rule or message[0].lower() + message[1:]
    return ScenarioFault(path, _brief(error["input"]), allowed)


_RULES: Final = {
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a table"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "text",
}


def _brief(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "a table"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _shown(loc: tuple[int | str, ...], raw: Any) -> str:
    """Path as a person would write it; what only pydantic's unions have is left out."""
    text, here = "", raw
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
            here = here[part] if isinstance(here, list) and part < len(here) else None
        elif part in ATTACKS and not _has(here, part):
            continue
        else:
            text += f".{part}" if text else part
            here = here.get(part) if isinstance(here, dict) else None
    return text or "file"


def _has(table: object, key: str) -> bool:
    return isinstance(table, dict) and key in table


def faults_between(raw: Mapping[str, Any], start: float) -> list[ScenarioFault]:
    """Faults between parts of the file; looks at whatever parts are sound enough to look at."""
    faults: list[ScenarioFault] = []
    seen: dict[str, dict[str, str]] = {"building": {}, "room": {}, "sensor": {}}

    def once(what: str, path: str, table: Mapping[str, Any]) -> None:
        name = table.get("id")
        if not isinstance(name, str):
            return
        if name in seen[what]:
            faults.append(
                ScenarioFault(f"{path}.id", _brief(name), f"an id not used by {seen[what][name]}")
            )
        seen[what].setdefault(name, path)

    for b_path, building in _tables(raw, "buildings", ""):
        once("building", b_path, building)
        for f_path, floor in _tables(building, "floors", b_path):
            for r_path, room in _tables(floor, "rooms", f_path):
                once("room", r_path, room)
                for d_path, device in _tables(room, "devices", r_path):
                    once("sensor", d_path, device)
                    faults += _device_faults(d_path, device)
    faults += _bell_faults(raw.get("bells"))
    zone_name = raw.get("timezone", "UTC")
    known_zone = isinstance(zone_name, str) and zone_name in zones()
    zone = ZoneInfo(zone_name) if known_zone else UTC
    for a_path, attack in _tables(raw, "attacks", ""):
        faults += _attack_faults(a_path, attack, set(seen["sensor"]), start, zone)
    return faults


def _tables(
    parent: Mapping[str, Any], key: str, path: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    children = parent.get(key)
    if isinstance(children, list):
        for i, child in enumerate(children):
            if isinstance(child, dict):
                yield f"{path}.{key}[{i}]" if path else f"{key}[{i}]", child


def _device_faults(path: str, device: Mapping[str, Any]) -> Iterator[ScenarioFault]:
    model, wire = device.get("model"), device.get("wire")
    known = MODELS.get(model) if isinstance(model, str) else None
    if (
        known is not None
        and isinstance(wire, str)
        and wire in ENCODERS
        and wire not in (*known.wires, "native")
    ):
        allowed = ", ".join(dict.fromkeys((*known.wires, "native")))
        yield ScenarioFault(f"{path}.wire", _brief(wire), f"what a {model} speaks: {allowed}")


def _bell_faults(bells: object) -> Iterator[ScenarioFault]:
    if not isinstance(bells, dict):
        return
    pairs: list[tuple[str, object, object]] = [
        ("bells.last", bells.get("first", 8.0), bells.get("last", 15.0))
    ]
    for key in ("lunch", "custodian"):
        pair = bells.get(key)
        if isinstance(pair, list) and len(pair) == 2:
            pairs.append((f"bells.{key}[1]", pair[0], pair[1]))
    for path, first, last in pairs:
        try:
            begin, end = hours_of_day(first), hours_of_day(last)
        except ValueError:
            continue
        sound = all(isinstance(t, int | float) and t <= 24 for t in (begin, end))
        if sound and end <= begin:  # type: ignore[operator]
            yield ScenarioFault(path, _brief(last), f"a time after {first}")


def _attack_faults(
    path: str, attack: Mapping[str, Any], sensors: set[str], start: float, zone: tzinfo
) -> Iterator[ScenarioFault]:
    several = attack.get("sensors")
    named = [(f"{path}.sensor", attack.get("sensor"))]
    if isinstance(several, list):
        named += [(f"{path}.sensors[{i}]", name) for i, name in enumerate(several)]
    for where, name in named:
        if isinstance(name, str) and name not in sensors:
            near = get_close_matches(name, sorted(sensors), n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            yield ScenarioFault(where, _brief(name), f"the id of a device of this file{hint}")
    moments: dict[str, float] = {}
    for key in ("start", "end", "at"):
        try:
            moments[key] = unix_of(moment(attack.get(key)), start, zone)
        except ValueError:
            continue
        if moments[key] < start:
            yield ScenarioFault(
                f"{path}.{key}", str(attack[key]), "a time not before the start of the simulation"
            )
    for earlier, later in (("start", "end"), ("end", "at")):
        if earlier in moments and later in moments:
            margin = moments[later] - moments[earlier]
            if margin < 0 or (margin == 0 and later == "end"):
                yield ScenarioFault(
                    f"{path}.{later}", str(attack[later]), f"a time after {earlier}"
                )
