"""Draw activities of people and machines in a restroom, and the emissions of each.

Amounts are drawn log-uniformly from ranges around section 8 of the fact sheet (see the package).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from research.worlds.mixing_jets.air import Release, Room, draw_log
from research.worlds.mixing_jets.droplets import Aerosol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

Place = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Act:
    """An act with all its releases; times are in seconds since the world's start."""

    kind: str
    style: str
    onset: float
    end: float
    releases: tuple[Release, ...]


@dataclass(frozen=True, slots=True)
class VapeStyle:
    """Parameter ranges of one kind of vaping device.

    Attributes
    ----------
    puff_ug : tuple of float
        Exhaled aerosol.
    median_um, gsd, volatile, e_fold_s : tuple of float
        Droplet parameters. The volatile share is glycerol and all that evaporates before it.
    vapor_mg : tuple of float
        Mass of glycol and flavors released as gas.
    terpene : float
        Share of terpenes in the vapor.
    """

    puff_ug: tuple[float, float]
    median_um: tuple[float, float]
    gsd: tuple[float, float]
    volatile: tuple[float, float]
    e_fold_s: tuple[float, float]
    vapor_mg: tuple[float, float]
    terpene: float = 0.1


_POD: Final = VapeStyle(
    (100, 3000), (0.38, 0.65), (1.4, 1.8), (0.75, 0.97), (8, 60), (0.03, 3), 0.1
)
VAPE_STYLES: Final[Mapping[str, VapeStyle]] = {
    "pod": _POD,
    "disposable": VapeStyle(
        (150, 4000), (0.4, 0.65), (1.4, 1.8), (0.75, 0.97), (8, 60), (0.05, 5), 0.15
    ),
    "mod": VapeStyle((2000, 20_000), (0.5, 1.0), (1.6, 2.0), (0.7, 0.95), (20, 180), (1, 20)),
    "thc": VapeStyle((1500, 6500), (0.38, 0.42), (1.4, 1.8), (0.1, 0.5), (60, 600), (0.1, 2), 0.8),
    "stealth": _POD,
}


def near_stall(rng: np.random.Generator, room: Room, height_m: float = 0.6) -> Place:
    """Draw a place in one of the stalls along the far wall."""
    x, y, _ = room.size
    return (rng.uniform(0.1, 0.95) * x, y - rng.uniform(0.3, 1.1), height_m)


def near_basin(rng: np.random.Generator, room: Room, height_m: float = 1.0) -> Place:
    """Draw a place at one of the basins along the near wall."""
    return (rng.uniform(0.1, 0.7) * room.size[0], rng.uniform(0.2, 0.5), height_m)


def anywhere(rng: np.random.Generator, room: Room, height_m: float = 1.3) -> Place:
    """Draw a place to stand."""
    x, y, _ = room.size
    return (rng.uniform(0.1, 0.9) * x, rng.uniform(0.15, 0.85) * y, height_m)


def vape(rng: np.random.Generator, room: Room, onset: float, style: str) -> Act:
    """Vape alone or in a group: a series of puffs, each a short jet.

    People who hide their vaping hold the aerosol in, or blow it into a sleeve, the bowl or the fan.
    """
    people = 1 if style == "stealth" else int(min(4, rng.geometric(0.62)))
    spot = near_stall(rng, room, 1.2) if rng.random() < 0.7 else anywhere(rng, room, 1.5)
    # a stall, a hood or a fan retains some of it
    escaped = draw_log(rng, 0.08, 1.0)
    releases: list[Release] = []
    for _ in range(people):
        ranges = VAPE_STYLES[style if rng.random() < 0.8 else "disposable"]
        liquid = _vape_liquid(rng, ranges)
        strength = draw_log(rng, *ranges.puff_ug)
        vapor = draw_log(rng, *ranges.vapor_mg)
        terpene = ranges.terpene * rng.uniform(0.2, 1.8)
        kept = draw_log(rng, 0.03, 0.4) if style == "stealth" else escaped
        place = (spot[0] + rng.normal(0, 0.3), spot[1] + rng.normal(0, 0.3), spot[2])
        if style == "stealth" and rng.random() < 0.5:
            place = (place[0], place[1], 0.5)
        start = onset if not releases else onset + rng.uniform(0, 45)
        gap = draw_log(rng, 5, 60)
        for _ in range(min(int(rng.geometric(0.32)), 14)):
            throw = rng.normal(0, 0.35, 3) * (1, 1, 0.4)
            puff = strength * rng.lognormal(0, 0.4) * kept
            releases.append(
                Release(
                    start,
                    rng.uniform(1, 5),
                    (place[0] + throw[0], place[1] + throw[1], place[2] + throw[2]),
                    rng.uniform(0.12, 0.35),
                    tuple((aerosol, puff * share) for aerosol, share in liquid),
                    {
                        "glycol": vapor * (1 - terpene) * kept,
                        "terpene": vapor * terpene * kept,
                    },
                    water_g=rng.uniform(0.02, 0.1),
                    heat_k_m3=rng.uniform(0, 0.05),
                )
            )
            start += gap * rng.lognormal(0, 0.4) + 2
    end = max(release.start + release.length for release in releases)
    return Act("vape", style, onset, end, tuple(releases))


