"""World in which plumes move through a grid of cells, stirred by random eddies."""

from __future__ import annotations

from research.worlds.plume_grid.simulation import plume_grid

__all__ = ["plume_grid"]
