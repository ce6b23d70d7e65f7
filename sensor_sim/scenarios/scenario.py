"""Scenario files: a school, its rates, and attacks.

A scenario is a TOML file; ``docs/scenarios.md`` has an example of every part.
All faults of a file are reported at once, each with path, value, and what is allowed.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, cast
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from sensor_sim.devices.models import MODELS, Device
from sensor_sim.errors import ScenarioError, ScenarioFault
from sensor_sim.faults.attacks import ATTACKS
from sensor_sim.scenarios.schema import (
    DAYS,
    SECTIONS,
    RoomConfig,
    ScenarioConfig,
    hours_of_day,
    moment,
    zones,
)
from sensor_sim.school import Bells, Building, Floor, Restroom, School
from sensor_sim.wire import ENCODERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from sensor_sim.faults.at_sensor import TraceAttack
    from sensor_sim.faults.on_wire import MessageAttack
    from sensor_sim.schedule import Activity

_MAX_BYTES: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Scenario:
    """A school that can be simulated, with its rates and its attacks."""

    school: School
    zone: tzinfo = UTC
    vape_rate: float = 1.0
    nuisance_rate: float = 1.0
    activity: Activity = "ordinary"
    attacks: tuple[Any, ...] = ()

    def trace_attacks(self, start: float, seed: int) -> tuple[TraceAttack, ...]:
        """Return those at the sensors, for a simulation from `start` (Unix seconds)."""
        return tuple(
            _build(config, start, seed, self.zone)
            for config in self.attacks
            if hasattr(ATTACKS[config.kind], "on_trace")
        )

    def message_attacks(
        self, start: float, seed: int, offset_s: float = 0.0
    ) -> tuple[MessageAttack, ...]:
        """Return those on the wire, for a simulation from `start` (Unix seconds)."""
        by_id = {device.id: device for device in self.school.devices}
        return tuple(
            _build(config, start, seed, self.zone, offset_s, by_id)
            for config in self.attacks
            if hasattr(ATTACKS[config.kind], "on_messages")
        )


def load_scenario(path: Path, start: float) -> Scenario:
    """Read a scenario file for a `start`; `ScenarioError` has all its faults."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        fault = ScenarioFault("file", (exc.strerror or "unreadable").lower(), "a readable file")
        raise ScenarioError(str(path), (fault,)) from exc
    if len(raw) > _MAX_BYTES:
        fault = ScenarioFault("file", "its size", f"at most {_MAX_BYTES} bytes")
        raise ScenarioError(str(path), (fault,))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        fault = ScenarioFault("file", f"byte {exc.start}", "UTF-8 text")
        raise ScenarioError(str(path), (fault,)) from exc
    return parse_scenario(text, start, source=str(path))


def parse_scenario(text: str, start: float, *, source: str = "scenario") -> Scenario:
    """Read the text of a scenario file; see `load_scenario`."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as exc:
        fault = ScenarioFault("file", str(exc) or "its nesting", "TOML")
        raise ScenarioError(source, (fault,)) from exc
    return _checked(raw, start, source)


def _checked(raw: Mapping[str, Any], start: float, source: str) -> Scenario:
    faults: list[ScenarioFault] = []
    config = None
    try:
        config = ScenarioConfig.model_validate(raw)
    except ValidationError as exc:
        faults += faults_within(exc, raw)
    faults += faults_between(raw, start)
    if config is None or faults:
        raise ScenarioError(source, tuple(faults))
    return Scenario(
        school=_school(config, start),
        zone=ZoneInfo(config.timezone),
        vape_rate=config.rates.vaping,
        nuisance_rate=config.rates.nuisances,
        activity=cast("Activity", config.activity),
        attacks=config.attacks,
    )


def _school(config: ScenarioConfig, start: float) -> School:
    offset = datetime.fromtimestamp(start, ZoneInfo(config.timezone)).utcoffset() or timedelta()
    bells = config.bells
    return School(
        name=config.name,
        buildings=tuple(
            Building(b.id, tuple(Floor(f.id, tuple(map(_room, f.rooms))) for f in b.floors))
            for b in config.buildings
        ),
        bells=Bells(
            first=bells.first,
            last=bells.last,
            period_min=bells.period_min,
            passing_min=bells.passing_min,
            lunch=bells.lunch,
            custodian=bells.custodian,
            sports_days=tuple(DAYS.index(day) for day in bells.sports_days),
        ),
        utc_offset_s=int(offset.total_seconds()),
    )


def _room(config: RoomConfig) -> Restroom:
    devices = tuple(
        Device(
            id=d.id,
            room=config.id,
            model=d.model,
            wire=d.wire or MODELS[d.model].wires[0],
            interval_s=d.interval_s or MODELS[d.model].interval_s,
        )
        for d in config.devices
    )
    return Restroom(config.id, config.use, devices, config.volume_m3)


def _build(
    config: Any,
    start: float,
    seed: int,
    zone: tzinfo,
    offset_s: float = 0.0,
    devices: Mapping[str, Device] | None = None,
) -> Any:
    kind = ATTACKS[config.kind]
    values = {k: v for k, v in config.model_dump(exclude={"kind"}).items() if v is not None}
    for key in ("start", "end", "at"):
        if key in values:
            values[key] = unix_of(values[key], start, zone) + offset_s
    if "seed" in {f.name for f in fields(kind)}:
        values["seed"] = seed
    if config.kind == "spoof" and devices is not None and config.sensor in devices:
        device = devices[config.sensor]
        values |= {"wire": device.wire, "model": device.model}
    return kind(**values)


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
