"""Scenario files: a school of one's own, what happens there more or less often, and attacks.

A scenario is a TOML file::

    name = "Lincoln Middle School"
    timezone = "America/New_York"

    [bells]
    first = "08:10"
    last = "15:00"

    [rates]
    vaping = 2.0                  # twice as often as usual
    nuisances = 0.5

    [[buildings]]
    id = "main"
    [[buildings.floors]]
    id = "2"
    [[buildings.floors.rooms]]
    id = "main-2-boys"
    volume_m3 = 35
    devices = [
      { id = "main-2-boys-a", model = "sen55", wire = "native", interval_s = 1 },
    ]

    [[attacks]]
    kind = "covered"
    sensor = "main-2-boys-a"
    start = 7200                  # seconds after the start, or a date and time
    end = 2026-09-14T13:00:00Z

All faults of a file are reported at once, each with its path, what stands there and what may.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, cast, get_args, get_origin
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from sensor_sim.attacks import ATTACKS
from sensor_sim.devices.models import MODELS
from sensor_sim.errors import ScenarioError, ScenarioFault
from sensor_sim.school import Bells, Building, Device, Floor, Restroom, School
from sensor_sim.wire import ENCODERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sensor_sim.attacks import MessageAttack, TraceAttack
    from sensor_sim.schedule import Activity

__all__ = ["Scenario", "ScenarioConfig", "load_scenario", "parse_scenario"]

_MAX_BYTES: Final = 4_000_000
_LATEST_S: Final = 1e9
_ID_RULE: Final = "1 to 64 of the characters A-Z a-z 0-9 _ . -"
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ACTIVITIES: Final = ("ordinary", "hard_restroom", "demo")
_USES: Final = ("student", "staff", "locker")


def _one_of(allowed: Mapping[str, object] | tuple[str, ...]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in allowed:
            near = get_close_matches(value, list(allowed), n=1)
            raise ValueError(f"did you mean {near[0]}?" if near else "unknown")
        return value

    return check


def _hours(value: object) -> object:
    if isinstance(value, str):
        hours, sep, minutes = value.partition(":")
        if sep and hours.isdecimal() and minutes.isdecimal() and int(minutes) < 60:
            return int(hours) + int(minutes) / 60
        raise ValueError("no time of day")
    return value


def _moment(value: object) -> float | datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("neither a number nor a date and time")  # noqa: TRY004 - pydantic's way
    if not 0 <= value <= _LATEST_S:
        raise ValueError("out of range")
    return float(value)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(value: str) -> str:
    if value not in _zones():
        raise ValueError("no zone of the IANA list")
    return value


_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description=_ID_RULE)]
_Hour = Annotated[
    float, BeforeValidator(_hours), Field(ge=0, le=24, description='"00:00" to "24:00", or hours')
]
_Moment = Annotated[
    float | datetime,
    BeforeValidator(_moment),
    Field(description="seconds after the start, 0 to 1000000000, or a date and time"),
]
_Seconds = Annotated[float, Field(gt=0, le=31_536_000, description="above 0 to 31536000 seconds")]
_Seed = Annotated[int, Field(ge=0, le=2**31 - 1, description="0 to 2147483647")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeviceConfig(_Section):
    """One sensor."""

    id: _Id
    model: Annotated[
        str, AfterValidator(_one_of(MODELS)), Field(description="one of " + ", ".join(MODELS))
    ]
    wire: Annotated[
        str, AfterValidator(_one_of(ENCODERS)), Field(description="one of " + ", ".join(ENCODERS))
    ] = ""
    interval_s: Annotated[int, Field(ge=1, le=3600, description="1 to 3600, whole seconds")] = 0


class RoomConfig(_Section):
    """One restroom."""

    id: _Id
    use: Annotated[
        str, AfterValidator(_one_of(_USES)), Field(description="one of " + ", ".join(_USES))
    ] = "student"
    volume_m3: Annotated[
        float | None, Field(ge=10, le=200, description="10 to 200, cubic metres")
    ] = None
    devices: Annotated[
        tuple[DeviceConfig, ...], Field(min_length=1, max_length=8, description="1 to 8 devices")
    ]


class FloorConfig(_Section):
    """One floor."""

    id: _Id
    rooms: Annotated[
        tuple[RoomConfig, ...], Field(min_length=1, max_length=500, description="1 to 500 rooms")
    ]


class BuildingConfig(_Section):
    """One building."""

    id: _Id
    floors: Annotated[
        tuple[FloorConfig, ...], Field(min_length=1, max_length=60, description="1 to 60 floors")
    ]


class BellsConfig(_Section):
    """The day's plan, local time."""

    first: _Hour = 8.0
    last: _Hour = 15.0
    period_min: Annotated[float, Field(ge=10, le=180, description="10 to 180 minutes")] = 50.0
    passing_min: Annotated[float, Field(ge=1, le=30, description="1 to 30 minutes")] = 6.0
    lunch: Annotated[tuple[_Hour, _Hour], Field(description="two times of day, start and end")] = (
        11.7,
        12.4,
    )
    custodian: Annotated[
        tuple[_Hour, _Hour], Field(description="two times of day, start and end")
    ] = (16.0, 20.0)
    sports_days: Annotated[
        tuple[
            Annotated[
                str,
                AfterValidator(_one_of(_DAYS)),
                Field(description="one of " + ", ".join(_DAYS)),
            ],
            ...,
        ],
        Field(max_length=7, description="up to 7 of " + ", ".join(_DAYS)),
    ] = ("tue", "thu")


