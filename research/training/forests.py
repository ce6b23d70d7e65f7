"""Fit boosted trees with scikit-learn, and export them as `detection.model.Forest`."""

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
    """Parameters of tree growth, with scikit-learn's names."""

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
    """Fit a classifier for `label`; return it and the features that it uses.

    Features that do not vary are left out, because scikit-learn rejects them.
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
        # bins of a feature that no sensor measures
        warnings.simplefilter("ignore", RuntimeWarning)
        columns = np.flatnonzero(np.nanmin(features, axis=0) < np.nanmax(features, axis=0))
    read = features if columns.size == features.shape[1] else features[:, columns]
    return learner.fit(read, label, sample_weight=weight), columns


def as_forest(*grown: tuple[Any, NDArray[np.intp]]) -> Forest:
    """Convert fitted binary ensembles, each with the features that it uses, to a `Forest`.

    Its trees are complete: all have the ensembles' maximum depth.
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
