"""A room as 24 cells of air, stirred by eddies.

Four cells along the room, three across (stalls, middle, basins), two layers. Air crosses the
faces between cells in four ways, all conserving volume:

- turbulent exchange, equal both ways, from the mixing time of the room (1-5 min);
- eddies: a circulation around each square of four cells, an Ornstein-Uhlenbeck process of either
  sign with a memory of 10-90 s;
- updraft over people, a circulation as well;
- through-flow from the door to the fan, a potential flow.

Flows are constant for `BLOCK_S` seconds, so a second of transport is one matrix, the exponential
of the flows. Cell ``(layer * 3 + row) * 4 + place``; column ``row * 4 + place``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from sensor_sim.streams import log_uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLACES: Final = 4
ROWS: Final = 3
LAYERS: Final = 2
CELLS: Final = PLACES * ROWS * LAYERS
COLUMNS: Final = PLACES * ROWS
DOOR: Final = 11
"""Lower cell at the door, in the row of the basins."""
BLOCK_S: Final = 10
"""Flows are constant for so long, in seconds."""
_SQUARINGS: Final = 3


def _cell(place: int, row: int, layer: int) -> int:
    return (layer * ROWS + row) * PLACES + place


def _faces() -> list[tuple[int, int]]:
    """Return pairs of cells that touch."""
    faces = []
    for place, row, layer in product(range(PLACES), range(ROWS), range(LAYERS)):
        here = _cell(place, row, layer)
        if place + 1 < PLACES:
            faces.append((here, _cell(place + 1, row, layer)))
        if row + 1 < ROWS:
            faces.append((here, _cell(place, row + 1, layer)))
        if layer + 1 < LAYERS:
            faces.append((here, _cell(place, row, layer + 1)))
    return faces


FACES: Final = _faces()
VERTICAL: Final = np.array([b - a == COLUMNS for a, b in FACES])
_BETWEEN_STALLS: Final = np.array([b - a == 1 and b < PLACES for a, b in FACES])


def _squares() -> NDArray[np.float64]:
    """Return the faces around each square of four cells, with the sign of the flow."""
    face_of = {pair: i for i, pair in enumerate(FACES)}
    squares = []
    steps = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    for place, row, layer in product(range(PLACES), range(ROWS), range(LAYERS)):
        for first, second in ((0, 1), (0, 2), (1, 2)):
            corner = np.array((place, row, layer))
            a, b = np.array(steps[first]), np.array(steps[second])
            if (corner + a + b >= (PLACES, ROWS, LAYERS)).any():
                continue
            loop = [_cell(*c) for c in (corner, corner + a, corner + a + b, corner + b)]
            signs = np.zeros(len(FACES))
            for start, stop in zip(loop, [*loop[1:], loop[0]], strict=True):
                if (start, stop) in face_of:
                    signs[face_of[start, stop]] = 1.0
                else:
                    signs[face_of[stop, start]] = -1.0
            squares.append(signs)
    return np.array(squares)


SQUARES: Final = _squares()


def _updrafts() -> NDArray[np.float64]:
    """Return the circulations that lift air by 1 m³/s in one column and sink it beside it."""
    lift = np.zeros((COLUMNS, len(SQUARES)))
    for face in np.flatnonzero(VERTICAL):
        signs = SQUARES[:, face]
        lift[FACES[face][0]] = signs / np.abs(signs).sum()
    return lift


_UPDRAFTS: Final = _updrafts()


def _incidence() -> NDArray[np.float64]:
    """Return what a flow over a face, forward and then backward, does to a flattened matrix."""
    effect = np.zeros((2, len(FACES), CELLS, CELLS))
    for i, (a, b) in enumerate(FACES):
        effect[0, i, b, a], effect[0, i, a, a] = 1.0, -1.0
        effect[1, i, a, b], effect[1, i, b, b] = 1.0, -1.0
    return effect.reshape(2 * len(FACES), CELLS * CELLS)


_INCIDENCE: Final = _incidence()


@dataclass(frozen=True, slots=True)
class Airflow:
    """What moves the air of one room.

    Attributes
    ----------
    volume_m3 : float
    exchange : ndarray, shape (faces,)
        Turbulent exchange over each face, m³/s each way.
    eddy_m3_s, memory_s : float
        Standard deviation of a circulation, and how long it lasts.
    through : ndarray, shape (faces,)
        Flow over each face where 1 m³/s enters by the door and leaves by the fan.
    fan : int
        Cell of the fan.
    lift_m3_s : float
        Updraft over one person.
    """

    volume_m3: float
    exchange: NDArray[np.float64]
    eddy_m3_s: float
    memory_s: float
    through: NDArray[np.float64]
    fan: int
    lift_m3_s: float

    @property
    def cell_m3(self) -> float:
        """Air of a cell."""
        return self.volume_m3 / CELLS

    def circulations(self, rng: np.random.Generator, blocks: int) -> NDArray[np.float64]:
        """Return the eddies of all blocks, m³/s, shape (blocks, squares)."""
        memory = float(np.exp(-BLOCK_S / self.memory_s))
        kicks = rng.standard_normal((blocks, len(SQUARES))) * np.sqrt(1 - memory**2)
        return self.eddy_m3_s * np.asarray(lfilter([1.0], [1.0, -memory], kicks, axis=0))


def draw_airflow(rng: np.random.Generator) -> Airflow:
    """Draw the size of a room and how its air moves."""
    volume = log_uniform(rng, 15, 80)
    mixing_s = log_uniform(rng, 80, 350)
    # A chain of four cells evens out at 0.59 of the rate of one face.
    exchange = volume / CELLS / (0.59 * mixing_s) * np.exp(0.35 * rng.standard_normal(len(FACES)))
    exchange[_BETWEEN_STALLS] *= rng.uniform(0.1, 0.6)
    exchange[VERTICAL] *= log_uniform(rng, 0.5, 1.8)
    fan = COLUMNS + int(rng.integers(COLUMNS))
    laplacian = np.zeros((CELLS, CELLS))
    for (a, b), g in zip(FACES, exchange, strict=True):
        laplacian[[a, b], [a, b]] += g
        laplacian[[a, b], [b, a]] -= g
    injection = np.zeros(CELLS)
    injection[DOOR], injection[fan] = 1.0, -1.0
    potential = np.linalg.pinv(laplacian) @ injection
    ends = np.array(FACES)
    return Airflow(
        volume_m3=volume,
        exchange=exchange,
        eddy_m3_s=float(np.mean(exchange)) * log_uniform(rng, 0.8, 4),
        memory_s=log_uniform(rng, 10, 90),
        through=exchange * (potential[ends[:, 0]] - potential[ends[:, 1]]),
        fan=fan,
        lift_m3_s=log_uniform(rng, 0.004, 0.02),
    )


def transport(
    rooms: list[Airflow],
    circulation: NDArray[np.float64],
    supply_m3_s: NDArray[np.float64],
    people: NDArray[np.float64],
    stirring: NDArray[np.float64],
    door_m3_s: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the matrices that move concentrations by one second.

    Parameters
    ----------
    circulation : ndarray, shape (blocks, rooms, squares)
    supply_m3_s, stirring, door_m3_s : ndarray, shape (blocks, rooms)
        Through-flow; factor of all motion; exchange with the corridor at the door.
    people : ndarray, shape (blocks, rooms, columns)

    Returns
    -------
    ndarray, shape (blocks, rooms, CELLS, CELLS)
        Column sums are at most 1: what is missing left through the fan or the door.
    """
    lift = np.array([r.lift_m3_s for r in rooms])
    loops = circulation * stirring[..., None] + (people @ _UPDRAFTS) * lift[:, None]
    net = loops @ SQUARES + supply_m3_s[..., None] * np.array([r.through for r in rooms])
    both_ways = np.array([r.exchange for r in rooms]) * stirring[..., None]
    flows = np.concatenate(
        [np.maximum(net, 0) + both_ways, np.maximum(-net, 0) + both_ways], axis=-1
    )
    rates = (flows @ _INCIDENCE).reshape(*flows.shape[:2], CELLS, CELLS)
    fans = np.array([r.fan for r in rooms])
    every = np.arange(len(rooms))
    rates[:, every, fans, fans] -= supply_m3_s
    rates[:, every, DOOR, DOOR] -= door_m3_s
    rates /= np.array([r.cell_m3 for r in rooms])[:, None, None]
    rates /= 2**_SQUARINGS
    # No cell gives away more than it holds, however strong the draft.
    worst = -rates.diagonal(axis1=-2, axis2=-1).min(axis=-1)
    rates *= np.minimum(1.0, 0.9 / np.maximum(worst, 1e-12))[..., None, None]
    step = np.eye(CELLS) + rates
    for _ in range(_SQUARINGS):
        step = step @ step
    return step
