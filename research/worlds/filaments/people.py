"""Draw people's activities in a restroom, and the resulting emissions.

Masses, sizes and solvents are drawn from the ranges in ``acts.toml``, which names their sources.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from research.worlds.filaments.rooms import crowd, local
from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from research.worlds.filaments.rooms import Room

Range = tuple[float, float]
SUBSTANCES: Final = ("glycerol", "water", "ethanol", "oil", "glycol")
_VISITS_H: Final = 12.5
"""Visits per hour, averaged over lessons and breaks, at a nuisance rate of 1."""


@dataclass(frozen=True, slots=True)
class Releases:
    """Short releases into the air, one row each; `time` is in seconds since the start.

    - `place`, `jet`: three columns each, m and m/s.
    - `lift`: speed at which warm air rises at the source.
    - `width`: initial spread, m.
    - `voc_mg`: mg of ethanol.
    - `act`: row of the act.
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
    """An activity or event; times are in seconds since the start."""

    kind: str
    style: str
    onset: float
    end: float


@dataclass(slots=True)
class Program:
    """All activities and events in a room."""

    acts: list[Act] = field(default_factory=list)
    rows: list[tuple[object, ...]] = field(default_factory=list)
    visits: list[Range] = field(default_factory=list)
    stirs: list[Range] = field(default_factory=list)
    """Times and strengths of disturbances of the air."""

    def releases(self) -> Releases:
        """Return all releases in time order."""
        rows = sorted(self.rows, key=lambda row: float(row[0]))  # type: ignore[arg-type]
        columns = list(zip(*rows, strict=True)) or [()] * len(fields(Releases))
        arrays = [np.array(c, np.int64 if i in {10, 14} else float) for i, c in enumerate(columns)]
        for i in (1, 2):
            arrays[i] = arrays[i].reshape(-1, 3)
        return Releases(*arrays)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How an act releases a total of `mg` of droplets (0 for none), in steps of `every_s`."""

    name: str
    kind: str
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
    """Heat per gram of water, or in total if there is no water."""
    at: str = "sink"
    height: Range = (0.9, 1.5)
    jet: float = 0.0
    lift: Range = (0, 0.1)
    fine: Range = (0, 0)
    """Share of the droplet mass that becomes a fine residue of 0.2-0.5 µm."""
    stir: float = 0.0


_ACTS: Final[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("acts.toml").read_text(encoding="utf-8")
)
_BY_NAME: Final = {
    name: _Recipe(**{"name": name, "kind": name, **row}) for name, row in _ACTS["act"].items()
}
_MASKS: Final = ("flush", "hot tap", "deodorant", "air freshener", "perfume", "flush")
_PUFF_MG: Final = {
    "pod": (0.15, 2.5),
    "disposable": (0.3, 4.0),
    "mod": (2.0, 20.0),
    "thc": (1.5, 6.5),
    "stealth": (0.04, 0.5),
}
"""Particle mass exhaled in a typical puff, mg; for THC, 2.5-6.5 mg (Wallace 2020)."""
_STYLE_SHARES: Final = (0.3, 0.3, 0.1, 0.15, 0.15)


def plan(
    rng: np.random.Generator, room: Room, span_s: float, vape_rate: float, nuisance_rate: float
) -> Program:
    """Draw all activities and events in a room during `span_s` seconds."""
    program = Program()
    popularity = draw_log(rng, 0.7, 1.4)
    for time in _times(rng, span_s, _VISITS_H * nuisance_rate * popularity):
        _visit(rng, room, time, program)
    for name, per_day in _ACTS["rare"].items():
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
    """Draw times of a Poisson process with an average rate of `per_hour` at busy times."""
    peak = 2.4
    times = np.sort(rng.uniform(0, span_s, rng.poisson(peak * per_hour * span_s / 3600)))
    return [float(t) for t in times[rng.random(times.size) * peak < crowd(times)]]


def _visit(rng: np.random.Generator, room: Room, time: float, program: Program) -> None:
    stay = float(np.clip(rng.lognormal(np.log(110), 0.5), 30, 600))
    program.visits.append((time, time + stay))
    for at in (time, time + stay):
        program.stirs.append((at, rng.uniform(0.5, 2.0)))
    order = 0.0
    for name, chance in _ACTS["visit"].items():
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
    """Add an act by its recipe; `kind` is "mask" if the act hides vaping."""
    seconds = draw_log(rng, *recipe.seconds)
    program.acts.append(Act(kind or recipe.kind, recipe.name, time, time + seconds))
    if recipe.stir:
        for step in np.arange(0, seconds, 20.0):
            program.stirs.append((time + step, recipe.stir))
    count = max(1, int(seconds / recipe.every_s))
    place = _place(rng, room, recipe.at)
    mass, voc, water = (
        draw_log(rng, *r) if r[0] else 0.0 for r in (recipe.mg, recipe.voc_mg, recipe.water_g)
    )
    heat = recipe.heat_j * (water or 1.0)
    mmd, gsd = draw_log(rng, *recipe.mmd), rng.uniform(*recipe.gsd)
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
    """Add a vaping session of 1-10 puffs 8-60 s apart; a quarter of sessions are masked."""
    style = str(rng.choice(list(_PUFF_MG), p=_STYLE_SHARES))
    puffs = int(np.clip(rng.geometric(0.28), 1, 10))
    gap = draw_log(rng, 8.0, 45.0)
    at_sink = rng.random() < 0.15
    place = _place(rng, room, "any" if at_sink else "stall")
    place[2] = rng.uniform(1.1, 1.6)
    usual = draw_log(rng, *_PUFF_MG[style])
    haste = draw_log(rng, 0.5, 1.6)
    solvent = draw_log(rng, 0.3, 1.3)
    volatile = rng.uniform(0.1, 0.5) if style == "thc" else rng.uniform(0.75, 0.97)
    down = (
        rng.uniform(0.5, 1.0)
        if style == "stealth" or rng.random() < 0.25
        else rng.uniform(-0.3, 0.3)
    )
    act = len(program.acts)
    end = time
    # Fresh cannabis aerosol has two modes (Zhao 2020).
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
