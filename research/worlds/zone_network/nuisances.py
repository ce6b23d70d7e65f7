"""Draw activities other than vaping: washing, drying, spraying, cleaning, smoke and mist.

Each function draws one act that begins at `at` (s) and adds its releases to the room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from research.worlds.zone_network.layout import Driver, Mode, Species, Zone
from research.worlds.zone_network.series import draw_log, pick

if TYPE_CHECKING:
    from research.worlds.zone_network.room import Room


def spray(
    room: Room, at: float, zone: Zone, kind: str = "spray", style: str = "", strength: float = 1.0
) -> None:
    """Spray from a can or bottle; draw the style if `style` is empty."""
    rng = room.rng
    style = style or pick(rng, ("deodorant", "hair", "freshener", "perfume", "bodymist"))
    if style == "perfume":
        mg = draw_log(rng, 3, 40)
        size, width, volatile = rng.uniform(3, 12), rng.uniform(1.7, 2.5), rng.uniform(0.85, 0.98)
        voc_mg, duration = draw_log(rng, 60, 500), rng.uniform(0.5, 2)
        evaporation = draw_log(rng, 0.5, 6)
    elif style == "bodymist":
        mg = draw_log(rng, 5, 80)
        size, width, volatile = rng.uniform(5, 25), rng.uniform(1.8, 2.4), rng.uniform(0.9, 0.99)
        voc_mg, duration = draw_log(rng, 50, 700), rng.uniform(1, 4)
        evaporation = draw_log(rng, 0.5, 10)
    else:
        mg = draw_log(rng, 3, 160)
        size, width, volatile = (
            rng.uniform(2.3, 8.8),
            rng.uniform(1.9, 3.2),
            rng.uniform(0.65, 0.97),
        )
        voc_mg, duration = draw_log(rng, 60, 2200), rng.uniform(0.5, 5)
        evaporation = draw_log(rng, 0.1, 6)
    mg *= strength
    voc_mg *= strength
    at_sensor = rng.uniform(0.05, 0.4) if rng.random() < 0.08 else 0.0
    rising = room.rising_share * rng.uniform(0.2, 1)
    for part, share in room.divide(zone, rising, at_sensor):
        room.release_aerosol(
            part, at, duration, Mode.SPRAY, mg * share, size, width, volatile, evaporation
        )
        room.release_gas(part, Species.ALCOHOL, at, duration, voc_mg * share)
        room.release_gas(
            part, Species.TERPENE, at, duration, voc_mg * share * draw_log(rng, 0.003, 0.05)
        )
        if rng.random() < 0.6:
            residue = mg * share * draw_log(rng, 0.005, 0.06)
            room.release_aerosol(
                part, at, duration, Mode.SMOKE, residue, rng.uniform(0.2, 0.5), 1.6, 0.05
            )
    room.release_heat(zone, at, duration, -draw_log(rng, 10, 300))
    room.note(kind, style, at, at + duration)


def wash_hands(room: Room, at: float) -> float:
    """Run a tap, cold or hot; return when it ends."""
    rng, zone = room.rng, Zone.MAIN
    duration = draw_log(rng, 4, 35)
    hot = rng.random() < room.school.hot_water * 0.5
    grams = duration * (draw_log(rng, 0.05, 0.5) if hot else draw_log(rng, 0.003, 0.03))
    room.release_water(zone, at, duration, grams)
    if hot:
        room.release_heat(zone, at, duration, grams * 400 + duration * rng.uniform(20, 150))
        mg = duration * draw_log(rng, 0.004, 0.1)
        room.release_aerosol(zone, at, duration, Mode.MIST, mg, rng.uniform(2, 6), 1.8, 0.9995)
    else:
        mg = duration * draw_log(rng, 0.0005, 0.01)
        room.release_aerosol(zone, at, duration, Mode.MIST, mg, rng.uniform(3, 9), 2, 0.9992)
    kind = "steam" if hot and grams > 3 else "tap"
    room.note(kind, "hot" if hot else "cold", at, at + duration)
    return at + duration


def dry_hands(room: Room, at: float) -> float:
    """Run the hand dryer; return when it ends."""
    rng, zone = room.rng, Zone.MAIN
    duration = rng.uniform(8, 40)
    room.drive(Driver.HAND_DRYER, at, duration, rng.uniform(0.5, 1))
    room.release_heat(zone, at, duration, room.dryer_watts * duration * 0.7)
    room.release_water(zone, at, duration, draw_log(rng, 1, 6))
    mg = draw_log(rng, 0.003, 0.05)
    room.release_aerosol(zone, at, duration, Mode.MIST, mg, rng.uniform(0.4, 2), 1.9, 0.9)
    mg = draw_log(rng, 0.02, 0.6)
    room.release_aerosol(zone, at, duration, Mode.DUST, mg, rng.uniform(3, 8), 2, 0, fresh=0.2)
    if room.dryer_has_fines:
        mg = draw_log(rng, 0.01, 0.4)
        room.release_aerosol(
            zone, at, duration, Mode.SMOKE, mg, rng.uniform(0.15, 0.5), 1.6, 0.05, fresh=0.3
        )
    room.note("dryer", "hot" if room.dryer_watts > 900 else "jet", at, at + duration)
    return at + duration


def sanitize_hands(room: Room, at: float) -> None:
    """Rub alcohol gel into hands."""
    rng = room.rng
    duration = draw_log(rng, 15, 60)
    room.release_gas(Zone.MAIN, Species.ALCOHOL, at, duration, draw_log(rng, 80, 800))
    room.note("sanitizer", "gel", at, at + duration)


def flush(room: Room, at: float, zone: Zone, style: str = "wc") -> None:
    """Flush a toilet or urinal."""
    rng = room.rng
    mg = draw_log(rng, 0.005, 0.25)
    room.release_aerosol(zone, at, 5, Mode.MIST, mg, rng.uniform(2, 8), 2, 0.998)
    room.release_water(zone, at, 20, draw_log(rng, 0.1, 1.5))
    room.release_gas(zone, Species.TERPENE, at, 30, draw_log(rng, 0.01, 0.4))
    room.note("flush", style, at, at + 8)


def pull_paper(room: Room, at: float, zone: Zone, strength: float = 1.0) -> None:
    """Raise dust by pulling paper towels."""
    rng = room.rng
    duration = rng.uniform(2, 15)
    mg = draw_log(rng, 0.03, 0.7) * strength
    room.release_aerosol(zone, at, duration, Mode.DUST, mg, rng.uniform(4, 10), 2, 0)
    room.note("dust", "paper", at, at + duration)


def raise_dust(room: Room, at: float, duration: float, style: str) -> None:
    """Raise dust from the floor by walking, playing or sweeping."""
    rng = room.rng
    low, high, fresh = {"walk": (0.5, 8, 0.1), "play": (3, 60, 0.2), "sweep": (2, 40, 0.2)}[style]
    mg = draw_log(rng, low, high)
    room.release_aerosol(
        Zone.MAIN, at, duration, Mode.DUST, mg, rng.uniform(4, 9), 2, 0, fresh=fresh
    )
    room.note("dust", style, at, at + duration)


def run_hot_tap(room: Room, at: float) -> None:
    """Run a hot tap until the room is steamy."""
    rng, zone = room.rng, Zone.MAIN
    duration = draw_log(rng, 60, 300)
    grams = duration * rng.uniform(0.2, 0.8)
    room.release_water(zone, at, duration, grams)
    room.release_heat(zone, at, duration, grams * 500)
    mg = duration * draw_log(rng, 0.01, 0.2)
    room.release_aerosol(zone, at, duration, Mode.MIST, mg, rng.uniform(3, 7), 1.8, 0.9996)
    room.note("steam", "hot tap", at, at + duration)


def shower(room: Room, at: float) -> None:
    """Take a shower."""
    rng = room.rng
    duration = draw_log(rng, 120, 800)
    zone = pick(rng, (Zone.STALL_A, Zone.STALL_B, Zone.NOOK))
    grams = rng.uniform(0.4, 2.5) * duration
    room.release_water(zone, at, duration, grams)
    room.release_heat(zone, at, duration, grams * 500)
    mg = duration * draw_log(rng, 0.05, 0.8)
    room.release_aerosol(zone, at, duration, Mode.MIST, mg, rng.uniform(4, 8), 1.8, 0.9996)
    room.occupy(Zone.STALL_A, at, duration)
    room.note("steam", "shower", at, at + duration)


def clean(room: Room, at: float) -> None:
    """Clean the room: sweep, use trigger sprays, mop, use freshener."""
    rng = room.rng
    length = draw_log(rng, 300, 2400)
    room.occupy(Zone.MAIN, at, length)
    room.drive(Driver.DOOR, at, length * rng.uniform(0.1, 1), rng.uniform(0.2, 0.8))
    room.note("cleaning", "round", at, at + length)
    x = at
    if rng.random() < 0.7:
        duration = rng.uniform(30, 240)
        raise_dust(room, x, duration, "sweep")
        x += duration
    for _ in range(int(rng.integers(2, 14))):
        x += draw_log(rng, 8, 90)
        if x > at + length * 0.75:
            break
        _spray_cleaner(room, x)
    if rng.random() < 0.75:
        duration = draw_log(rng, 600, 2400)
        room.release_gas(Zone.MAIN, Species.ALCOHOL, x, duration, draw_log(rng, 150, 3000))
        room.release_gas(Zone.MAIN, Species.TERPENE, x, duration, draw_log(rng, 5, 200))
        room.release_water(Zone.MAIN, x, duration, draw_log(rng, 50, 500))
        room.note("cleaning", "mop", x, x + duration)
    if rng.random() < 0.4:
        spray(room, at + length * 0.95, Zone.MAIN, style="freshener")


def _spray_cleaner(room: Room, at: float) -> None:
    rng = room.rng
    zone = pick(rng, (Zone.MAIN, Zone.STALL_A, Zone.STALL_B))
    duration = rng.uniform(1, 15)
    mg, voc_mg = draw_log(rng, 1, 50), draw_log(rng, 20, 900)
    size, width, volatile = rng.uniform(5, 28), rng.uniform(1.7, 2.2), rng.uniform(0.9, 0.995)
    evaporation = draw_log(rng, 1, 30)
    room.release_aerosol(zone, at, duration, Mode.SPRAY, mg, size, width, volatile, evaporation)
    room.release_gas(zone, Species.ALCOHOL, at, duration, voc_mg * 0.4)
    room.release_gas(zone, Species.ALCOHOL, at, draw_log(rng, 200, 1200), voc_mg * 0.6)
    room.release_gas(zone, Species.TERPENE, at, draw_log(rng, 200, 1200), voc_mg * 0.03)
    room.note("spray", "trigger", at, at + duration)


def smoke(room: Room, at: float, kind: str) -> None:
    """Smoke a cigarette, burn incense, or let in cooking smoke."""
    rng = room.rng
    if kind == "cigarette":
        duration, mg = rng.uniform(150, 480), draw_log(rng, 4, 18)
        zone = pick(rng, (Zone.STALL_A, Zone.STALL_B, Zone.MAIN, Zone.NOOK))
        volatile, size, voc_mg = 0.2, rng.uniform(0.2, 0.42), draw_log(rng, 5, 40)
    elif kind == "incense":
        duration, mg = draw_log(rng, 300, 3600), draw_log(rng, 4, 30)
        zone = pick(rng, (Zone.MAIN, Zone.CORRIDOR))
        volatile, size, voc_mg = 0.08, rng.uniform(0.22, 0.5), draw_log(rng, 5, 80)
    else:
        duration, mg = draw_log(rng, 400, 3600), draw_log(rng, 30, 500)
        zone = Zone.CORRIDOR
        volatile, size, voc_mg = 0.15, rng.uniform(0.2, 0.5), draw_log(rng, 50, 800)
    puffs = max(1, int(duration / rng.uniform(15, 60)))
    for i in range(puffs):
        puff = mg / puffs * draw_log(rng, 0.4, 2.5)
        for part, share in room.divide(zone, room.rising_share * 0.8):
            room.release_aerosol(
                part,
                at + i * duration / puffs,
                duration / puffs * rng.uniform(0.15, 1),
                Mode.SMOKE,
                puff * share,
                size,
                rng.uniform(1.5, 1.9),
                volatile,
                fresh=0.8,
            )
    room.release_gas(zone, Species.ALCOHOL, at, duration, voc_mg)
    room.release_gas(zone, Species.TERPENE, at, duration, voc_mg * 0.4)
    if kind == "cigarette":
        room.open_door(at - 20)
        room.occupy(Zone.STALL_A, at, duration)
        room.open_door(at + duration + 10)
    room.note(kind, "", at, at + duration)


def make_fog(room: Room, at: float) -> None:
    """Run a fog machine in the room or the corridor."""
    rng = room.rng
    draw_log(rng, 120, 3000)  # unused; part of the order of draws
    duration = draw_log(rng, 30, 600)
    zone = pick(rng, (Zone.MAIN, Zone.CORRIDOR, Zone.CORRIDOR))
    mg = draw_log(rng, 8, 120) * (3 if zone == Zone.CORRIDOR else 1)
    size, volatile = rng.uniform(0.5, 1.3), rng.uniform(0.9, 0.98)
    room.release_aerosol(zone, at, duration, Mode.FOG, mg, size, 1.7, volatile)
    room.release_gas(zone, Species.GLYCOL, at, duration, mg * rng.uniform(0.1, 0.5))
    room.release_water(zone, at, duration, mg * 2e-3)
    room.note("fog", "", at, at + duration)


def nebulize(room: Room, at: float, kind: str) -> None:
    """Run a humidifier or nebulizer; its droplets dry to salt particles."""
    rng = room.rng
    duration = draw_log(rng, 120, 3000)
    zone = pick(rng, (Zone.MAIN, Zone.STALL_A, Zone.NOOK))
    mg_s, salt = draw_log(rng, 0.3, 6), draw_log(rng, 1e-4, 2e-3)
    if kind == "nebulizer":
        duration = draw_log(rng, 60, 700)
        mg_s, salt = draw_log(rng, 0.1, 3), draw_log(rng, 0.004, 0.03)
    mg = mg_s * duration
    room.release_aerosol(zone, at, duration, Mode.MIST, mg, rng.uniform(3, 5), 1.8, 1 - salt)
    room.release_water(zone, at, duration, mg * rng.uniform(1, 8) * 1e-3)
    room.note(kind, "", at, at + duration)
