"""Events in a room: releases into the air, acts, vaping sessions and people."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from research.worlds.parcels.schedule import WARM_UP_S, School
from research.worlds.parcels.substances import SLICE_DIAMETER

if TYPE_CHECKING:
    from numpy.random import Generator

    from research.worlds.parcels.draws import Floats
    from research.worlds.parcels.rooms import Room

FOLLOWED_S: Final = 260
"""Age at which a parcel joins the mixed remainder, s."""

_NO_DROPLETS: Final = np.zeros(len(SLICE_DIAMETER))
_NO_DROPLETS.flags.writeable = False


class Liquid(NamedTuple):
    """How droplets evaporate.

    - `volatile`: share of the volume that evaporates.
    - `shrinking`: decrease of the squared diameter in clean air, µm²/s.
    - `saturation`: vapor concentration at which evaporation stops, mg/m³.
    """

    volatile: float
    shrinking: float
    saturation: float


@dataclass(frozen=True, slots=True)
class Release:
    """One release, simulated as tens of parcels.

    - `start`: seconds after the world's start.
    - `delays`, `shares`: each parcel's delay in seconds, and its share of the release.
    - `droplets`, `gases`, `water`: in mg; droplets by slice, gases by substance.
    - `jet`: initial velocity, m/s.
    - `rise`, `rise_time`: speed of buoyant rise, m/s, and its decay time, s.
    - `radius`: initial spread of a parcel, m.
    - `scatter`: spread of the parcels' positions, m.
    - `follow_s`: age up to which the release has its own size spectrum.
    - `session`: number of the vaping session, or -1 for other causes.
    """

    start: float
    place: Floats
    delays: Floats
    shares: Floats
    droplets: Floats
    gases: dict[int, float]
    water: float
    liquid: Liquid | None
    jet: tuple[float, float, float]
    rise: float
    rise_time: float
    radius: float
    scatter: float
    follow_s: int
    session: int
    in_stall: bool


class Act(NamedTuple):
    """One act in the room or building; times are in seconds after the world's start."""

    kind: str
    style: str
    start: float
    end: float


class Session(NamedTuple):
    """One vaping session; times are in seconds after the world's start."""

    style: str
    start: float
    end: float


class Steam(NamedTuple):
    """Hot running water, whose vapor may condense to mist.

    - `mist`: highest mass of mist, mg/m³.
    - `threshold`: relative humidity at which mist forms, %.
    """

    start: float
    end: float
    mist: float
    threshold: float


class Draft(NamedTuple):
    """Air movement caused by a door, m/s."""

    start: float
    velocity: float
    duration: float


@dataclass(slots=True)
class Day:
    """Record of a room's releases and people; the sources fill it in."""

    school: School
    room: Room
    hours: float
    releases: list[Release] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    steam: list[Steam] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    has_reed_diffuser: bool = False
    _people: Floats = field(init=False)
    _stirring: Floats = field(init=False)
    _heat: Floats = field(init=False)

    def __post_init__(self) -> None:
        self._people, self._stirring, self._heat = np.zeros((3, self.room.all_s + 1))

    @property
    def rng(self) -> Generator:
        """The room's random generator."""
        return self.room.rng

    @property
    def end(self) -> int:
        """Seconds from the world's start to the last reading."""
        return self.room.read_s - WARM_UP_S

    @property
    def occupancy(self) -> Floats:
        """Number of people in the room, by second."""
        return np.maximum(np.cumsum(self._people)[:-1], 0)

    @property
    def heat(self) -> Floats:
        """Sudden warming, K, by second."""
        return self._heat[:-1]

    def index(self, time: float) -> int:
        """Return the index of the step at `time`."""
        return int(np.clip(time + WARM_UP_S, 0, self.room.all_s))

    def enter(self, start: float, end: float, people: float = 1.0) -> None:
        """Add people for a while."""
        self._people[self.index(start)] += people
        self._people[self.index(end)] -= people

    def stir(self, start: float, end: float, strength: float) -> None:
        """Increase the mixing of the air for a while."""
        self._stirring[self.index(start)] += strength
        self._stirring[self.index(end)] -= strength

    def warm(self, time: float, kelvin: float) -> None:
        """Warm the air suddenly."""
        self._heat[self.index(time)] += kelvin

    def release(
        self,
        start: float,
        place: Floats,
        droplets: Floats | None = None,
        *,
        duration: float = 2.0,
        parcels: int = 24,
        gases: dict[int, float] | None = None,
        water: float = 0.0,
        liquid: Liquid | None = None,
        jet: tuple[float, float, float] = (0, 0, 0),
        rise: float = 0.1,
        rise_time: float = 12.0,
        radius: float = 0.12,
        scatter: float = 0.08,
        follow_s: int = FOLLOWED_S,
        session: int = -1,
        in_stall: bool = False,
        is_drying: bool = False,
    ) -> None:
        """Release substances (see `Release`); if `is_drying`, a wet surface emits less and less."""
        if not -WARM_UP_S + 5 <= start <= self.end - 5:
            return
        rng = self.rng
        if is_drying:
            delays = np.sort(-np.log(1 - rng.random(parcels) * 0.95)) / 3.0 * duration
        elif parcels > 40 or duration > 60:  # a steady source that flickers
            delays = (np.arange(parcels) + rng.random(parcels)) / parcels * duration
        else:
            delays = np.sort(rng.random(parcels)) * duration
        shares = rng.gamma(4.0, 0.25, parcels)
        self.releases.append(
            Release(
                start=start,
                place=np.array(place, float),
                delays=delays,
                shares=shares / shares.sum(),
                droplets=_NO_DROPLETS if droplets is None else droplets,
                gases=gases or {},
                water=water,
                liquid=liquid,
                jet=jet,
                rise=rise,
                rise_time=rise_time,
                radius=radius,
                scatter=scatter,
                follow_s=follow_s,
                session=session,
                in_stall=in_stall,
            )
        )

    def stirred_room(self) -> Room:
        """Return the room with the mixing and drafts that people cause."""
        stirring = np.maximum(np.cumsum(self._stirring)[:-1], 0)
        drift = self.room.drift_x.copy()
        for draft in self.drafts:
            drift[self.index(draft.start) : self.index(draft.start + draft.duration)] += (
                draft.velocity
            )
        mixing = 1 + 0.25 * np.minimum(self.occupancy, 6) + stirring
        return replace(self.room, diffusivity=self.room.diffusivity * mixing, drift_x=drift)
