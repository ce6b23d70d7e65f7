"""Draw each act's emissions, and the cells that they enter.

Parameters are drawn uniformly or log-uniformly for each act, from the ranges in SCIENCE.md, section
8. Three assumptions have no source: how much of a hidden puff the sleeve or the toilet bowl
retains, the share of an exhaled cloud in the upper layer, and a factor of 0.1-10 on a vape's VOC,
so that some sessions hardly raise VOC and others raise it strongly. Sprays release 3-200 mg instead
of 10-500, because here all of it stays airborne, while a real can also wets skin and walls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from research.worlds.plume_grid.aerosol import (
    FOG,
    HEAT,
    INERT,
    LIGHT,
    SOLVENT,
    STICKY,
    VAPE,
    VAPE_RESIDUE,
    VAPOUR,
    WATER,
    WIDTH,
    size_shares,
    speed_of,
)
from research.worlds.plume_grid.grid import CELLS, COLUMNS, DOOR
from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

ETHANOL_PPM_M3_MG: Final = 0.53
"""Ppm of 1 mg of ethanol in 1 m³."""
PG_PPM_M3_MG: Final = 0.33
MASK_SHARE: Final = 0.12


@dataclass(frozen=True, slots=True)
class Place:
    """Where an act happens: the room, and the column of cells in which the person stands."""

    volume_m3: float
    air_changes_h: float
    fan: int
    column: int

    def of_room(self, concentration: float, duration_s: float) -> float:
        """Return the amount that raises the room to this concentration despite ventilation."""
        losses = (self.air_changes_h + 0.4) * duration_s / 3600
        return concentration * self.volume_m3 * (1 + losses)


@dataclass(frozen=True, slots=True)
class Release:
    """An amount released at a constant rate from `start` for `duration_s`.

    - `amounts` (WIDTH,): concentration (the unit of its column) times m³.
    - `cells` (CELLS,): shares of the cells.
    """

    start: float
    duration_s: float
    amounts: NDArray[np.float64]
    cells: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Act:
    """One act and its releases; times are in seconds since the world's start.

    - `stirring`: factor on the air's motion during the act.
    - `speed`: for vaping, the liquid's evaporation rate relative to glycerol.
    """

    kind: str
    style: str
    onset: float
    end: float
    releases: tuple[Release, ...] = ()
    stirring: float = 1.0
    speed: float = 0.0


def _amounts(*aerosols: tuple[slice, float, float, float], **gases: float) -> NDArray[np.float64]:
    """Return a release of aerosol (group, µg, median µm, spread), gases, vapor and heat."""
    out = np.zeros(WIDTH)
    for group, mass, median, spread in aerosols:
        out[group] += mass * size_shares(median, spread)
    columns = {"light": LIGHT, "sticky": STICKY, "vapor": VAPOUR, "heat": HEAT}
    for name, amount in gases.items():
        out[columns[name]] += amount
    return out


def layers(column: int, upper: float) -> NDArray[np.float64]:
    """Return the shares of a column's two cells."""
    cells = np.zeros(CELLS)
    cells[column] = 1 - upper
    cells[COLUMNS + column] = upper
    return cells


def everywhere() -> NDArray[np.float64]:
    """Return equal shares of all cells."""
    return np.full(CELLS, 1 / CELLS)


@dataclass(frozen=True, slots=True)
class _Liquid:
    """Ranges for a vaping style: µg per puff, size, volatile share, e-folding time, mg of VOC."""

    weight: float
    mass_ug: tuple[float, float]
    median_um: tuple[float, float]
    spread: tuple[float, float]
    volatile: tuple[float, float]
    e_fold_s: tuple[float, float]
    voc_mg: tuple[float, float]


LIQUIDS_BY_STYLE: Final[Mapping[str, _Liquid]] = {
    "pod": _Liquid(3, (100, 3000), (0.35, 0.65), (1.4, 1.8), (0.75, 0.97), (6, 50), (0.1, 3)),
    "disposable": _Liquid(4, (200, 4000), (0.4, 0.65), (1.4, 1.8), (0.75, 0.97), (6, 50), (0.1, 3)),
    "mod": _Liquid(1.2, (2000, 20000), (0.5, 1.0), (1.6, 2), (0.7, 0.95), (20, 180), (2, 20)),
    "thc": _Liquid(1.8, (2500, 6500), (0.4, 0.8), (1.4, 1.8), (0.1, 0.5), (60, 600), (0.2, 2)),
    "stealth": _Liquid(2, (100, 2000), (0.3, 0.5), (1.4, 1.7), (0.75, 0.97), (6, 50), (0.1, 3)),
}


