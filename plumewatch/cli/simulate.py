"""`plumewatch simulate`: publish the readings of a simulated school's sensors."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from plumewatch.cli.options import list_examples
from plumewatch.cli.printer import echo, show_progress
from plumewatch.errors import UnreachableError, UsageError
from plumewatch.format_time import parse_time

if TYPE_CHECKING:
    from plumewatch.config.model import PlumewatchConfig
    from sensor_sim.school import School

app = typer.Typer()

_DAY_S: Final = 86_400.0
_MAX_DAYS: Final = 3660


class Activity(StrEnum):
    """How much happens in the simulated school."""

    ORDINARY = "ordinary"
    HARD_RESTROOM = "hard_restroom"
    DEMO = "demo"


@app.command(
    rich_help_panel="Simulation and history",
    epilog=list_examples(
        "plumewatch simulate --publish 127.0.0.1:1883 --config plumewatch.toml",
        "plumewatch simulate --publish 127.0.0.1:1883 --days 0.1 --patience 60",
    ),
)
def simulate(
    *,
    publish: Annotated[str, typer.Option(help="Broker without accounts, host:port.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Simulate the rooms and sensors of this school."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="The same seed gives the same readings.", min=0, max=2**31 - 1)
    ] = 1,
    days: Annotated[float, typer.Option(help="Simulated days.")] = 1.0,
    speed: Annotated[
        float, typer.Option(help="Simulated seconds per second; 0 for as fast as possible.", min=0)
    ] = 1.0,
    truth: Annotated[
        bool, typer.Option("--truth", help="Print what really happened, as CSV.")
    ] = False,
    start: Annotated[
        str, typer.Option(help="Time of the first reading, ISO 8601; now if left out.")
    ] = "",
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for an unreachable broker.", min=0, max=_DAY_S)
    ] = 0.0,
    activity: Annotated[
        Activity, typer.Option(help="How much happens: as in a school, a busy room, or a demo.")
    ] = Activity.ORDINARY,
) -> None:
    """Simulate a school, and publish what its sensors measure."""
    from plumewatch.config.load import load
    from sensor_sim.publish import BrokerUnreachableError, Publisher, prefetch
    from sensor_sim.simulation_run import live_start, messages
    from sensor_sim.truth_stream import TruthStream

    if not 0 < days <= _MAX_DAYS:
        raise UsageError(f"--days {days}: more than 0, at most {_MAX_DAYS}")
    host, _, port = publish.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--publish {publish}: host:port")
    factor, duration_s = speed if speed > 0 else math.inf, days * _DAY_S
    begin = parse_time(start, UTC) if start else live_start(duration_s, factor, time.time())
    stream = messages(
        _build_school(None if config is None else load(config), begin),
        seed=seed,
        start=begin,
        duration_s=duration_s,
        activity=activity.value,
        truth=TruthStream(sys.stdout.buffer) if truth else None,
    )
    began, shown = time.monotonic(), 0.0
    with show_progress("publishing", duration_s) as update:

        def show(published: int, sent: float) -> None:
            nonlocal shown
            if time.monotonic() - shown > 0.1:
                shown = time.monotonic()
                text = f"publishing, {published:,} messages"
                update(completed=sent - begin, description=text)

        publisher = Publisher(host, int(port), factor, patience, on_progress=show)
        try:
            asyncio.run(publisher.run(prefetch(stream)))
        except BrokerUnreachableError as error:
            raise UnreachableError(str(error)) from error
    took, count = max(time.monotonic() - began, 1e-9), publisher.published
    echo(f"{count:,} messages to {publish}, {count / took:,.0f} a second", err=True)


def _build_school(config: PlumewatchConfig | None, begin: float) -> School:
    """Return the configured school, or a made-up one; unknown models are simulated as a SEN55."""
    from sensor_sim.devices.models import MODELS, Device
    from sensor_sim.school import Restroom, School

    if config is None:
        return School.small()
    devices: dict[str, list[Device]] = {}
    for sensor in config.sensor:
        model = sensor.model.lower() if sensor.model.lower() in MODELS else "sen55"
        interval_s = max(1, round(sensor.interval_s))
        device = Device(sensor.id, sensor.room, model, interval_s)
        devices.setdefault(sensor.room, []).append(device)
    offset = datetime.fromtimestamp(begin, config.zone()).utcoffset() or timedelta()
    rooms = tuple(Restroom(room, "student", tuple(mine)) for room, mine in devices.items())
    return School(config.site, rooms, utc_offset_s=int(offset.total_seconds()))
