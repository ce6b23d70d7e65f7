"""Simulate the demo's school: ``python -m plumewatch.cli.demo.simulator CONFIG PORT``.

Publishes what the sensors of a configuration measure to a broker on this machine, `SPEED` times
faster than real time, and prints what really happened as CSV.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plumewatch.config.load import load
from sensor_sim.devices.models import MODELS, Device
from sensor_sim.publish import BrokerUnreachableError, Publisher, prefetch
from sensor_sim.school import Restroom, School
from sensor_sim.simulation_run import generate_messages
from sensor_sim.truth_stream import TruthStream

if TYPE_CHECKING:
    from plumewatch.config.model import PlumewatchConfig

SPEED: Final = 20.0
START: Final = datetime(2026, 9, 14, 9, 30, tzinfo=UTC)
"""A Monday morning during the term."""
_SEED: Final = 11
_LASTS_S: Final = 2 * 86_400.0


def build_school(config: PlumewatchConfig) -> School:
    """Return the configured school; unknown models are simulated as a SEN55."""
    devices: dict[str, list[Device]] = {}
    for sensor in config.sensor:
        model = sensor.model.lower() if sensor.model.lower() in MODELS else "sen55"
        interval_s = max(1, round(sensor.interval_s))
        device = Device(sensor.id, sensor.room, model, interval_s)
        devices.setdefault(sensor.room, []).append(device)
    rooms = tuple(Restroom(room, "student", tuple(mine)) for room, mine in devices.items())
    return School(config.site, rooms)


def main() -> None:
    """Publish until the end of the simulation."""
    config, port = load(Path(sys.argv[1])), int(sys.argv[2])
    stream = generate_messages(
        build_school(config),
        seed=_SEED,
        start=START.timestamp(),
        duration_s=_LASTS_S,
        activity="demo",
        truth=TruthStream(sys.stdout.buffer),
    )
    try:
        asyncio.run(Publisher("127.0.0.1", port, SPEED).run(prefetch(stream)))
    except BrokerUnreachableError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