def _exhaled_into(rng: np.random.Generator, place: Place, *, hidden: bool) -> NDArray[np.float64]:
    if not hidden:
        return layers(place.column, rng.uniform(0.1, 0.7))
    way = rng.integers(3)
    if way == 0:  # under the fan
        cells = layers(place.column, 0.5) * 0.3
        cells[place.fan] += 0.7
        return cells
    # exhaled into the bowl or a sleeve, which retains the rest
    return layers(place.column, 0.0 if way == 1 else 0.3) * draw_log(rng, 0.05, 0.5)


def _puff_times(rng: np.random.Generator) -> list[float]:
    """Return when people exhale, in seconds after the onset; they may share one device."""
    people = int(rng.choice([1, 2, 3, 4], p=[0.6, 0.25, 0.1, 0.05]))
    pause = draw_log(rng, 6, 60)
    times: list[float] = []
    for _ in range(people):
        at = float(rng.exponential(0.5 * pause)) if times else 0.0
        stop = rng.choice([1.0, 0.3, 0.12], p=[0.25, 0.45, 0.3])
        for _ in range(10):
            times.append(at)
            if rng.random() < stop:
                break
            at += 4 + float(rng.exponential(pause))
    first = min(times)
    return sorted(t - first for t in times)


def vape(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw a session of one style, from a single puff to several people vaping for minutes."""
    weights = np.array([x.weight for x in LIQUIDS_BY_STYLE.values()])
    style = str(rng.choice(list(LIQUIDS_BY_STYLE), p=weights / weights.sum()))
    liquid = LIQUIDS_BY_STYLE[style]
    hidden = style == "stealth" or rng.random() < 0.1
    median = rng.uniform(*liquid.median_um)
    spread = rng.uniform(*liquid.spread)
    volatile = rng.uniform(*liquid.volatile)
    mass = draw_log(rng, *liquid.mass_ug)
    voc = draw_log(rng, *liquid.voc_mg) * rng.uniform(0.3, 1) * draw_log(rng, 0.1, 10)
    left_um = max(median * (1 - volatile) ** (1 / 3), 0.15)
    cells = _exhaled_into(rng, place, hidden=hidden)
    releases = []
    for after in _puff_times(rng):
        size = float(np.exp(0.4 * rng.standard_normal()))
        ug = mass * size
        gas = voc * size * PG_PPM_M3_MG
        modes = (0.4, 0.8) if style == "thc" else (median, median)
        amounts = _amounts(
            (VAPE, 0.5 * ug * volatile, modes[0], spread),
            (VAPE, 0.5 * ug * volatile, modes[1], spread),
            (VAPE_RESIDUE, ug * (1 - volatile), left_um, spread),
            sticky=0.7 * gas,
            light=0.3 * gas,
            vapor=rng.uniform(0.02, 0.08),
        )
        releases.append(Release(at + after, rng.uniform(1, 4), amounts, cells))
    speed = speed_of(median, draw_log(rng, *liquid.e_fold_s))
    end = releases[-1].start + releases[-1].duration_s
    return Act("vape", style, at, end, tuple(releases), speed=speed)


_CANS: Final[Mapping[str, tuple[float, float]]] = {
    # median µm of the droplets
    "deodorant": (2.3, 5.0),
    "hair_spray": (3.0, 8.8),
    "air_freshener": (2.3, 8.8),
    "disinfectant": (3.0, 8.8),
    "perfume": (4.0, 8.8),
}


def spray(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw a spray from a can or bottle: solvent, residue with some fine particles, lots of VOC."""
    style = str(rng.choice(list(_CANS)))
    duration = draw_log(rng, 0.5, 5)
    mass = draw_log(rng, 3_000, 200_000) * (0.2 if style == "perfume" else 1)
    share = rng.uniform(0.5, 0.9)
    fine = draw_log(rng, 0.002, 0.04)
    median = rng.uniform(*_CANS[style])
    spread = rng.uniform(2, 3.2)
    gas = draw_log(rng, 300, 5000) * ETHANOL_PPM_M3_MG * draw_log(rng, 0.2, 1)
    amounts = _amounts(
        (SOLVENT, mass * share, median, spread),
        (INERT, mass * (1 - share) * (1 - fine), median * 0.7, spread),
        (INERT, mass * fine, rng.uniform(0.2, 0.5), 1.8),
        light=0.8 * gas,
        sticky=0.2 * gas,
        heat=-rng.uniform(0, 2),
    )
    cells = layers(place.column, rng.uniform(0.2, 0.7))
    return Act("spray", style, at, at + duration, (Release(at, duration, amounts, cells),))


def sanitizer(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw a hand rub."""
    duration = rng.uniform(20, 60)
    gas = draw_log(rng, 300, 2000) * ETHANOL_PPM_M3_MG
    release = Release(at, duration, _amounts(light=gas), layers(place.column, 0.3))
    return Act("sanitizer", "hand_rub", at, at + duration, (release,))


def cleaning(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw a wet floor, or surfaces cleaned with a trigger bottle."""
    if rng.random() < 0.4:
        duration = rng.uniform(600, 2400)
        gas = draw_log(rng, 500, 10_000) * ETHANOL_PPM_M3_MG
        amounts = _amounts(
            (INERT, place.of_room(draw_log(rng, 1, 20), duration), 5.0, 2.0),
            light=0.6 * gas,
            sticky=0.4 * gas,
            vapor=draw_log(rng, 20, 200),
        )
        release = Release(at, duration, amounts, everywhere())
        return Act("cleaning", "floor", at, at + duration, (release,))
    releases = []
    t = at
    for _ in range(int(rng.integers(1, 12))):
        mass = draw_log(rng, 1000, 50_000)
        size = rng.uniform(5, 20)
        amounts = _amounts((WATER, mass * 0.95, size, 2), (INERT, mass * 0.05, size / 3, 2))
        releases.append(Release(t, 1.0, amounts, layers(place.column, 0.2)))
        t += rng.uniform(2, 20)
    gas = draw_log(rng, 20, 1000) * ETHANOL_PPM_M3_MG
    amounts = _amounts(light=0.5 * gas, sticky=0.5 * gas, vapor=rng.uniform(1, 20))
    releases.append(Release(at, rng.uniform(300, 1200), amounts, layers(place.column, 0.3)))
    return Act("cleaning", "trigger", at, t, tuple(releases))


def _steam(
    rng: np.random.Generator, at: float, place: Place, style: str, duration: float, rise: float
) -> Act:
    """Draw running hot water that raises relative humidity by `rise` percentage points."""
    droplets = draw_log(rng, 50, 2000) * duration
    amounts = _amounts(
        (WATER, droplets, rng.uniform(2, 7), 1.8),
        (INERT, droplets * draw_log(rng, 1e-5, 1e-3), rng.uniform(0.2, 0.6), 1.8),
        vapor=place.of_room(rise * 0.18, duration),
        heat=place.of_room(rise * rng.uniform(0.05, 0.12), duration),
        light=place.volume_m3 * rng.uniform(0, 0.05),
    )
    release = Release(at, duration, amounts, layers(place.column, 0.5))
    return Act("steam", style, at, at + duration, (release,))


def shower(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw a hot shower, or a basin left running hot."""
    return _steam(rng, at, place, "shower", rng.uniform(120, 900), rng.uniform(8, 40))


def tap(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw hand washing with cold water."""
    duration = rng.uniform(5, 30)
    release = Release(at, duration, _amounts(vapor=rng.uniform(0.2, 3)), layers(place.column, 0.1))
    return Act("tap", "cold", at, at + duration, (release,))


def hot_tap(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw hand washing with hot water."""
    return _steam(rng, at, place, "hot_tap", rng.uniform(10, 60), rng.uniform(0.2, 4))


def flush(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw a flush: some droplets with hardly any residue."""
    amounts = _amounts(
        (WATER, draw_log(rng, 100, 5000), 3.0, 2.0),
        (INERT, draw_log(rng, 0.1, 15), 1.5, 2.0),
        vapor=rng.uniform(0, 2),
    )
    release = Release(at, 3.0, amounts, layers(place.column, 0.0))
    return Act("flush", "toilet", at, at + 6, (release,), stirring=1.1)


def dryer(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw a hand dryer, which heats and stirs the air and raises some dust."""
    duration = rng.uniform(10, 40)
    fine = max(rng.uniform(-6, 9), 0) * place.volume_m3 * 0.5
    amounts = _amounts(
        (INERT, fine, rng.uniform(0.3, 1.0), 1.7),
        (INERT, draw_log(rng, 5, 300), rng.uniform(4, 9), 2.0),
        vapor=rng.uniform(-4, 8),
        heat=rng.uniform(3, 30),
    )
    release = Release(at, duration, amounts, layers(place.column, 0.4))
    stirring = rng.uniform(1.2, 2.5)
    return Act("dryer", "hand", at, at + duration, (release,), stirring=stirring)


def dust(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw dust from sweeping, paper towels or running around."""
    duration = draw_log(rng, 10, 1200)
    mass = place.of_room(draw_log(rng, 5, 100), duration)
    amounts = _amounts(
        (INERT, mass, rng.uniform(4, 10), 2.0), (INERT, 0.015 * mass * rng.random(), 0.6, 1.6)
    )
    release = Release(at, duration, amounts, layers(place.column, 0.2))
    style = str(rng.choice(["sweeping", "paper", "running"]))
    return Act("dust", style, at, at + duration, (release,), stirring=rng.uniform(1, 1.5))


def cigarette(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw a cigarette, or a few shared puffs of one."""
    duration = rng.uniform(300, 480) * rng.uniform(0.3, 1)
    mass = rng.uniform(10_000, 18_000) * duration / 400
    gas = draw_log(rng, 5, 40) * ETHANOL_PPM_M3_MG
    amounts = _amounts(
        (INERT, 0.85 * mass, rng.uniform(0.2, 0.4), rng.uniform(1.5, 2)),
        (FOG, 0.15 * mass, 0.3, 1.6),
        light=0.4 * gas,
        sticky=0.6 * gas,
        vapor=rng.uniform(0, 10),
    )
    column = layers(place.column, rng.uniform(0.4, 0.8))
    releases = []
    whiffs = max(int(duration / 20), 3)
    for share, after in zip(
        rng.dirichlet(np.full(whiffs, 1.5)), np.sort(rng.uniform(0, duration, whiffs)), strict=True
    ):
        releases.append(Release(at + float(after), 8.0, amounts * share, column))
    return Act("cigarette", "shared", at, at + duration, tuple(releases))


def incense(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw incense or a candle."""
    duration = rng.uniform(300, 3600)
    fine = place.of_room(draw_log(rng, 50, 500), duration)
    gas = place.of_room(draw_log(rng, 0.05, 2), duration)
    amounts = _amounts((INERT, fine, rng.uniform(0.2, 0.5), 1.7), light=0.5 * gas, sticky=0.5 * gas)
    release = Release(at, duration, amounts, layers(place.column, 0.6))
    style = str(rng.choice(["stick", "candle", "paper"]))
    return Act("incense", style, at, at + duration, (release,))


def cooking(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw kitchen fumes that come in through the door."""
    duration = rng.uniform(300, 3600)
    fine = place.of_room(draw_log(rng, 20, 300), duration)
    gas = place.of_room(draw_log(rng, 0.05, 2), duration)
    amounts = _amounts(
        (INERT, fine, rng.uniform(0.2, 0.5), 1.9),
        light=0.5 * gas,
        sticky=0.5 * gas,
        vapor=place.of_room(rng.uniform(0, 0.5), duration),
    )
    shares = rng.dirichlet(np.full(6, 1.0))
    releases = tuple(
        Release(at + i * duration / 6, duration / 6, amounts * share, layers(DOOR, 0.5))
        for i, share in enumerate(shares)
    )
    return Act("cooking", "leak_in", at, at + duration, releases)


def nebulizer(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw an ultrasonic humidifier or a salt nebulizer."""
    style = str(rng.choice(["humidifier", "salt"]))
    duration = rng.uniform(60, 3600) if style == "humidifier" else rng.uniform(60, 600)
    dry = place.of_room(draw_log(rng, 30, 1500), duration)
    rise = rng.uniform(3, 25) if style == "humidifier" else rng.uniform(0, 5)
    amounts = _amounts(
        (INERT, dry, rng.uniform(0.15, 0.5), rng.uniform(1.6, 2.2)),
        (INERT, dry * draw_log(rng, 0.05, 0.8), rng.uniform(1.2, 3), 1.6),
        (WATER, 1e6 * place.of_room(0.1 * rise * 0.18, duration), rng.uniform(3, 5), 1.6),
        vapor=place.of_room(0.9 * rise * 0.18, duration),
    )
    release = Release(at, duration, amounts, layers(place.column, 0.3))
    return Act("nebulizer", style, at, at + duration, (release,))


def fog(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw a fog machine in the room or next door: glycol as in vaping, but for minutes."""
    duration = draw_log(rng, 15, 900)
    mass = place.of_room(draw_log(rng, 50, 5000), duration)
    share = rng.uniform(0.85, 0.97)
    gas = mass / 1000 * draw_log(rng, 0.5, 5) * PG_PPM_M3_MG
    amounts = _amounts(
        (FOG, mass * share, rng.uniform(0.6, 2.0), 1.7),
        (INERT, mass * (1 - share), 0.4, 1.7),
        sticky=gas,
        vapor=place.of_room(rng.uniform(0, 1), duration),
    )
    leaks = rng.random() < 0.5
    cells = layers(DOOR if leaks else place.column, 0.4)
    style = "leak_in" if leaks else "machine"
    return Act("fog", style, at, at + duration, (Release(at, duration, amounts, cells),))


SITE_STYLES: Final = ("smoke", "mowing", "paint")


def site(rng: np.random.Generator, at: float, duration: float, style: str, place: Place) -> Act:
    """Draw an outdoor or building-wide event, and how much of it enters the room."""
    exchange = place.volume_m3 * max(place.air_changes_h, 0.5) * duration / 3600
    amounts = {
        "smoke": lambda: _amounts(
            (INERT, exchange * draw_log(rng, 10, 150), 0.35, 1.8),
            sticky=exchange * draw_log(rng, 0.01, 0.3),
        ),
        "mowing": lambda: _amounts(
            (INERT, exchange * draw_log(rng, 10, 150), rng.uniform(5, 10), 2.2),
            (INERT, exchange * draw_log(rng, 2, 25), 0.3, 1.8),
            sticky=exchange * draw_log(rng, 0.02, 0.3),
        ),
        "paint": lambda: _amounts(
            light=exchange * draw_log(rng, 0.1, 2), sticky=exchange * draw_log(rng, 0.1, 2)
        ),
    }[style]()
    releases = []
    gusts = max(int(duration / 300), 2)
    for i, share in enumerate(rng.dirichlet(np.full(gusts, 4.0))):
        step = duration / gusts
        releases.append(Release(at + i * step, step, amounts * share, everywhere()))
    return Act("site", style, at, at + duration, tuple(releases))


def mask(rng: np.random.Generator, at: float, place: Place) -> Act:
    """Draw a spray or a hot tap that is meant to hide vaping."""
    cover = (spray if rng.random() < 0.75 else hot_tap)(rng, at, place)
    return Act("mask", cover.style, cover.onset, cover.end, cover.releases)


Draw = Callable[[np.random.Generator, float, Place], Act]
RARE: Final[Mapping[str, tuple[Draw, float, float]]] = {
    # number per day in an ordinary room, from and to
    "cigarette": (cigarette, 0.05, 0.8),
    "incense": (incense, 0.02, 0.3),
    "cooking": (cooking, 0.05, 0.8),
    "fog": (fog, 0.02, 0.4),
    "nebulizer": (nebulizer, 0.02, 0.4),
    "dust": (dust, 0.5, 6.0),
    "cleaning": (cleaning, 0.3, 2.0),
    "spray": (spray, 0.3, 5.0),
    "shower": (shower, 0.02, 0.6),
}
