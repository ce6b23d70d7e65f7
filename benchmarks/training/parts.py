"""The fitted parts of a model, kept on disk, and the model made of them.

Parts are fitted apart, in processes of their own. A part is kept under a hash of its lessons and of
its settings, so a run that was cut short goes on, and another level needs no fitting. Delete them
after a change of the code that fits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.training import examples, forests, recurrent
from detection.model import KINDS, Forest, Model
from detection.network import Network

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.training.examples import Sources
    from benchmarks.training.forests import Growth

    Arrays = dict[str, NDArray[Any]]

PARTS: Final = ("vape", "network", "kinds", "thc")
"""Longest first, roughly."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How each of the `PARTS` is fitted."""

    vape: Growth = forests.VAPE
    kinds: Growth = forests.KIND
    thc: Growth = forests.THC
    network: recurrent.Fitting = recurrent.FITTING


@dataclass(frozen=True, slots=True)
class Task:
    """One part of one model.

    Attributes
    ----------
    part : str
        One of `PARTS`.
    sources : mapping of str to tuple of Path
        Files of the lessons by the name of their source.
    folder : Path
        Keeps the fitted parts.
    """

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
    if task.part == "network":
        pulses = examples.pulses(task.sources)
        scaled = recurrent.scaling(pulses.facts)
        module = recurrent.fit(pulses, scaled, settings.network)
        return recurrent.as_network(module, scaled).arrays()
    if task.part == "vape":
        pulses = examples.pulses(task.sources)
        trees = forests.grow(pulses.facts, pulses.label > 0, pulses.weight, settings.vape)
        return forests.as_forest(*trees).arrays("vape")
    if task.part == "thc":
        late = examples.thc(task.sources)
        trees = forests.grow(late.facts, late.label > 0, late.weight, settings.thc)
        return forests.as_forest(*trees).arrays("thc")
    known = examples.kinds(task.sources)
    arrays: Arrays = {}
    for code, kind in enumerate(KINDS):
        trees = forests.grow(known.facts, known.label == code, known.weight, settings.kinds)
        arrays |= forests.as_forest(*trees).arrays(f"{kind.value}_kind")
    return arrays


def model(
    arrays: Mapping[str, NDArray[Any]],
    version: str,
    level: float,
    withdraw_level: float,
    plain_level: float,
    by_interval: NDArray[np.float64],
) -> Model:
    """Return the model of all fitted parts; see `Model` for the levels."""
    return Model(
        version,
        level,
        withdraw_level,
        Forest.from_arrays("vape", arrays),
        tuple(Forest.from_arrays(f"{kind.value}_kind", arrays) for kind in KINDS),
        Forest.from_arrays("thc", arrays),
        by_interval,
        Network.from_arrays(arrays),
        plain_level,
    )
