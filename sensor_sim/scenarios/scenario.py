"""Scenario files: a school, its rates, and attacks.

A scenario is a TOML file; ``docs/scenarios.md`` has an example of every part.
All faults of a file are reported at once, each with path, value, and what is allowed.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final, cast
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from sensor_sim.devices.models import MODELS, Device
from sensor_sim.errors import ScenarioError, ScenarioFault
from sensor_sim.faults.attacks import ATTACKS
from sensor_sim.scenarios.checks import faults_between, faults_within, unix_of
from sensor_sim.scenarios.schema import DAYS, RoomConfig, ScenarioConfig
from sensor_sim.school import Bells, Building, Floor, Restroom, School

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sensor_sim.faults.at_sensor import TraceAttack
    from sensor_sim.faults.on_wire import MessageAttack
    from sensor_sim.schedule import Activity

_MAX_BYTES: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Scenario:
    """A school that can be simulated, with its rates and its attacks.

    - `zone`: zone of the clocks of devices that print local time.
    - `vape_rate`, `nuisance_rate`: factors on how often it happens.
    - `activity`: as `sensor_sim.simulate.simulate` takes it.
    - `attacks`: as configured; `trace_attacks` and `message_attacks` put them on a time axis.
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

    - `start`: start of the simulation, Unix seconds; decides on daylight saving time.

    Raises `ScenarioError` with all faults of the file.
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
