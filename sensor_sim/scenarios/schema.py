"""Sections and keys of a scenario file, and the allowed values."""

from __future__ import annotations

from dataclasses import MISSING, fields
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model

from sensor_sim.devices.models import MODELS
from sensor_sim.faults.attacks import ATTACKS
from sensor_sim.wire import ENCODERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LATEST_S: Final = 1e9
_ID_RULE: Final = "1 to 64 of the characters A-Z a-z 0-9 _ . -"
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ACTIVITIES: Final = ("ordinary", "hard_restroom", "demo")
_USES: Final = ("student", "staff", "locker")


def _one_of(allowed: Mapping[str, object] | tuple[str, ...]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in allowed:
            near = get_close_matches(value, list(allowed), n=1)
            raise ValueError(f"did you mean {near[0]}?" if near else "unknown")
        return value

    return check


def hours_of_day(value: object) -> object:
    """Hours of a text as "08:10"; anything else as it is."""
    if isinstance(value, str):
        hours, sep, minutes = value.partition(":")
        if sep and hours.isdecimal() and minutes.isdecimal() and int(minutes) < 60:
            return int(hours) + int(minutes) / 60
        raise ValueError("no time of day")
    return value


def moment(value: object) -> float | datetime:
    """Seconds after the start, or a date and time; ValueError for anything else."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("neither a number nor a date and time")  # noqa: TRY004 - pydantic's way
    if not 0 <= value <= _LATEST_S:
        raise ValueError("out of range")
    return float(value)


@cache
def zones() -> frozenset[str]:
    """Names of the IANA list."""
    return frozenset(available_timezones())


def _zone(value: str) -> str:
    if value not in zones():
        raise ValueError("no zone of the IANA list")
    return value


def _limits(low: float, high: float, unit: str = "") -> Any:
    return Field(ge=low, le=high, description=f"{low:.12g} to {high:.12g}{unit}")


def _above_zero(high: float, unit: str) -> Any:
    return Field(gt=0, le=high, description=f"above 0 to {high:.12g}{unit}")


def _described(allowed: Mapping[str, object] | tuple[str, ...]) -> Any:
    return Field(description="one of " + ", ".join(allowed))


_Model = Annotated[str, AfterValidator(_one_of(MODELS)), _described(MODELS)]
_Wire = Annotated[str, AfterValidator(_one_of(ENCODERS)), _described(ENCODERS)]
_Use = Annotated[str, AfterValidator(_one_of(_USES)), _described(_USES)]
_Day = Annotated[str, AfterValidator(_one_of(DAYS)), _described(DAYS)]
_Activity = Annotated[str, AfterValidator(_one_of(_ACTIVITIES)), _described(_ACTIVITIES)]
_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description=_ID_RULE)]
_Hour = Annotated[
    float,
    BeforeValidator(hours_of_day),
    Field(ge=0, le=24, description='"00:00" to "24:00", or hours'),
]
_Span = Annotated[tuple[_Hour, _Hour], Field(description="two times of day, start and end")]
_MOMENT_RULE: Final = "seconds after the start, 0 to 1000000000, or a date and time"
_Moment = Annotated[float | datetime, BeforeValidator(moment), Field(description=_MOMENT_RULE)]
_Seconds = Annotated[float, _above_zero(31_536_000, " seconds")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeviceConfig(_Section):
    """One sensor."""

    id: _Id
    model: _Model
    wire: _Wire = ""
    interval_s: Annotated[int, _limits(1, 3600, ", whole seconds")] = 0


class RoomConfig(_Section):
    """One restroom."""

    id: _Id
    use: _Use = "student"
    volume_m3: Annotated[float | None, _limits(10, 200, ", cubic metres")] = None
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
    period_min: Annotated[float, _limits(10, 180, " minutes")] = 50.0
    passing_min: Annotated[float, _limits(1, 30, " minutes")] = 6.0
    lunch: _Span = (11.7, 12.4)
    custodian: _Span = (16.0, 20.0)
    sports_days: Annotated[
        tuple[_Day, ...],
        Field(max_length=7, description="up to 7 of " + ", ".join(DAYS)),
    ] = ("tue", "thu")


_COMMON: Final[Mapping[str, Any]] = {
    "sensor": _Id,
    "start": _Moment,
    "end": _Moment,
    "at": _Moment,
    "duration_s": _Seconds,
    "settle_s": _Seconds,
    "flush": bool,
    "retain": bool,
}
"""Settings of attacks, which mean the same in all of them."""
_OWN: Final[Mapping[str, Mapping[str, Any]]] = {
    "blown_at": {
        "duration_s": Annotated[float, _limits(0.2, 30, " seconds")],
        "dust_ug_m3": Annotated[float, _limits(0, 10_000, " µg/m³")],
    },
    "unplugged": {"end": Annotated[_Moment | None, Field(description=_MOMENT_RULE)]},
    "ripped_off": {"alive_s": Annotated[float, _above_zero(600, " seconds")]},
    "clock_jump": {"offset_s": Annotated[float, _limits(-4e9, 4e9, " seconds")]},
    "gateway_outage": {
        "sensors": tuple[_Id, ...],
        "flush_hz": Annotated[float, _above_zero(10_000, " messages per second")],
    },
    "spoof": {
        "every_s": Annotated[float, _limits(0.01, 3600, " seconds")],
        "claims": Annotated[
            str, Field(pattern=r"^[A-Za-z0-9_.-]{0,64}$", description="a sensor id, or empty")
        ],
    },
    "flood": {
        "rate_hz": Annotated[float, _above_zero(100_000, " messages per second")],
        "sensors": Annotated[int, _limits(1, 1_000_000)],
    },
    "garbage": {
        "rate_hz": Annotated[float, _above_zero(10_000, " messages per second")],
        "big_bytes": Annotated[int, _limits(1, 100_000_000, " bytes")],
    },
}
"""Settings of one attack."""
_DEFAULTS: Final[Mapping[str, Any]] = {"unplugged end": None, "gateway_outage sensors": ()}
"""Where a file may leave out what the attack itself requires, or needs another default."""


def _attack_config(kind: str) -> type[_Section]:
    types = {**_COMMON, **_OWN.get(kind, {})}
    settings: dict[str, Any] = {"kind": (Literal[kind], ...)}
    for field in fields(ATTACKS[kind]):
        if field.name in types:
            default = ... if field.default is MISSING else field.default
            default = _DEFAULTS.get(f"{kind} {field.name}", default)
            settings[field.name] = (types[field.name], default)
    return create_model(f"{kind}_config", __base__=_Section, **settings)


ATTACK_CONFIGS: Final = {kind: _attack_config(kind) for kind in ATTACKS}
if TYPE_CHECKING:
    _AttackConfig = _Section
else:
    _AttackConfig = Annotated[
        Union[tuple(ATTACK_CONFIGS.values())], Field(discriminator="kind")  # noqa: UP007
    ]
_Rate = Annotated[float, _limits(0, 1000, " times as often as usual")]


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
    activity: _Activity = "ordinary"
    buildings: Annotated[
        tuple[BuildingConfig, ...],
        Field(min_length=1, max_length=500, description="1 to 500 buildings"),
    ]
    attacks: tuple[_AttackConfig, ...] = ()


SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "bells": BellsConfig,
    "rates": RatesConfig,
    "buildings": BuildingConfig,
    "floors": FloorConfig,
    "rooms": RoomConfig,
    "devices": DeviceConfig,
    **ATTACK_CONFIGS,
}
"""Sections by their key in the file, and attacks by kind."""
