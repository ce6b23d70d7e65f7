"""World of the demo's simulator: a school whose restrooms are busy around the clock.

Rooms, devices and intervals come from `sensor_sim.school.draw_school`; rooms share the outdoor
air. There are about 200 nuisances per room and day, and a third of the vaping is masked. Readings
have the time of the device's clock, which is off by some seconds. The truth has the true time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from detection.quantities import COLUMN_INDEX
from research.worlds.world import COLUMNS, EPOCH, Happening, Readings
from sensor_sim.schedule import HARD_VAPES_PER_DAY
from sensor_sim.school import draw_school
from sensor_sim.simulate import draw_air, simulate

if TYPE_CHECKING:
    from sensor_sim.devices.models import Device
    from sensor_sim.physics.room import RoomAir
    from sensor_sim.trace import DeviceTrace, Truth

INTERVALS: Final = (1, 2, 5, 10, 30, 60)
"""Reporting intervals, s."""
_STYLES: Final = {"nicotine_pod": "pod", "box_mod": "mod", "thc_cartridge": "thc"}
"""Vaping styles of the sources that are not named after their style."""
_COLUMNS: Final = [COLUMN_INDEX[name] for name in COLUMNS]


def school(
    seed: int, rooms: int, hours: float, vape_rate: float = 0.35, nuisance_rate: float = 1.0
) -> tuple[Readings, list[Happening]]:
    """Simulate a busy school; see `research.worlds.world.World`.

    In this world, `Happening.arrival` is when the excess passed 2 µg/m³, and `Happening.seen_pm25`
    is its highest value at any later time.
    """
    plan = draw_school(seed, rooms, intervals=INTERVALS)
    traces: list[tuple[int, DeviceTrace]] = []
    truths: list[Truth] = []
    for chunk in simulate(
        plan,
        seed=seed,
        start=EPOCH,
        duration_s=hours * 3600,
        vape_rate=24 * vape_rate / HARD_VAPES_PER_DAY,
        nuisance_rate=nuisance_rate,
        activity="hard_restroom",
    ):
        traces += enumerate(chunk.traces)
        truths += chunk.truths
    sensor = np.concatenate([np.full(t.time.size, number, np.int32) for number, t in traces])
    time = np.concatenate([t.time for _, t in traces])
    values = np.concatenate([t.values[:, _COLUMNS] for _, t in traces]).astype(np.float64)
    order = np.argsort(time, kind="stable")
    names = tuple(device.id for device in plan.devices)
    readings = Readings(names, sensor[order], time[order], values[order])
    device_of = {device.id: device for device in plan.devices}
    air_of = {room.id: draw_air(room, seed) for room in plan.restrooms}
    return readings, [_happening(t, device_of[t.sensor], air_of[t.room]) for t in truths]


def _happening(truth: Truth, device: Device, air: RoomAir) -> Happening:
    is_vape = truth.kind == "vape"
    return Happening(
        truth.sensor,
        truth.kind,
        _STYLES.get(truth.source, truth.source),
        truth.start,
        truth.end,
        device.model,
        device.interval_s,
        air.volume_m3,
        air.ach_off if air.fan == "broken" else air.ach_on,
        truth.peak_excess if is_vape else 0.0,
        truth.baseline,
        truth.arrival if is_vape else np.nan,
    )
