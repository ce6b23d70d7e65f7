"""Write model files, which `detection.model` reads."""

from __future__ import annotations

import io
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from detection.episodes import FEATURES
from detection.model import Forest, Model, Network

if TYPE_CHECKING:
    from numpy.typing import NDArray


def store_forest(forest: Forest, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays that store a forest, which `Forest.from_arrays` reads."""
    return {
        f"{name}_column": forest.column.astype(np.int16),
        f"{name}_threshold": forest.threshold,
        f"{name}_value": forest.value,
        f"{name}_offset": forest.offset,
    }


def store_network(network: Network) -> dict[str, NDArray[Any]]:
    """Return the arrays that store a network, which `Network.from_arrays` reads."""
    return {f"network_{f.name}": np.asarray(getattr(network, f.name)) for f in fields(Network)}


def write_model(model: Model) -> bytes:
    """Return the bytes of a model file; equal parameters give equal bytes."""
    arrays: dict[str, Any] = {}
    for name in ("vape", "kinds", "thc"):
        forest: Forest | None = getattr(model, name)
        if forest is not None:
            arrays |= store_forest(forest, name)
    if model.network is not None:
        arrays |= store_network(model.network)
    out = io.BytesIO()
    np.savez_compressed(
        out,
        version=np.array(model.version),
        features=np.array(FEATURES),
        level=np.array(model.level),
        **arrays,
    )
    return out.getvalue()
