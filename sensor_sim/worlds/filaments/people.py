"""What people do in a restroom, and what that releases.

Masses, sizes and solvents are drawn from the ranges of the sources named at each recipe.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final

import numpy as np

from sensor_sim.streams import log_uniform
from sensor_sim.worlds.filaments.rooms import crowd, local

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sensor_sim.worlds.filaments.rooms import Room

Range = tuple[float, float]
SUBSTANCES: Final = ("glycerol", "water", "ethanol", "oil", "glycol")
_VISITS_H: Final = 12.5
"""Visits an hour of an average lesson or break at a nuisance rate of 1."""


@dataclass(frozen=True, slots=True)
class Releases:
    """Short releases into the air, one row each; `time` in s since the start.

    `place` and `jet` (m, m/s) have three columns; `lift` is the speed of warm air at the source,
    `width` the first spread (m), `voc_mg` ethanol-equivalent, `act` the row of its act.
    """

    time: NDArray[np.float64]
    place: NDArray[np.float64]
    jet: NDArray[np.float64]
    width: NDArray[np.float64]
    lift: NDArray[np.float64]
    mass_ug: NDArray[np.float64]
    mmd: NDArray[np.float64]
    gsd: NDArray[np.float64]
    volatile: NDArray[np.float64]
    haste: NDArray[np.float64]
    substance: NDArray[np.int64]
    voc_mg: NDArray[np.float64]
    water_g: NDArray[np.float64]
    heat_j: NDArray[np.float64]
    act: NDArray[np.int64]

    def rows(self, which: slice | NDArray[np.bool_]) -> Releases:
        """Return some of the rows."""
        return Releases(*(getattr(self, part.name)[which] for part in fields(self)))


@dataclass(slots=True)
class Act:
    """Something that happened; times in s since the start."""

    kind: str
    style: str
    onset: float
    end: float


@dataclass(slots=True)
class Program:
    """All that happens in a room."""

    acts: list[Act] = field(default_factory=list)
    rows: list[tuple[object, ...]] = field(default_factory=list)
    visits: list[Range] = field(default_factory=list)
    stirs: list[Range] = field(default_factory=list)
    """Times and strengths of disturbance of the air."""

    def releases(self) -> Releases:
        """Return all releases in order of time."""
        rows = sorted(self.rows, key=lambda row: float(row[0]))  # type: ignore[arg-type]
        columns = list(zip(*rows, strict=True)) or [()] * len(fields(Releases))
        arrays = [np.array(c, np.int64 if i in {10, 14} else float) for i, c in enumerate(columns)]
        for i in (1, 2):
            arrays[i] = arrays[i].reshape(-1, 3)
        return Releases(*arrays)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How an act releases: in all `mg` of droplets (0 of none), by steps of `every_s`."""

    kind: str
    style: str
    seconds: Range
    every_s: float = 1e9
    mg: Range = (0, 0)
    mmd: Range = (1, 1)
    gsd: Range = (1.5, 2.0)
    volatile: Range = (0, 0)
    of: str = "water"
    voc_mg: Range = (0, 0)
    water_g: Range = (0, 0)
    heat_j: float = 0.0
    """Per g of water, or in all where there is none."""
    at: str = "sink"
    height: Range = (0.9, 1.5)
    jet: float = 0.0
    lift: Range = (0, 0.1)
    fine: Range = (0, 0)
    """Share of the droplet mass that is a fine residue of 0.2-0.5 µm."""
    stir: float = 0.0
    shown: str = ""