class CoveredConfig(_Section):
    """See `sensor_sim.attacks.Covered`."""

    kind: Literal["covered"]
    sensor: _Id
    start: _Moment
    end: _Moment
    settle_s: _Seconds = 90.0


class BlownAtConfig(_Section):
    """See `sensor_sim.attacks.BlownAt`."""

    kind: Literal["blown_at"]
    sensor: _Id
    start: _Moment
    duration_s: Annotated[float, Field(ge=0.2, le=30, description="0.2 to 30 seconds")] = 2.0
    dust_ug_m3: Annotated[float, Field(ge=0, le=10_000, description="0 to 10000 µg/m³")] = 250.0


class UnpluggedConfig(_Section):
    """See `sensor_sim.attacks.Unplugged`."""

    kind: Literal["unplugged"]
    sensor: _Id
    start: _Moment
    end: _Moment | None = None


class RippedOffConfig(_Section):
    """See `sensor_sim.attacks.RippedOff`."""

    kind: Literal["ripped_off"]
    sensor: _Id
    start: _Moment
    alive_s: Annotated[float, Field(gt=0, le=600, description="above 0 to 600 seconds")] = 8.0


class ClockJumpConfig(_Section):
    """See `sensor_sim.attacks.ClockJump`."""

    kind: Literal["clock_jump"]
    sensor: _Id
    start: _Moment
    end: _Moment
    offset_s: Annotated[
        float, Field(ge=-4e9, le=4e9, description="-4000000000 to 4000000000 seconds")
    ] = 3600.0


class GatewayOutageConfig(_Section):
    """See `sensor_sim.attacks.GatewayOutage`."""

    kind: Literal["gateway_outage"]
    sensors: tuple[_Id, ...] = ()
    start: _Moment
    end: _Moment
    flush: bool = False
    flush_hz: Annotated[
        float, Field(gt=0, le=10_000, description="above 0 to 10000 messages a second")
    ] = 50.0


class ReplayConfig(_Section):
    """See `sensor_sim.attacks.Replay`."""

    kind: Literal["replay"]
    sensor: _Id
    start: _Moment
    end: _Moment
    at: _Moment


class SpoofConfig(_Section):
    """See `sensor_sim.attacks.Spoof`."""

    kind: Literal["spoof"]
    sensor: _Id
    start: _Moment
    duration_s: _Seconds = 60.0
    every_s: Annotated[float, Field(ge=0.01, le=3600, description="0.01 to 3600 seconds")] = 1.0
    claims: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_.-]{0,64}$", description="a sensor id, or empty")
    ] = ""


