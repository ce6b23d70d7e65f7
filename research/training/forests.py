"""Boosted trees by scikit-learn, and their export as `detection.model.Forest`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from detection.episodes import FEATURES
from detection.model import Forest

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Growth:
    """Parameters of tree growth, named as in scikit-learn."""

    max_iter: int
    max_depth: int
    max_leaf_nodes: int
    min_samples_leaf: int
    learning_rate: float
    max_features: float = 1.0


VAPE: Final = Growth(400, 4, 12, 400, 0.08, 0.5)
KIND: Final = Growth(60, 4, 16, 40, 0.12)
THC: Final = Growth(80, 4, 16, 40, 0.12)


def grow(
    features: NDArray[np.float32],
    label: NDArray[np.bool_],
    weight: NDArray[np.float32],
    growth: Growth,
) -> tuple[Any, NDArray[np.intp]]:
    """Return a fitted classifier that tells `label` from the rest, and the features that it reads.

    A feature that does not vary is left out: scikit-learn refuses it.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - training only

    learner = HistGradientBoostingClassifier(
        random_state=1,
        early_stopping=False,
        l2_regularization=1.0,
        max_iter=growth.max_iter,
        max_depth=growth.max_depth,
        max_leaf_nodes=growth.max_leaf_nodes,
        min_samples_leaf=growth.min_samples_leaf,
        learning_rate=growth.learning_rate,
        max_features=growth.max_features,
    )
    with warnings.catch_warnings():
        # Of a feature that no sensor knows.
        warnings.simplefilter("ignore", RuntimeWarning)
        columns = np.flatnonzero(np.nanmin(features, axis=0) < np.nanmax(features, axis=0))
    read = features if columns.size == features.shape[1] else features[:, columns]
    return learner.fit(read, label, sample_weight=weight), columns


def as_forest(*grown: tuple[Any, NDArray[np.intp]]) -> Forest:
    """Return fitted binary ensembles, and the features that each reads, as complete trees.

    All have the depth that the ensembles were allowed.
    """
    trees = [(s[0].nodes, columns) for learner, columns in grown for s in learner._predictors]  # noqa: SLF001
    inner = 2 ** grown[0][0].max_depth - 1
    column = np.zeros((len(trees), inner), np.int64)
    threshold = np.full((len(trees), inner), np.inf)
    value = np.zeros((len(trees), inner + 1))
    for k, (nodes, columns) in enumerate(trees):
        waiting = [(0, 0)]
        while waiting:
            at, source = waiting.pop()
            node = nodes[source]
            if at >= inner:
                value[k, at - inner] = node["value"]
            elif node["is_leaf"]:
                waiting.append((2 * at + 1, source))
            else:
                right = 0 if node["missing_go_to_left"] else len(FEATURES)
                column[k, at] = columns[node["feature_idx"]] + right
                threshold[k, at] = node["num_threshold"]
                waiting += [(2 * at + 1, node["left"]), (2 * at + 2, node["right"])]
    offset = [float(np.ravel(learner._baseline_prediction)[0]) for learner, _ in grown]  # noqa: SLF001
    return Forest(column, threshold, value, np.array(offset))