_RECIPES: Final = (
    # Toilet plume and splashes: few fine droplets, seen by counters only.
    _Recipe("flush", "", (4, 9), mg=(0.01, 0.3), mmd=(1, 5), volatile=(0.97, 0.99),
            water_g=(0.05, 0.5), at="stall", height=(0.5, 0.6), lift=(0.0, 0.2), stir=0.3),
    _Recipe("tap", "", (5, 25), 10, mg=(0.01, 0.1), mmd=(2, 6), volatile=(0.99, 0.999),
            water_g=(0.2, 4), heat_j=150),
    # Hot water: wet aerosol of 2-7 µm, up to 5 mg/m³; RH +5-40 % (Zhou 2007).
    _Recipe("steam", "hot tap", (60, 420), 8, mg=(5, 150), mmd=(2, 7), volatile=(0.995, 0.9995),
            water_g=(20, 160), heat_j=150, lift=(0.1, 0.35)),
    _Recipe("steam", "shower", (300, 720), 10, mg=(100, 2000), mmd=(5, 7.5),
            volatile=(0.995, 0.9995), water_g=(200, 900), heat_j=150, at="far", height=(1.2, 1.9),
            lift=(0.1, 0.3), stir=1.0),
    # Brushed motors: up to 13 µg/m³ PM2.5 in 30 s; droplets 93 % submicron.
    _Recipe("dryer", "", (10, 40), 5, mg=(0.01, 0.4), mmd=(0.4, 1.0), volatile=(0.1, 0.5),
            heat_j=25_000, water_g=(0, 0), jet=1.2, fine=(0.1, 0.3), stir=4.0),
    _Recipe("sanitizer", "", (20, 60), 8, voc_mg=(300, 2000), height=(1.0, 1.3)),
    _Recipe("voc", "hand cream", (10, 60), 10, voc_mg=(10, 200), height=(1.0, 1.4)),
    # Cans: MMAD 2.3-8.8 µm, GSD 2-3.8 (Dua 1995); 0.3-5 g of propellant and ethanol.
    _Recipe("spray", "deodorant", (0.8, 5), 1.5, mg=(10, 400), mmd=(2.3, 8), gsd=(2, 3.4),
            volatile=(0.5, 0.9), of="ethanol", voc_mg=(300, 4000), at="person", jet=1.5,
            fine=(0.01, 0.06), stir=0.5),
    _Recipe("spray", "hairspray", (2, 9), 2, mg=(20, 500), mmd=(3, 9), gsd=(1.8, 2.6),
            volatile=(0.8, 0.95), of="ethanol", voc_mg=(800, 5000), height=(1.6, 1.9), jet=1.5,
            fine=(0.01, 0.06)),
    _Recipe("spray", "perfume", (0.3, 2), 1, mg=(3, 40), mmd=(4, 15), gsd=(1.6, 2.2),
            volatile=(0.85, 0.97), of="ethanol", voc_mg=(50, 500), at="person", jet=1.0,
            fine=(0.005, 0.05)),
    _Recipe("spray", "air freshener", (0.8, 4), 2, mg=(10, 300), mmd=(2.3, 8.8), gsd=(2, 3.8),
            volatile=(0.6, 0.9), of="ethanol", voc_mg=(300, 4000), at="any", height=(1.5, 1.9),
            jet=2.0, fine=(0.01, 0.08)),
    _Recipe("spray", "automatic freshener", (0.3, 0.5), mg=(1, 8), mmd=(2.5, 6), gsd=(2, 3),
            volatile=(0.7, 0.9), of="ethanol", voc_mg=(30, 200), at="any", height=(1.9, 2.2),
            jet=1.5, fine=(0.01, 0.08)),
    _Recipe("spray", "trigger cleaner", (2, 20), 2, mg=(1, 50), mmd=(5, 25), volatile=(0.95, 0.99),
            voc_mg=(20, 1000), at="any", height=(0.8, 1.4), jet=1.5, fine=(0.002, 0.02)),
    _Recipe("cleaning", "mopping", (600, 2400), 45, mg=(0.3, 3), mmd=(2, 6), voc_mg=(500, 9000),
            water_g=(50, 400), at="any", height=(0.05, 0.3), stir=1.0),
    _Recipe("dust", "sweeping", (60, 500), 12, mg=(0.5, 6), mmd=(4, 10), gsd=(1.8, 2.2), at="any",
            height=(0.1, 0.8), stir=1.2),
    _Recipe("dust", "paper towels", (5, 20), 6, mg=(0.05, 1), mmd=(3, 9), at="sink", stir=0.5),
    # 10-18 mg a cigarette (341 µg/m³ in 41 m³), sidestream and exhaled together.
    _Recipe("cigarette", "", (240, 480), 12, mg=(8, 18), mmd=(0.2, 0.4), gsd=(1.5, 2),
            volatile=(0.1, 0.3), of="oil", voc_mg=(5, 40), water_g=(0.3, 1), heat_j=3000,
            at="stall", height=(1.0, 1.6), lift=(0.1, 0.3)),
    _Recipe("incense", "", (900, 3000), 20, mg=(8, 60), mmd=(0.2, 0.45), of="oil",
            volatile=(0, 0.15), voc_mg=(20, 300), at="any", lift=(0.1, 0.3)),
    _Recipe("cooking", "kitchen", (600, 3000), 20, mg=(3, 50), mmd=(0.2, 0.5), of="oil",
            volatile=(0, 0.2), voc_mg=(20, 500), water_g=(10, 200), at="door", height=(0.8, 2.0)),
    _Recipe("smoke", "corridor", (300, 2400), 15, mg=(4, 60), mmd=(0.2, 0.5), of="oil",
            volatile=(0, 0.15), voc_mg=(10, 300), at="door", height=(0.5, 2.0)),
    # Fog fluid is a glycol, for minutes where a vape lasts seconds.
    _Recipe("fog", "stage", (180, 1500), 10, mg=(40, 1500), mmd=(0.5, 1.5), volatile=(0.9, 0.99),
            of="glycol", voc_mg=(20, 400), water_g=(5, 60), at="door", height=(0.2, 2.0)),
    _Recipe("nebulizer", "salt", (180, 600), 6, mg=(2, 40), mmd=(2.5, 4.5), volatile=(0.9, 0.99),
            water_g=(1, 5), at="person", height=(1.0, 1.5), lift=(0.02, 0.1)),
    _Recipe("humidifier", "ultrasonic", (1200, 3600), 20, mg=(50, 600), mmd=(2, 4),
            volatile=(0.97, 0.999), water_g=(60, 300), at="any", height=(0.8, 1.2)),
)  # fmt: skip
_BY_NAME: Final = {r.style or r.kind: r for r in _RECIPES}
_VISIT: Final = {
    "flush": 0.72,
    "tap": 0.55,
    "dryer": 0.27,
    "sanitizer": 0.09,
    "paper towels": 0.1,
    "hand cream": 0.03,
    "hot tap": 0.012,
    "deodorant": 0.011,
    "hairspray": 0.004,
    "perfume": 0.016,
    "air freshener": 0.004,
}
"""How often a visit includes it."""
_RARE: Final = {
    "trigger cleaner": 0.5,
    "mopping": 0.5,
    "sweeping": 0.6,
    "cigarette": 0.12,
    "incense": 0.02,
    "kitchen": 0.08,
    "corridor": 0.04,
    "stage": 0.02,
    "salt": 0.04,
    "ultrasonic": 0.04,
    "hot tap": 0.4,
}
"""Times a day of what is not part of a visit, at a nuisance rate of 1."""
_MASKS: Final = ("flush", "hot tap", "deodorant", "air freshener", "perfume", "flush")
_PUFF_MG: Final = {
    "pod": (0.15, 2.5),
    "disposable": (0.3, 4.0),
    "mod": (2.0, 20.0),
    "thc": (1.5, 6.5),
    "stealth": (0.04, 0.5),
}
"""Particles exhaled in a usual puff; THC 2.5-6.5 mg (Wallace 2020)."""
_STYLE_SHARES: Final = (0.3, 0.3, 0.1, 0.15, 0.15)