class FloodConfig(_Section):
    """See `sensor_sim.attacks.Flood`."""

    kind: Literal["flood"]
    start: _Moment
    duration_s: _Seconds = 10.0
    rate_hz: Annotated[
        float, Field(gt=0, le=100_000, description="above 0 to 100000 messages a second")
    ] = 1000.0
    sensors: Annotated[int, Field(ge=1, le=1_000_000, description="1 to 1000000")] = 100
    retain: bool = False


class GarbageConfig(_Section):
    """See `sensor_sim.attacks.Garbage`."""

    kind: Literal["garbage"]
    sensor: _Id
    start: _Moment
    duration_s: _Seconds = 10.0
    rate_hz: Annotated[
        float, Field(gt=0, le=10_000, description="above 0 to 10000 messages a second")
    ] = 5.0
    big_bytes: Annotated[int, Field(ge=1, le=100_000_000, description="1 to 100000000 bytes")] = (
        1_000_000
    )


_AttackConfig = Annotated[
    CoveredConfig
    | BlownAtConfig
    | UnpluggedConfig
    | RippedOffConfig
    | ClockJumpConfig
    | GatewayOutageConfig
    | ReplayConfig
    | SpoofConfig
    | FloodConfig
    | GarbageConfig,
    Field(discriminator="kind", description="one of " + ", ".join(ATTACKS)),
]
_Rate = Annotated[float, Field(ge=0, le=1000, description="0 to 1000 times as often as usual")]


class RatesConfig(_Section):
    """How often things happen, as factors."""

    vaping: _Rate = 1.0
    nuisances: _Rate = 1.0