def _vape_liquid(rng: np.random.Generator, ranges: VapeStyle) -> list[tuple[Aerosol, float]]:
    gsd, volatile = rng.uniform(*ranges.gsd), rng.uniform(*ranges.volatile)
    e_fold = draw_log(rng, *ranges.e_fold_s)
    # a droplet's water and PG evaporate first, more slowly in a dense plume
    fast = volatile * rng.uniform(0.05, 0.4)
    fast_s = e_fold * rng.uniform(0.1, 0.4)
    median = rng.uniform(*ranges.median_um)
    first = Aerosol(median, gsd, fast, fast_s, volatile - fast, e_fold)
    if ranges is not VAPE_STYLES["thc"]:
        return [(first, 1.0)]
    share = rng.uniform(0.4, 0.8)
    second = Aerosol(2 * median, gsd, fast, 4 * fast_s, volatile - fast, 4 * e_fold)
    return [(first, share), (second, 1 - share)]


def spray(rng: np.random.Generator, room: Room, onset: float, style: str = "") -> Act:
    """Spray from a can (deodorant, hair spray, freshener) once or for some seconds."""
    length = draw_log(rng, 0.5, 5)
    gram = draw_log(rng, 0.3, 5) * min(1.0, length)
    aerosol_ug = draw_log(rng, 10_000, 500_000) * min(1.0, length)
    fine = draw_log(rng, 0.002, 0.08)
    place = anywhere(rng, room, 1.4)
    if style == "dispenser":
        place, aerosol_ug, gram, length = (
            (place[0], place[1], room.size[2] - 0.5),
            draw_log(rng, 5_000, 60_000),
            draw_log(rng, 0.03, 0.2),
            0.3,
        )
    solvent = rng.uniform(0.5, 0.9)
    wet = Aerosol(
        draw_log(rng, 2.3, 8.8),
        rng.uniform(1.8, 2.6),
        solvent * 0.7,
        draw_log(rng, 1, 10),
        solvent * 0.3,
        draw_log(rng, 5, 60),
    )
    tail = Aerosol(rng.uniform(0.2, 0.5), rng.uniform(1.5, 2.0))
    alcohol = rng.uniform(0.1, 0.9)
    release = Release(
        onset,
        length,
        place,
        rng.uniform(0.2, 0.45),
        ((wet, aerosol_ug * (1 - fine)), (tail, aerosol_ug * fine)),
        {
            "propellant": 1000 * gram * (1 - alcohol),
            "alcohol": 1000 * gram * alcohol,
            "terpene": 1000 * gram * draw_log(rng, 0.002, 0.05),
        },
        heat_k_m3=-0.3 * gram,
    )
    return Act("spray", style, onset, onset + length, (release,))


def sanitizer(rng: np.random.Generator, room: Room, onset: float) -> Act:
    """Rub hands with alcohol, or apply perfume."""
    length = rng.uniform(20, 60)
    grams = draw_log(rng, 0.3, 2)
    release = Release(
        onset,
        length,
        near_basin(rng, room, 1.1),
        0.4,
        gases={"alcohol": 1000 * grams, "terpene": 1000 * grams * draw_log(rng, 1e-4, 0.02)},
        water_g=0.4 * grams,
    )
    return Act("sanitizer", "", onset, onset + length, (release,))