def plan(
    rng: np.random.Generator, room: Room, span_s: float, vape_rate: float, nuisance_rate: float
) -> Program:
    """Draw all that happens in a room in `span_s` seconds."""
    program = Program()
    popularity = log_uniform(rng, 0.7, 1.4)
    for time in _times(rng, span_s, _VISITS_H * nuisance_rate * popularity):
        _visit(rng, room, time, program)
    for name, per_day in _RARE.items():
        for time in _times(rng, span_s, per_day * nuisance_rate / 7):
            perform(rng, room, _BY_NAME[name], time, program)
    if room.freshener_s:
        for time in np.arange(rng.uniform(0, room.freshener_s), span_s, room.freshener_s):
            if 6 < local(np.array([time]))[0][0] < 20 and rng.random() < nuisance_rate:
                perform(rng, room, _BY_NAME["automatic freshener"], time, program)
    if room.has_shower:
        for time in _times(rng, span_s, 0.5 * nuisance_rate):
            perform(rng, room, _BY_NAME["shower"], time, program)
    for time in _times(rng, span_s, vape_rate):
        _session(rng, room, time, program)
    return program


def _times(rng: np.random.Generator, span_s: float, per_hour: float) -> list[float]:
    """Draw times of a Poisson process of `per_hour` at average busy times."""
    peak = 2.4
    times = np.sort(rng.uniform(0, span_s, rng.poisson(peak * per_hour * span_s / 3600)))
    return [float(t) for t in times[rng.random(times.size) * peak < crowd(times)]]


