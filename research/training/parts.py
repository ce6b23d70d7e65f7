"""The fitted parts of a model, kept on disk, and the model made of them.

The log-odds of vaping are a weighted mean of a large forest of the world `school`, a small forest
for each other world, and a network of all worlds. On a world that none of them knows, forests of
one world each are better on average than one forest of all: each learns other regularities of its
simulator, and a mean keeps what they agree on.

Parts are fitted apart, in processes of their own. A part is kept under a hash of its lessons and of
its settings, so a run that was cut short goes on, and another level needs no fitting. Delete them
after a change of the code that fits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from detection.model import KINDS, Forest, Model, Network, rounded
from research.training import examples, forests, recurrent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from research.training.examples import Examples, Sources
    from research.training.forests import Growth

    Arrays = dict[str, NDArray[Any]]

PARTS: Final = ("school", "network", "kinds", "thc", "world")
"""Longest first, roughly."""
ALPHA: Final = 1.4
BETA: Final = -0.59
"""The mean times `ALPHA` plus `BETA` is a log-odds: fitted on leave-one-out predictions, as the
mean of several is too cautious, and so that the level to alert at is 0 (half a false alarm a day in
a busy room)."""
SHARES: Final = (0.25, 0.5, 0.25)
SHARES_WITHOUT_SCHOOL: Final = (0.0, 0.6, 0.4)
"""In the mean: of the forest of `school`, of those of the other worlds together, of the network."""
INTERVALS_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
SCHOOL_BY_INTERVAL: Final = ((-0.5, -0.5, -0.4, -0.2, 0.5, -0.45), (0.0, 0.2, 0.2, 0.3, 0.8, 0.2))
"""What the forest of `school` needs by reporting interval, with PM1 and without. Fitted with it, on
schools of seeds 9200-9215 and 9300-9315."""
BY_INTERVAL: Final = (
    (0.1, -0.28, -0.19, -0.29, -0.16, 0.21),
    (0.1, -0.13, -0.04, -0.24, 0.14, 0.21),
)
"""What the mean needs besides. Fitted on leave-one-out predictions, so that a score means the same
at each interval."""
EARLY: Final = -0.3
"""Until `detection.model.SETTLED_S` after the peak of a pulse. Fitted like `BY_INTERVAL`."""
PLAIN_LEVEL: Final = -3.0
"""Log-odds of the small forest of `school` below which a moment is plainly of something else."""
FEW: Final = 0.1
"""Share of the moments from which that forest is grown."""
NEGATIVES: Final = 0.5
"""Share of the moments without vaping from which the forest of a world is grown."""
_AT_ONCE: Final = 50_000


@dataclass(frozen=True, slots=True)
class Settings:
    """How each of the `PARTS` is fitted."""

    world: Growth = forests.WORLD
    school: tuple[Growth, Growth] = (forests.PLAIN, forests.SCHOOL)
    kinds: Growth = forests.KIND
    thc: Growth = forests.THC
    network: recurrent.Fitting = recurrent.FITTING


@dataclass(frozen=True, slots=True)
class Task:
    """One of the `PARTS` of a model, of lessons by the name of their source."""

    part: str
    sources: Sources
    folder: Path
    settings: Settings = Settings()

    @property
    def path(self) -> Path:
        """File of the part."""
        digest = hashlib.sha256(repr(getattr(self.settings, self.part)).encode())
        for name, paths in self.sources.items():
            digest.update(name.encode())
            for path in paths:
                digest.update(f"{path.name} {path.stat().st_mtime_ns}".encode())
        return self.folder / f"{self.part}-{digest.hexdigest()[:16]}.npz"


def fitted(task: Task) -> Arrays:
    """Return a part as arrays of a model file, fitted unless an earlier run has done so."""
    path = task.path
    if not path.exists():
        part = path.with_suffix(".part.npz")
        np.savez(part, **_fit(task))  # type: ignore[arg-type] # numpy's stub takes no mapping
        part.replace(path)
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def _fit(task: Task) -> Arrays:
    settings = task.settings
    if task.part == "school":
        return _fit_school(examples.pulses(task.sources, is_balanced=False), *settings.school)
    if task.part == "thc":
        late = examples.thc(task.sources)
        trees = forests.grow(late.facts, late.label > 0, late.weight, settings.thc)
        return forests.as_forest(*trees).arrays("thc")
    if task.part == "kinds":
        known = examples.kinds(task.sources)
        arrays: Arrays = {}
        for code, kind in enumerate(KINDS):
            trees = forests.grow(known.facts, known.label == code, known.weight, settings.kinds)
            arrays |= forests.as_forest(*trees).arrays(f"{kind.value}_kind")
        return arrays
    pulses = examples.pulses(task.sources)
    is_vape = pulses.label > 0
    if task.part == "network":
        scaled = recurrent.scaling(pulses.facts)
        module = recurrent.fit(pulses, scaled, settings.network)
        return recurrent.as_network(module, scaled).arrays()
    used = is_vape | (np.random.default_rng(0).random(is_vape.size) < NEGATIVES)
    weight = np.where(is_vape, pulses.weight, pulses.weight / NEGATIVES)
    trees = forests.grow(pulses.facts[used], is_vape[used], weight[used], settings.world)
    return forests.as_forest(*trees).arrays("world")


def _fit_school(pulses: Examples, small: Growth, large: Growth) -> Arrays:
    """Fit the forest that finds what is plainly something else, and that of all the rest."""
    is_vape = pulses.label > 0
    used = np.random.default_rng(1).random(is_vape.size) < FEW
    trees = forests.grow(pulses.facts[used], is_vape[used], pulses.weight[used], small)
    plain = forests.as_forest(*trees)
    for at in range(0, used.size, _AT_ONCE):
        part = slice(at, at + _AT_ONCE)
        used[part] = plain.score(pulses.facts[part].astype(np.float64)) >= PLAIN_LEVEL
    trees = forests.grow(pulses.facts[used], is_vape[used], pulses.weight[used], large)
    return plain.arrays("plain") | forests.as_forest(*trees).arrays("vape0")


def school(arrays: Mapping[str, NDArray[Any]]) -> Model:
    """Return what the parts `school`, `kinds` and `thc` contribute, weighted."""
    return Model(
        "school",
        vape=(forests.scaled(Forest.from_arrays("vape0", arrays), ALPHA * SHARES[0]),),
        kinds=tuple(Forest.from_arrays(f"{kind.value}_kind", arrays) for kind in KINDS),
        thc=Forest.from_arrays("thc", arrays),
        plain=Forest.from_arrays("plain", arrays),
        plain_level=PLAIN_LEVEL,
    )


def model(
    version: str,
    level: float,
    school: Model,
    worlds: Sequence[Forest],
    network: Network,
    *,
    knows_school: bool = True,
) -> Model:
    """Return the model of all fitted parts, with a forest for each other world than `school`.

    `school`: as of the function, or a model with the same forests. Those of kinds and of THC are
    taken in any case, those of vaping if it `knows_school`.
    """
    _, of_worlds, of_network = SHARES if knows_school else SHARES_WITHOUT_SCHOOL
    weight = ALPHA * of_worlds / len(worlds)
    mean = Forest.joined([forests.scaled(forest, weight) for forest in worlds])
    mean = replace(mean, offset=mean.offset + BETA)
    by_interval = ALPHA * np.array(BY_INTERVAL)
    if knows_school:
        by_interval += ALPHA * SHARES[0] * np.array(SCHOOL_BY_INTERVAL)
    weight = ALPHA * of_network
    return Model(
        version,
        level,
        (school.vape[0], mean) if knows_school else (mean,),
        school.kinds,
        school.thc,
        np.stack([INTERVALS_S, *by_interval, np.full(len(INTERVALS_S), EARLY)], axis=1).round(3),
        replace(network, output=rounded(network.output * weight), offset=network.offset * weight),
        school.plain if knows_school else None,
        school.plain_level if knows_school else -np.inf,
    )
