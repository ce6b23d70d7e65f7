"""Move air between the 24 cells of a room.

There are four cells along the room, three across (stalls, middle, basins), and two layers. Four
flows move air between cells; all conserve volume:

- turbulent exchange, equal in both directions, given by the room's mixing time (1-5 min);
- eddies: a circulation around each square of four cells, an Ornstein-Uhlenbeck process with a
  correlation time of 10-90 s;
- updrafts over people, which are also circulations;
- through-flow from the door to the fan, a potential flow.

Flows are constant for `BLOCK_S` seconds, so one second of transport is a matrix product with the
exponential of the flows. The index of a cell is ``(layer * 3 + row) * 4 + place``, and of a column
``row * 4 + place``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLACES: Final = 4
ROWS: Final = 3
LAYERS: Final = 2
CELLS: Final = PLACES * ROWS * LAYERS
COLUMNS: Final = PLACES * ROWS
DOOR: Final = 11
"""Lower cell at the door, in the basin row."""
BLOCK_S: Final = 10
"""Flows are constant for this many seconds."""
_SQUARINGS: Final = 3


def _cell(place: int, row: int, layer: int) -> int:
    return (layer * ROWS + row) * PLACES + place


def _faces() -> list[tuple[int, int]]:
    """Return the pairs of adjacent cells."""
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
    """Return the faces around each square of four cells, with the flow's sign at each."""
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
    """Return circulations in which 1 m³/s rises in one column and sinks in its neighbors."""
    lift = np.zeros((COLUMNS, len(SQUARES)))
    for face in np.flatnonzero(VERTICAL):
        signs = SQUARES[:, face]
        lift[FACES[face][0]] = signs / np.abs(signs).sum()
    return lift


_UPDRAFTS: Final = _updrafts()


def _incidence() -> NDArray[np.float64]:
    """Return each face's effect on the flattened flow matrix: forward flows, then backward."""
    effect = np.zeros((2, len(FACES), CELLS, CELLS))
    for i, (a, b) in enumerate(FACES):
        effect[0, i, b, a], effect[0, i, a, a] = 1.0, -1.0
        effect[1, i, a, b], effect[1, i, b, b] = 1.0, -1.0
    return effect.reshape(2 * len(FACES), CELLS * CELLS)


_INCIDENCE: Final = _incidence()


@dataclass(frozen=True, slots=True)
class Airflow:
    """Parameters of one room's air flow.

    Attributes
    ----------
    volume_m3 : float
    exchange : ndarray, shape (faces,)
        Turbulent exchange over each face, m³/s each way.
    eddy_m3_s, memory_s : float
        Standard deviation of an eddy's circulation, and its correlation time.
    through : ndarray, shape (faces,)
        Flow over each face if 1 m³/s enters through the door and leaves through the fan.
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
        """Volume of a cell."""
        return self.volume_m3 / CELLS

    def circulations(self, rng: np.random.Generator, blocks: int) -> NDArray[np.float64]:
        """Draw the eddies' circulation in all blocks, m³/s, shape (blocks, squares)."""
        memory = float(np.exp(-BLOCK_S / self.memory_s))
        kicks = rng.standard_normal((blocks, len(SQUARES))) * np.sqrt(1 - memory**2)
        return self.eddy_m3_s * np.asarray(lfilter([1.0], [1.0, -memory], kicks, axis=0))


def draw_airflow(rng: np.random.Generator) -> Airflow:
    """Draw a room's size and air flow."""
    volume = draw_log(rng, 15, 80)
    mixing_s = draw_log(rng, 80, 350)
    # in a row of four cells, differences decay at 0.59 times the rate of one face
    exchange = volume / CELLS / (0.59 * mixing_s) * np.exp(0.35 * rng.standard_normal(len(FACES)))
    exchange[_BETWEEN_STALLS] *= rng.uniform(0.1, 0.6)
    exchange[VERTICAL] *= draw_log(rng, 0.5, 1.8)
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
        eddy_m3_s=float(np.mean(exchange)) * draw_log(rng, 0.8, 4),
        memory_s=draw_log(rng, 10, 90),
        through=exchange * (potential[ends[:, 0]] - potential[ends[:, 1]]),
        fan=fan,
        lift_m3_s=draw_log(rng, 0.004, 0.02),
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
        Through-flow; factor on all motion; exchange with the corridor through the door.
    people : ndarray, shape (blocks, rooms, columns)

    Returns
    -------
    ndarray, shape (blocks, rooms, CELLS, CELLS)
        Column sums are at most 1; the rest has left through the fan or the door.
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
    # limit flows so that no cell loses more air than it contains
    worst = -rates.diagonal(axis1=-2, axis2=-1).min(axis=-1)
    rates *= np.minimum(1.0, 0.9 / np.maximum(worst, 1e-12))[..., None, None]
    step = np.eye(CELLS) + rates
    for _ in range(_SQUARINGS):
        step = step @ step
    return step