def _visit(rng: np.random.Generator, room: Room, time: float, program: Program) -> None:
    stay = float(np.clip(rng.lognormal(np.log(110), 0.5), 30, 600))
    program.visits.append((time, time + stay))
    for at in (time, time + stay):
        program.stirs.append((at, rng.uniform(0.5, 2.0)))
    order = 0.0
    for name, chance in _VISIT.items():
        if rng.random() < chance:
            order = max(order, 0.3 + 0.6 * rng.random() if name == "flush" else 0.75)
            perform(rng, room, _BY_NAME[name], time + stay * order, program)
            order += 0.08


def perform(
    rng: np.random.Generator,
    room: Room,
    recipe: _Recipe,
    time: float,
    program: Program,
    kind: str = "",
) -> None:
    """Add an act by its recipe; `kind` "mask" where it is to hide vaping."""
    seconds = log_uniform(rng, *recipe.seconds)
    style = recipe.style or recipe.kind
    program.acts.append(Act(kind or recipe.kind, style, time, time + seconds))
    if recipe.stir:
        for step in np.arange(0, seconds, 20.0):
            program.stirs.append((time + step, recipe.stir))
    count = max(1, int(seconds / recipe.every_s))
    place = _place(rng, room, recipe.at)
    mass, voc, water = (
        log_uniform(rng, *r) if r[0] else 0.0 for r in (recipe.mg, recipe.voc_mg, recipe.water_g)
    )
    heat = recipe.heat_j * (water or 1.0)
    mmd, gsd = log_uniform(rng, *recipe.mmd), rng.uniform(*recipe.gsd)
    volatile, fine = rng.uniform(*recipe.volatile), rng.uniform(*recipe.fine)
    direction = _direction(rng, recipe.jet)
    of, oil = SUBSTANCES.index(recipe.of), SUBSTANCES.index("oil")
    act = len(program.acts) - 1
    for i in range(count):
        if recipe.at == "any" and seconds > 30:
            place = _place(rng, room, "any")
        place[2] = min(rng.uniform(*recipe.height), room.size[2] - 0.2)
        share = rng.gamma(4.0, 0.25) / count
        at = time + (i + rng.uniform(0, 0.3)) * seconds / count
        jet = direction * rng.uniform(0.7, 1.3)
        source = (at, place.copy(), jet, rng.uniform(0.1, 0.25), rng.uniform(*recipe.lift))
        ug, gases = 1e3 * mass * share, (voc * share, water * share, heat * share)
        program.rows.append((*source, ug * (1 - fine), mmd, gsd, volatile, 1.0, of, *gases, act))
        if fine and mass:
            dry = (ug * fine, rng.uniform(0.2, 0.5), 1.6, 0.1, 1.0, oil)
            program.rows.append((*source, *dry, 0.0, 0.0, 0.0, act))


