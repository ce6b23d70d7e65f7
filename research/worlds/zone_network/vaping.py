"""Draw vaping sessions: how many people vape, where and how, and how they cover it up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.zone_network.layout import Driver, Mode, Species, Zone
from research.worlds.zone_network.nuisances import (
    dry_hands,
    flush,
    run_hot_tap,
    spray,
    wash_hands,
)
from research.worlds.zone_network.school import VAPING_STYLES
from research.worlds.zone_network.series import draw_log, pick

if TYPE_CHECKING:
    from research.worlds.zone_network.room import Room

_PUFF_MG: Final = {
    "pod": (0.27, 0.7),
    "disposable": (0.42, 0.7),
    "mod": (1.8, 0.7),
    "thc": (1.8, 0.45),
    "stealth": (0.2, 0.8),
}
"""Mass exhaled per puff by style: median in mg, and standard deviation of its logarithm."""
_PLACES: Final = {
    Zone.STALL_A: 0.31,
    Zone.STALL_B: 0.27,
    Zone.MAIN: 0.25,
    Zone.NOOK: 0.07,
    Zone.EXHAUST: 0.05,
    Zone.ENTRY: 0.05,
}
"""Where sessions take place, and the share of each place."""


@dataclass(frozen=True, slots=True)
class _Session:
    """Properties shared by all people in a session.

    - `exhaled`: share of the aerosol that is not hidden.
    - `evaporation`, `volatile`: the liquid's evaporation rate, µm²/s, and volatile mass share.
    """

    style: str
    people: int
    zone: Zone
    exhaled: float
    evaporation: float
    volatile: float


def vape(room: Room, at: float) -> None:
    """Draw a session of one or several people that begins at `at`."""
    rng = room.rng
    session = _draw_session(room, at)
    zone = session.zone
    end = at
    for i in range(session.people):
        end = max(end, _puff_all(room, session, at, is_first=i == 0))
    place = zone if zone in (Zone.STALL_A, Zone.STALL_B) else Zone.MAIN
    room.occupy(place, at - 20, end - at + 60, session.people)
    room.open_door(end + rng.uniform(5, 120))
    room.note("vape", session.style, at, end)
    _cover_up(room, zone, at, end)
    if rng.random() < 0.4:
        flush(room, end + rng.uniform(2, 40), zone)


def _draw_session(room: Room, at: float) -> _Session:
    rng = room.rng
    style = pick(rng, VAPING_STYLES, room.school.vaping_styles)
    people = 1 + int(min(5, rng.geometric(0.62) - 1))
    zone = pick(rng, tuple(_PLACES), tuple(_PLACES.values()))
    exhaled = 1.0
    if style == "stealth" or rng.random() < 0.12:
        # blown into a sleeve or the toilet bowl, or held in the lungs
        shares = rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.6)
        exhaled = pick(rng, shares)
        if rng.random() < 0.2:
            zone = Zone.EXHAUST
    room.open_door(at - rng.uniform(8, 90))
    if zone == Zone.STALL_A:
        room.drive(Driver.STALL_A_DOOR, at - 5, 3)
    elif zone == Zone.STALL_B:
        room.drive(Driver.STALL_B_DOOR, at - 5, 3)
    evaporation = 0.0263 * draw_log(rng, *((0.12, 0.7) if style == "mod" else (0.14, 0.42)))
    volatile = 1 - draw_log(rng, 0.008, 0.13)
    if style == "thc":
        volatile = rng.uniform(0.1, 0.5)
    return _Session(style, people, zone, exhaled, evaporation, volatile)


def _puff_all(room: Room, session: _Session, at: float, *, is_first: bool) -> float:
    """Release all puffs of one person; return when the last one ends."""
    rng = room.rng
    median, spread = _PUFF_MG[session.style]
    usual_mg = np.exp(rng.normal(np.log(median), spread)) * session.exhaled
    pause = draw_log(rng, 7, 55)
    if not is_first:
        at += rng.uniform(2, 25)
    if session.style in ("mod", "thc"):
        size, width = rng.uniform(0.5, 1.0), rng.uniform(1.6, 2.0)
    else:
        size, width = rng.uniform(0.4, 0.65), rng.uniform(1.4, 1.8)
    if usual_mg < 0.25:
        size = rng.uniform(0.3, 0.45)
    puffs = int(np.clip(rng.geometric(0.32 if session.people == 1 else 0.4), 1, 14))
    faces_sensor = rng.random() < 0.07
    end = at
    for _ in range(puffs):
        mg = usual_mg * np.exp(0.4 * rng.standard_normal())
        duration = rng.uniform(1, 4)
        rise = rng.uniform(0.3, 1.3) if session.exhaled > 0.6 else rng.uniform(0, 0.5)
        rising = min(room.rising_share * rise, 0.7)
        if faces_sensor:
            at_sensor = rng.uniform(0.03, 0.35)
        else:
            at_sensor = rng.uniform(0.02, 0.15) if rng.random() < 0.05 else 0.0
        vapor_mg = mg * draw_log(rng, 0.3, 2.0)
        for part, share in room.divide(session.zone, rising, at_sensor):
            _exhale(room, session, part, share, at, duration, mg, vapor_mg, size, width)
        end = max(end, at + duration)
        at += pause * np.exp(0.35 * rng.standard_normal())
    return end


def _exhale(
    room: Room,
    session: _Session,
    zone: Zone,
    share: float,
    at: float,
    duration: float,
    mg: float,
    vapor_mg: float,
    size: float,
    width: float,
) -> None:
    """Release a share of a puff into one zone."""
    rng, volatile = room.rng, session.volatile
    if session.style == "thc":
        for oil_um in (0.4, 0.8):
            half = mg * share * 0.5
            room.release_aerosol(zone, at, duration, Mode.THC, half, oil_um, 1.5, volatile)
        room.release_gas(zone, Species.TERPENE, at, duration, draw_log(rng, 0.2, 2) * share)
    else:
        evaporation = session.evaporation
        room.release_aerosol(
            zone, at, duration, Mode.VAPE, mg * share, size, width, volatile, evaporation
        )
        room.release_gas(zone, Species.GLYCOL, at, duration, vapor_mg * share)
        room.release_gas(zone, Species.GLYCEROL, at, duration, vapor_mg * 0.08 * share)
        flavor_mg = vapor_mg * share * draw_log(rng, 0.02, 0.4)
        room.release_gas(zone, Species.TERPENE, at, duration, flavor_mg)
    room.release_water(zone, at, duration, 0.06 * share)
    co2 = 30 / room.volumes[room.zone_of[zone]] * share
    room.release(zone, Species.CO2, at, duration, co2)


def _cover_up(room: Room, zone: Zone, at: float, end: float) -> None:
    """Add acts that accompany a session, on purpose or by chance."""
    rng = room.rng
    choice = rng.random()
    if choice < 0.13:
        spray(room, rng.uniform(at, end + 40), zone, "mask", strength=rng.uniform(0.5, 2))
    elif choice < 0.17:
        begin = rng.uniform(at - 20, end)
        wash_hands(room, begin)
        room.note("mask", "tap", begin, begin + 10)
    elif choice < 0.22:
        run_hot_tap(room, at - rng.uniform(10, 120))
    elif choice < 0.28:
        spray(room, at - draw_log(rng, 20, 400), Zone.MAIN)
    elif choice < 0.32:
        dry_hands(room, at + rng.uniform(0, 20))