class ScenarioConfig(_Section):
    """The whole file."""

    name: Annotated[str, Field(min_length=1, max_length=80, description="1 to 80 characters")] = (
        "School"
    )
    timezone: Annotated[
        str,
        AfterValidator(_zone),
        Field(description="a time zone of the IANA list, such as America/New_York"),
    ] = "UTC"
    bells: BellsConfig = BellsConfig()
    rates: RatesConfig = RatesConfig()
    activity: Annotated[
        str,
        AfterValidator(_one_of(_ACTIVITIES)),
        Field(description="one of " + ", ".join(_ACTIVITIES)),
    ] = "ordinary"
    buildings: Annotated[
        tuple[BuildingConfig, ...],
        Field(min_length=1, max_length=500, description="1 to 500 buildings"),
    ]
    attacks: tuple[_AttackConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A school that can be simulated, with its rates and its attacks.

    Attributes
    ----------
    school : School
    zone : tzinfo
        Zone of the clocks of devices that print local time.
    vape_rate, nuisance_rate : float
        Factors on how often it happens.
    activity : str
        As `sensor_sim.simulate.simulate` takes it.
    attacks : tuple of BaseModel
        As configured; `trace_attacks` and `message_attacks` put them on a time axis.
    """

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
        """Return those on the wire, for a simulation from `start` (Unix seconds).

        `offset_s` is what is added to simulated times on the wire.
        """
        by_id = {device.id: device for device in self.school.devices}
        return tuple(
            _build(config, start, seed, self.zone, offset_s, by_id)
            for config in self.attacks
            if hasattr(ATTACKS[config.kind], "on_messages")
        )


def load_scenario(path: Path, start: float) -> Scenario:
    """Read a scenario file.

    Parameters
    ----------
    path : Path
    start : float
        Start of the simulation, Unix seconds; decides on daylight saving time.

    Raises
    ------
    ScenarioError
        With all faults of the file.
    """
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
        errors = exc.errors(include_url=False)
        faults += [_fault(error, raw) for error in errors if not _follows(error, errors)]
    faults += _cross_faults(raw, start)
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
            sports_days=tuple(_DAYS.index(day) for day in bells.sports_days),
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
            values[key] = _unix(values[key], start, zone) + offset_s
    if "seed" in {f.name for f in fields(kind)}:
        values["seed"] = seed
    if config.kind == "spoof" and devices is not None and config.sensor in devices:
        device = devices[config.sensor]
        values |= {"wire": device.wire, "model": device.model}
    return kind(**values)


def _unix(moment: float | datetime, start: float, zone: tzinfo) -> float:
    if isinstance(moment, datetime):
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
        return aware.timestamp()
    return start + moment


def _follows(error: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a list is called too short only because its items have faults of their own."""
    loc = error["loc"]
    return error["type"] == "too_short" and any(
        len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in errors
    )


def _fault(error: Mapping[str, Any], raw: Mapping[str, Any]) -> ScenarioFault:
    path = _shown(error["loc"], raw)
    kind = error["type"]
    parent, described = _described(error["loc"])
    if kind == "extra_forbidden":
        known = ", ".join(parent.model_fields) if parent is not None else "nothing"
        return ScenarioFault(path, "unknown key", f"one of {known}")
    if kind in {"missing", "union_tag_not_found"}:
        path += ".kind" if kind == "union_tag_not_found" else ""
        return ScenarioFault(path, "missing", described or "a value")
    if kind == "union_tag_invalid":
        tag = error["ctx"]["tag"]
        return ScenarioFault(f"{path}.kind", _brief(tag), described)
    value = _brief(error["input"])
    hint = error.get("ctx", {}).get("error")
    if kind == "value_error" and str(hint).startswith("did you mean"):
        described = f"{described} ({hint})"
    return ScenarioFault(path, value, described or _type_rule(kind, error["msg"]))


def _brief(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "a table"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _type_rule(kind: str, message: str) -> str:
    rules = {
        "tuple_type": "a list",
        "list_type": "a list",
        "dict_type": "a table",
        "model_type": "a table",
        "model_attributes_type": "a table",
        "string_type": "text",
        "bool_type": "true or false",
        "bool_parsing": "true or false",
    }
    return rules.get(kind, message[0].lower() + message[1:])


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


def _described(loc: tuple[int | str, ...]) -> tuple[type[BaseModel] | None, str]:
    """Section that holds the place, and what the field's description allows there."""
    parent: type[BaseModel] | None = None
    here: Any = ScenarioConfig
    text = ""
    for part in loc:
        if isinstance(here, type) and issubclass(here, BaseModel):
            parent = here
            info = here.model_fields.get(str(part))
            if info is None:
                return parent, ""
            here, text = info.annotation, info.description or ""
            for extra in info.metadata:
                text = text or getattr(extra, "description", None) or ""
        else:
            here, text = _inner(here, part, text)
        here, text = _plain(here, text)
    return parent, text


def _plain(kind: Any, text: str) -> tuple[Any, str]:
    """Take ``Annotated`` and ``| None`` off a type, keeping the description found there."""
    while True:
        if get_origin(kind) is Annotated:
            inner, *meta = get_args(kind)
            for extra in meta:
                text = getattr(extra, "description", None) or text
            kind = inner
        elif get_origin(kind) in (Union, UnionType) and type(None) in get_args(kind):
            rest = [a for a in get_args(kind) if a is not type(None)]
            if len(rest) != 1:
                return kind, text
            kind = rest[0]
        else:
            return kind, text


def _inner(kind: Any, part: int | str, text: str) -> tuple[Any, str]:
    origin, args = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(part, int):
        item = args[0] if len(args) == 2 and args[1] is Ellipsis else args[min(part, 1)]
        return item, ""
    if origin in (Union, UnionType):
        for option in args:
            if isinstance(option, type) and issubclass(option, BaseModel):
                literal = option.model_fields["kind"].annotation
                if part in get_args(literal):
                    return option, ""
    return kind, text


def _cross_faults(raw: Mapping[str, Any], start: float) -> list[ScenarioFault]:
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
    known_zone = isinstance(zone_name, str) and zone_name in _zones()
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
            begin, end = _hours(first), _hours(last)
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
            moments[key] = _unix(_moment(attack.get(key)), start, zone)
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