def _place(rng: np.random.Generator, room: Room, at: str) -> NDArray[np.float64]:
    if at in {"sink", "door"}:
        return np.array(room.sink if at == "sink" else room.door)
    if at == "stall":
        return np.array(room.stalls[rng.integers(len(room.stalls))])
    if at == "far":
        return np.array(room.stalls[0 if room.sensor[0] > room.size[0] / 2 else -1])
    return np.asarray(room.size * [rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.8), 0.4])


def _direction(rng: np.random.Generator, speed: float, down: float = 0.0) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi)
    level = np.sqrt(max(1 - down**2, 0.0))
    return speed * np.array([level * np.cos(angle), level * np.sin(angle), -down])


def _session(rng: np.random.Generator, room: Room, time: float, program: Program) -> None:
    """Add a vaping session of 1-10 puffs 8-60 s apart, a quarter of them masked."""
    style = str(rng.choice(list(_PUFF_MG), p=_STYLE_SHARES))
    puffs = int(np.clip(rng.geometric(0.28), 1, 10))
    gap = log_uniform(rng, 8.0, 45.0)
    at_sink = rng.random() < 0.15
    place = _place(rng, room, "any" if at_sink else "stall")
    place[2] = rng.uniform(1.1, 1.6)
    usual = log_uniform(rng, *_PUFF_MG[style])
    haste = log_uniform(rng, 0.5, 1.6)
    solvent = log_uniform(rng, 0.3, 1.3)
    volatile = rng.uniform(0.1, 0.5) if style == "thc" else rng.uniform(0.75, 0.97)
    down = (
        rng.uniform(0.5, 1.0)
        if style == "stealth" or rng.random() < 0.25
        else rng.uniform(-0.3, 0.3)
    )
    act = len(program.acts)
    end = time
    # Two fresh modes of cannabis oil (Zhao 2020).
    sizes = (0.41, 0.81) if style == "thc" else (0.0,)
    of, solvent = (3, 0.25 * solvent) if style == "thc" else (0, 0.8 * solvent)
    wider = {"mod": 1.4, "stealth": 0.75}.get(style, 1.0)
    for puff in range(puffs):
        at = time if not puff else end + gap * rng.uniform(0.7, 1.4)
        end = at + rng.uniform(1.0, 4.0)
        mass = usual * rng.lognormal(0, 0.45) / len(sizes)
        speed = rng.uniform(0.2, 1.2) * (0.5 if style == "stealth" else 1.0)
        mouth, jet = place + rng.normal(0, 0.05, 3), _direction(rng, speed, down)
        source = ((at + end) / 2, mouth, jet, rng.uniform(0.1, 0.2), rng.uniform(0.0, 0.25))
        for size in sizes:
            mmd = size or wider * rng.uniform(0.41, 0.65)
            gsd = rng.uniform(1.4, 1.8) + (0.2 if style == "mod" else 0.0)
            drops = (1e3 * mass, mmd, gsd, volatile, haste, of)
            gases = (mass * solvent, 0.03 / len(sizes), 60.0 / len(sizes))
            program.rows.append((*source, *drops, *gases, act))
    program.acts.append(Act("vape", style, time, end))
    program.visits.append((time - 20, end + 30))
    program.stirs += [(time - 20, rng.uniform(0.3, 1.5)), (end + 25, rng.uniform(0.3, 1.5))]
    if rng.random() < 0.25:
        name = _MASKS[rng.integers(len(_MASKS))]
        at = max(end + rng.uniform(-15, 15), time)
        perform(rng, room, _BY_NAME[name], at, program, "mask")