def clean(rng: np.random.Generator, room: Room, onset: float) -> Act:
    """Mop the floor with a cleaner, and spray and wipe surfaces."""
    length = draw_log(rng, 300, 2400)
    releases = [
        Release(
            onset + 0.3 * length,
            length,
            anywhere(rng, room, 0.2),
            0.9,
            gases={
                "alcohol": 1000 * draw_log(rng, 0.5, 10),
                "terpene": draw_log(rng, 1, 100),
            },
            water_g=draw_log(rng, 20, 300),
        ),
        Release(
            onset,
            length,
            anywhere(rng, room, 0.5),
            0.8,
            ((_dust(rng), draw_log(rng, 500, 8000)),),
            co2_l=0.3 * length / 60,
        ),
    ]
    for _ in range(int(rng.integers(2, 10))):
        solvent_g = draw_log(rng, 0.02, 1)
        mist = Aerosol(draw_log(rng, 5, 30), 2.0, 0.9, draw_log(rng, 1, 10))
        releases.append(
            Release(
                onset + rng.uniform(0, 0.6) * length,
                rng.uniform(1, 20),
                anywhere(rng, room, 1.0),
                0.3,
                ((mist, draw_log(rng, 1000, 50_000)),),
                {"alcohol": 600 * solvent_g, "terpene": 20 * solvent_g},
            )
        )
        releases.append(
            Release(
                releases[-1].start,
                rng.uniform(300, 1200),
                releases[-1].place,
                0.4,
                gases={"alcohol": 400 * solvent_g},
            )
        )
    return Act("cleaning", "", onset, onset + length, tuple(releases))


def steam(rng: np.random.Generator, room: Room, onset: float) -> Act:
    """Run hot water until mirrors fog; the background adds fog near saturation."""
    length = draw_log(rng, 60, 900)
    rise = draw_log(rng, 0.04, 0.4)
    release = Release(
        onset,
        length,
        near_basin(rng, room),
        0.5,
        water_g=rise * 19.4 * room.volume_m3,
        heat_k_m3=draw_log(rng, 0.5, 3) * room.volume_m3,
    )
    return Act("steam", "", onset, onset + length, (release,))


def flush(rng: np.random.Generator, room: Room, onset: float) -> Act:
    """Flush a toilet: water droplets dry and leave a little salt."""
    droplets = Aerosol(draw_log(rng, 2, 8), 2.0, 0.995, 0.4)
    release = Release(
        onset,
        rng.uniform(4, 12),
        near_stall(rng, room),
        0.3,
        ((droplets, draw_log(rng, 30, 3000)),),
        {"body": draw_log(rng, 0.02, 3)},
        water_g=draw_log(rng, 0.2, 3),
    )
    return Act("flush", "", onset, onset + release.length, (release,))


def tap(rng: np.random.Generator, room: Room, onset: float) -> Act:
    """Wash hands; soap emits a little VOC."""
    length = rng.uniform(6, 40)
    release = Release(
        onset,
        length,
        near_basin(rng, room),
        0.3,
        gases={"terpene": draw_log(rng, 0.01, 2)},
        water_g=draw_log(rng, 0.3, 8),
        heat_k_m3=rng.uniform(0, 1),
    )
    return Act("tap", "", onset, onset + length, (release,))


def dry(rng: np.random.Generator, room: Room, onset: float) -> Act:
    """Dry hands with warm air; brushed motors shed particles."""
    length = rng.uniform(10, 40)
    motor = Aerosol(rng.uniform(0.3, 1.0), 1.8, density=1.8)
    release = Release(
        onset,
        length,
        near_basin(rng, room, 1.1),
        0.6,
        (
            (motor, draw_log(rng, 1, 300)),
            (_dust(rng), draw_log(rng, 10, 1000)),
        ),
        water_g=draw_log(rng, 1, 8),
        heat_k_m3=draw_log(rng, 2, 30),
    )
    return Act("dryer", "", onset, onset + length, (release,))


def _dust(rng: np.random.Generator) -> Aerosol:
    return Aerosol(rng.uniform(4, 10), 2.0, density=1.8)


def dust(rng: np.random.Generator, room: Room, onset: float) -> Act:
    """Raise dust with paper towels, a jacket or a crowd."""
    length = draw_log(rng, 10, 300)
    release = Release(
        onset,
        length,
        anywhere(rng, room, 1.0),
        0.5,
        ((_dust(rng), draw_log(rng, 5, 100) * room.volume_m3),),
    )
    return Act("dust", "", onset, onset + length, (release,))


