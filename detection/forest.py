"""Boosted trees, evaluated with numpy alone.

The parameters are made by training and kept in a small file; evaluating them needs no learning
library. All trees are complete binary trees of one depth, so walking down is arithmetic: node `i`
has the children `2 i + 1` and `2 i + 2`. Where a tree was shallower, its leaf goes on to the left.

The nodes of one depth of all trees are kept together, so that node `j` of a level leads to `2 j`
and `2 j + 1` of the next. The leaves are summed in halves: the trees' second half onto the first,
until one is left. Each is an addition of whole rows, so that a score does not depend on the other
rows of the batch, as it would in a sum whose order numpy chooses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_ROWS: Final = 24
"""Rows scored together, so that what is gathered stays in a core's cache."""


@dataclass(frozen=True, slots=True)
class Forest:
    """An additive ensemble of binary trees.

    Attributes
    ----------
    column : ndarray of int64, shape (n_trees, 2**depth - 1)
        Fact compared at each node; plus the number of facts where an unknown one goes right.
    threshold : ndarray of float64, shape (n_trees, 2**depth - 1)
        A fact above it goes right.
    value : ndarray of float64, shape (n_trees, 2**depth)
        What each leaf adds.
    offset : float
        Score of no trees.
    """

    column: NDArray[np.int64]
    threshold: NDArray[np.float64]
    value: NDArray[np.float64]
    offset: float
    _levels: tuple[tuple[NDArray[np.intp], NDArray[np.float64]], ...] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Sort the nodes by depth."""
        bounds = [2**depth - 1 for depth in range(self.column.shape[1].bit_length() + 1)]
        levels = tuple(
            (self.column[:, a:b].ravel().astype(np.intp), self.threshold[:, a:b].ravel())
            for a, b in pairwise(bounds)
        )
        object.__setattr__(self, "_levels", levels)

    def score(self, facts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds of each row.

        Parameters
        ----------
        facts : ndarray of float64, shape (n, n_facts)
            NaN where not known.
        """
        total = np.full(facts.shape[0], self.offset)
        for start in range(0, total.size, _ROWS):
            part = slice(start, start + _ROWS)
            total[part] += self._leaves(facts[part])
        return total

    def _leaves(self, facts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of the leaves each row comes to."""
        n, n_facts = facts.shape
        n_trees = self.column.shape[0]
        unknown = np.isnan(facts)
        both = np.concatenate(
            [np.where(unknown, -np.inf, facts), np.where(unknown, np.inf, facts)], axis=1
        ).ravel()
        # Written out for each tree, as numpy adds equal shapes in one loop.
        row = np.repeat(np.arange(0, both.size, 2 * n_facts)[None], n_trees, axis=0)
        # Of every tree the same node is the first: no need to look it up for each row.
        column, threshold = self._levels[0]
        right = both.reshape(n, -1).T.take(column, axis=0) > threshold[:, None]
        node = right + np.arange(0, 2 * n_trees, 2)[:, None]
        for column, threshold in self._levels[1:]:
            fact = column.take(node)
            fact += row
            right = both.take(fact) > threshold.take(node)
            node += node
            node += right
        added = self.value.ravel().take(node)
        left = n_trees
        while left > 1:
            half = (left + 1) // 2
            added[: left - half] += added[half:left]
            left = half
        total: NDArray[np.float64] = added[0]
        return total

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Arrays under which a file keeps this forest."""
        return {
            f"{name}_column": self.column.astype(np.int16),
            f"{name}_threshold": self.threshold,
            f"{name}_value": self.value,
            f"{name}_offset": np.array(self.offset),
        }

    @classmethod
    def from_arrays(cls, name: str, stored: Mapping[str, NDArray[Any]]) -> Forest:
        """Forest kept by `arrays`."""
        return cls(
            column=stored[f"{name}_column"].astype(np.int64),
            threshold=stored[f"{name}_threshold"].astype(np.float64),
            value=stored[f"{name}_value"].astype(np.float64),
            offset=float(stored[f"{name}_offset"]),
        )
