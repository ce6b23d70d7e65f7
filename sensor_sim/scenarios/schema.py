"""Sections and keys of a scenario file, and the allowed values."""

from __future__ import annotations

from datetime import datetime
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

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
    """Return the limits of a number, described for people."""
    return Field(ge=low, le=high, description=f"{low:.12g} to {high:.12g}{unit}")


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
_Moment = Annotated[
    float | datetime,
    BeforeValidator(moment),
    Field(description="seconds after the start, 0 to 1000000000, or a date and time"),
]
_Seconds = Annotated[float, Field(gt=0, le=31_536_000, description="above 0 to 31536000 seconds")]
_Seed = Annotated[int, Field(ge=0, le=2**31 - 1, description="0 to 2147483647")]


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


class CoveredConfig(_Section):
    """Settings of `sensor_sim.faults.attacks.Covered`."""

    kind: Literal["covered"]
    sensor: _Id
    start: _Moment
    end: _Moment
    settle_s: _Seconds = 90.0


class BlownAtConfig(_Section):
    """Settings of `sensor_sim.faults.attacks.BlownAt`."""

    kind: Literal["blown_at"]
    sensor: _Id
    start: _Moment
    duration_s: Annotated[float, _limits(0.2, 30, " seconds")] = 2.0
    dust_ug_m3: Annotated[float, _limits(0, 10_000, " µg/m³")] = 250.0


class UnpluggedConfig(_Section):
    """Settings of `sensor_sim.faults.attacks.Unplugged`."""

    kind: Literal["unplugged"]
    sensor: _Id
    start: _Moment
    end: _Moment | None = None


class RippedOffConfig(_Section):
    """Settings of `sensor_sim.faults.attacks.RippedOff`."""

    kind: Literal["ripped_off"]
    sensor: _Id
    start: _Moment
    alive_s: Annotated[float, Field(gt=0, le=600, description="above 0 to 600 seconds")] = 8.0


class ClockJumpConfig(_Section):
    """Settings of `sensor_sim.faults.attacks.ClockJump`."""

    kind: Literal["clock_jump"]
    sensor: _Id
    start: _Moment
    end: _Moment
    offset_s: Annotated[float, _limits(-4e9, 4e9, " seconds")] = 3600.0


class GatewayOutageConfig(_Section):
    """Settings of `sensor_sim.faults.attacks.GatewayOutage`."""

    kind: Literal["gateway_outage"]
    sensors: tuple[_Id, ...] = ()
    start: _Moment
    end: _Moment
    flush: bool = False
    flush_hz: Annotated[
        float, Field(gt=0, le=10_000, description="above 0 to 10000 messages per second")
    ] = 50.0


class ReplayConfig(_Section):
    """Settings of `sensor_sim.faults.attacks.Replay`."""

    kind: Literal["replay"]
    sensor: _Id
    start: _Moment
    end: _Moment
    at: _Moment


class SpoofConfig(_Section):
    """Settings of `sensor_sim.faults.attacks.Spoof`."""

    kind: Literal["spoof"]
    sensor: _Id
    start: _Moment
    duration_s: _Seconds = 60.0
    every_s: Annotated[float, _limits(0.01, 3600, " seconds")] = 1.0
    claims: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_.-]{0,64}$", description="a sensor id, or empty")
    ] = ""


class FloodConfig(_Section):
    """Settings of `sensor_sim.faults.attacks.Flood`."""

    kind: Literal["flood"]
    start: _Moment
    duration_s: _Seconds = 10.0
    rate_hz: Annotated[
        float, Field(gt=0, le=100_000, description="above 0 to 100000 messages per second")
    ] = 1000.0
    sensors: Annotated[int, _limits(1, 1_000_000)] = 100
    retain: bool = False


class GarbageConfig(_Section):
    """Settings of `sensor_sim.faults.attacks.Garbage`."""

    kind: Literal["garbage"]
    sensor: _Id
    start: _Moment
    duration_s: _Seconds = 10.0
    rate_hz: Annotated[
        float, Field(gt=0, le=10_000, description="above 0 to 10000 messages per second")
    ] = 5.0
    big_bytes: Annotated[int, _limits(1, 100_000_000, " bytes")] = 1_000_000


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