def smoke(rng: np.random.Generator, room: Room, onset: float) -> Act:
    """Smoke a cigarette, or part of one."""
    length = rng.uniform(60, 480)
    aerosol = Aerosol(rng.uniform(0.2, 0.4), rng.uniform(1.5, 2.0), 0.2, 300.0, density=1.2)
    micrograms = length / 60 * draw_log(rng, 1200, 3000)
    spot = near_stall(rng, room, 1.2)
    releases = []
    parts = max(2, int(length / rng.uniform(15, 40)))
    for part in range(parts):
        strength = rng.lognormal(-0.1, 0.5) / parts
        releases.append(
            Release(
                onset + length * part / parts,
                length / parts,
                spot,
                0.2,
                ((aerosol, micrograms * strength),),
                {"smoke": length / 400 * draw_log(rng, 5, 40) * strength},
                water_g=0.05,
                heat_k_m3=1.0 * strength,
            )
        )
    return Act("cigarette", "", onset, onset + length, tuple(releases))


def burn(rng: np.random.Generator, room: Room, onset: float, kind: str) -> Act:
    """Burn incense or a candle, or let cooking leak in through the door."""
    length = draw_log(rng, 300, 3600)
    place = (0.1, rng.uniform(0.3, 0.7) * room.size[1], 1.5)
    if kind == "incense":
        place = anywhere(rng, room)
    aerosol = Aerosol(rng.uniform(0.2, 0.5), rng.uniform(1.5, 2.0), density=1.2)
    micrograms = draw_log(rng, 50, 500) * room.volume_m3 * max(1.0, length / 1200)
    release = Release(
        onset,
        length,
        place,
        0.6,
        ((aerosol, micrograms),),
        {"smoke": draw_log(rng, 0.05, 2) / 0.4 * room.volume_m3 * max(1.0, length / 1200)},
        water_g=draw_log(rng, 0.5, 5) * (20 if kind == "cooking" else 1),
    )
    return Act(kind, "", onset, onset + length, (release,))


def mist(rng: np.random.Generator, room: Room, onset: float, kind: str) -> Act:
    """Run a nebulizer, a humidifier, or a fog machine whose fluid is glycol."""
    length = draw_log(rng, 60, 3000)
    density = draw_log(rng, 50, 2000)
    gases: dict[str, float] = {}
    water_g = draw_log(rng, 0.03, 0.25) * 19.4 * room.volume_m3
    if kind == "fog":
        length = draw_log(rng, 15, 400)
        volatile = rng.uniform(0.7, 0.95)
        aerosol = Aerosol(
            rng.uniform(0.5, 1.5),
            1.7,
            0.2 * volatile,
            10,
            0.8 * volatile,
            draw_log(rng, 60, 600),
        )
        density *= 5
        gases = {"glycol": density * room.volume_m3 / 1000 * draw_log(rng, 0.3, 3)}
        water_g *= 0.1
    else:
        # salt water dries at once and leaves salt particles with a fifth of the diameter
        aerosol = Aerosol(rng.uniform(3, 5), rng.uniform(1.7, 2.2), 0.985, 0.3, density=1.3)
        density *= 20
    release = Release(
        onset,
        length,
        anywhere(rng, room, 0.9),
        0.4,
        ((aerosol, density * room.volume_m3),),
        gases,
        water_g=water_g,
    )
    return Act(kind, "", onset, onset + length, (release,))


def stay(rng: np.random.Generator, room: Room, onset: float, length: float) -> Release:
    """Return a person's emissions: breath, warmth, odors, and dust from steps."""
    return Release(
        onset,
        length,
        anywhere(rng, room, 1.3),
        0.9,
        ((_dust(rng), draw_log(rng, 20, 800)),),
        {"body": draw_log(rng, 0.1, 1.5)},
        water_g=length / 60 * rng.uniform(0.6, 1.2),
        heat_k_m3=length / 60 * rng.uniform(1, 3),
        co2_l=length / 60 * rng.uniform(0.2, 0.35),
    )


SIMPLE_ACTS: Final[Mapping[str, Callable[[np.random.Generator, Room, float], Act]]] = {
    "spray": spray,
    "sanitizer": sanitizer,
    "cleaning": clean,
    "steam": steam,
    "flush": flush,
    "tap": tap,
    "dryer": dry,
    "dust": dust,
    "cigarette": smoke,
    "incense": lambda rng, room, onset: burn(rng, room, onset, "incense"),
    "cooking": lambda rng, room, onset: burn(rng, room, onset, "cooking"),
    "nebulizer": lambda rng, room, onset: mist(rng, room, onset, "nebulizer"),
    "humidifier": lambda rng, room, onset: mist(rng, room, onset, "humidifier"),
    "fog": lambda rng, room, onset: mist(rng, room, onset, "fog"),
}
"""Acts by kind, except vaping and acts that cover it up."""
