"""Boosted trees, evaluated with numpy alone.

The parameters are made by training and kept in a small file; evaluating them needs no learning
library. All trees are complete binary trees of one depth, so walking down is arithmetic: node `i`
has the children `2 i + 1` and `2 i + 2`. Where a tree was shallower, its leaf goes on to the left.

Sums run over the trees one after the other, so a row's score does not depend on the other rows of
the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Forest"]


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

    def score(self, facts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds of each row.

        Parameters
        ----------
        facts : ndarray of float64, shape (n, n_facts)
            NaN where not known.

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        n, n_facts = facts.shape
        n_trees, n_inner = self.column.shape
        unknown = np.isnan(facts)
        both = np.concatenate(
            [np.where(unknown, -np.inf, facts), np.where(unknown, np.inf, facts)], axis=1
        ).ravel()
        row = np.arange(n) * (2 * n_facts)
        first = (np.arange(n_trees) * n_inner)[:, None]
        column, threshold = self.column.ravel(), self.threshold.ravel()
        node = np.zeros((n_trees, n), np.int64)
        for _ in range(n_inner.bit_length()):
            at = node + first
            node += node
            node += 1
            node += both[row + column[at]] > threshold[at]
        leaf = node - n_inner + (np.arange(n_trees) * (n_inner + 1))[:, None]
        total = np.full(n, self.offset)
        for added in self.value.ravel()[leaf]:
            total += added
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
