"""`plumewatch simulate`: publish the readings of a simulated school's sensors."""

from __future__ import annotations

import math
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from plumewatch.cli.options import OptionalConfig, list_examples
from plumewatch.cli.printer import echo
from plumewatch.errors import UnreachableError, UsageError
from plumewatch.parse_time import parse_time

if TYPE_CHECKING:
    from plumewatch.config.model import PlumewatchConfig
    from sensor_sim.school import School

app = typer.Typer()
_DAY_S: Final = 86_400.0


@app.command(
    rich_help_panel="Simulation and history",
    epilog=list_examples(
        "plumewatch simulate --publish 127.0.0.1:1883 --config plumewatch.toml",
        "plumewatch simulate --publish 127.0.0.1:1883 --days 0.1 --activity demo",
    ),
)
def simulate(
    *,
    publish: Annotated[str, typer.Option(help="Broker without accounts, host:port.")],
    config: OptionalConfig = None,
    seed: Annotated[
        int, typer.Option(help="The same seed gives the same readings.", min=0, max=2**31 - 1)
    ] = 1,
    days: Annotated[float, typer.Option(help="Simulated days.", min=0.001, max=3660)] = 1.0,
    speed: Annotated[
        float, typer.Option(help="Simulated seconds per second; 0 for as fast as possible.", min=0)
    ] = 1.0,
    start: Annotated[str, typer.Option(help="Time of the first reading; now if left out.")] = "",
    activity: Annotated[
        Literal["ordinary", "hard_restroom", "demo"],
        typer.Option(help="How much happens: as in a school, a busy room, or a demo."),
    ] = "ordinary",
    truth: Annotated[bool, typer.Option("--truth", help="Print what happened, as CSV.")] = False,
) -> None:
    """Simulate a school, and publish what its sensors measure."""
    import asyncio

    from plumewatch.config.load import load
    from sensor_sim.publish import BrokerUnreachableError, Publisher, prefetch
    from sensor_sim.simulation_run import generate_messages, start_truths

    host, _, port = publish.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--publish {publish}: must be host:port")
    duration_s, factor = days * _DAY_S, speed or math.inf
    late_s = duration_s * (1 - 1 / factor) if factor > 1 else 0.0  # no reading is in the future
    begin = parse_time(start, UTC) if start else math.floor(time.time() - late_s)
    stream = generate_messages(
        _build_school(None if config is None else load(config), begin),
        seed=seed,
        start=begin,
        duration_s=duration_s,
        activity=activity,
        on_truth=start_truths(sys.stdout) if truth else lambda _: None,
    )
    publisher = Publisher(host, int(port), factor)
    try:
        asyncio.run(publisher.run(prefetch(stream)))
    except BrokerUnreachableError as error:
        raise UnreachableError(str(error)) from error
    echo(f"{publisher.published:,} messages to {publish}", err=True)


def _build_school(config: PlumewatchConfig | None, begin: float) -> School:
    """Return the configured school, or a made-up one; unknown models are simulated as a SEN55."""
    from sensor_sim.devices.models import MODELS, Device
    from sensor_sim.school import Restroom, School

    if config is None:
        return School.make_small()
    devices: dict[str, list[Device]] = {}
    for sensor in config.sensor:
        model = sensor.model.lower() if sensor.model.lower() in MODELS else "sen55"
        device = Device(sensor.id, sensor.room, model, max(1, round(sensor.interval_s)))
        devices.setdefault(sensor.room, []).append(device)
    local = datetime.fromtimestamp(begin, config.get_zone())
    offset_s = int((local.replace(tzinfo=UTC) - local).total_seconds())
    rooms = tuple(Restroom(room, "student", tuple(mine)) for room, mine in devices.items())
    return School(config.site, rooms, utc_offset_s=offset_s)
