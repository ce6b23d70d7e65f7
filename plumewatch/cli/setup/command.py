"""`plumewatch init` and `setup`: a configuration from a template, or from a broker with sensors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ingest.errors import RefusedError
from plumewatch.cli.options import CONFIG, DONE, UNREACHABLE, Site, examples
from plumewatch.cli.printer import echo, print_table, progress
from plumewatch.config.faults import ConfigError, ConfigFault, some
from plumewatch.errors import UnreachableError, UsageError
from storage.registry import natural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.mqtt.connection import BrokerSettings
    from ingest.validation import Message
    from plumewatch.cli.setup.answers import Answers
    from plumewatch.cli.setup.discovery import DiscoveredSensor, Discovery
    from plumewatch.cli.setup.influx import PreparedInflux
    from plumewatch.cli.setup.rooms import Place
    from plumewatch.cli.setup.site_files import SiteFiles


app = typer.Typer()

_UNREAD_SHOWN: Final = 5
_SLOWEST_S: Final = 120.0
"""If it listens for less, a message warns that slow sensors may be missing."""


@app.command(
    rich_help_panel="Start",
    epilog=examples("plumewatch init", "plumewatch init /etc/plumewatch/plumewatch.toml"),
)
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = CONFIG,
) -> None:
    """Write a commented starter configuration."""
    from plumewatch.cli.setup.site_files import STARTER, SiteFiles

    if not path.parent.is_dir():
        raise UsageError(f"{path}: No such file or directory")
    SiteFiles(plain={path.name: STARTER}).write(path.parent, path.name)
    echo(f"wrote {path}; next: edit it, then `plumewatch check --config {path}`")


@app.command(
    rich_help_panel="Start",
    epilog=examples("plumewatch setup", "plumewatch setup --answers answers.toml --folder site"),
)
def setup(
    *,
    folder: Annotated[
        Path, typer.Option(help="Where configuration, secrets and accounts go.")
    ] = Path(),
    answers: Annotated[
        Path | None, typer.Option(help="Answers in TOML (docs/install.md); asks you without it.")
    ] = None,
) -> int:
    """Find sensors on a broker, and write configuration and accounts; twelve questions at most."""
    from pydantic import ValidationError

    from ingest.errors import BrokerError
    from plumewatch.cli.setup.answers import in_short

    try:
        return _set_up(folder.resolve(), answers)
    except (ValidationError, ValueError) as error:
        raise UsageError(in_short(error)) from error
    except BrokerError as error:
        raise UnreachableError(str(error)) from error


def _set_up(folder: Path, answers_file: Path | None) -> int:
    import asyncio
    from zoneinfo import ZoneInfo

    from plumewatch.cli.setup.answers import ask, read_answers
    from plumewatch.cli.setup.broker_files import new_password
    from plumewatch.cli.setup.discovery import discover, reach
    from plumewatch.cli.setup.influx import prepared
    from plumewatch.cli.setup.site_files import air_sensors, rooms_for, written

    if answers_file is not None:
        answers = read_answers(answers_file)
    elif sys.stdin.isatty():
        answers = ask(question, lambda found: asyncio.run(reach(_broker(found))))
    else:
        raise UsageError("--answers FILE is needed where nobody can be asked")
    settings = _broker(answers)
    _check_folder(folder)
    influx = prepared(answers.influx, None if answers_file else question)
    discovery = discover(_listened(settings, answers.listen_s), ZoneInfo(answers.timezone))
    sensors = air_sensors(discovery)
    places = rooms_for(sensors, answers.rooms)
    _print_sensors(sensors, places)
    _print_rest(discovery, places)
    if answers.listen_s < _SLOWEST_S:
        sys.stderr.write(
            f"listened {answers.listen_s:g} s: sensors that report less often may be missing;"
            " listen_s in a file of --answers makes it longer (docs/install.md)\n"
        )
    if not places:
        raise RefusedError(
            "no sensor was found that measures particles or VOC; let them publish to"
            f" {answers.broker} (docs/devices.md), then plumewatch setup again"
        )
    if answers_file is None:
        answers, places = _ask_rest(answers, sensors)
    files = written(answers, discovery, places, settings.password or new_password(), influx)
    _write(files, folder, influx)
    return _finish(folder, answers)


def _write(files: SiteFiles, folder: Path, influx: PreparedInflux | None) -> None:
    """Set the InfluxDB up and write the files, if they can be written."""
    if influx:
        files.secret |= dict.fromkeys(influx.secret_files(), "")
    files.check(folder)
    if influx:
        files.secret |= influx.provide()
    for path in files.write(folder):
        echo(f"wrote {path}")


def question(text: str, default: str = "", *, hidden: bool = False) -> str:
    """Ask a person."""
    asked = typer.prompt(text, default=default, show_default=bool(default), hide_input=hidden)
    return str(asked).strip()


def _check_folder(folder: Path) -> None:
    path = folder / CONFIG.name
    if path.exists():
        raise UsageError(f"{path}: exists already; choose another --folder")
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UsageError(f"{folder}: cannot be written; choose another --folder")


def _broker(answers: Answers) -> BrokerSettings:
    import ssl

    from ingest.mqtt.connection import BrokerSettings
    from plumewatch.cli.setup.answers import address
    from plumewatch.config.secrets import secret_from

    host, port, tls = address(answers.broker)
    password = answers.password
    if answers.password_file is not None:
        password = secret_from("password", file=answers.password_file).reveal()
    try:
        context = ssl.create_default_context(cafile=answers.ca_file) if tls else None
    except OSError as error:
        allowed = f"a readable certificate file ({error})"
        fault = ConfigFault("ca_file", str(answers.ca_file), allowed)
        raise ConfigError([fault]) from error
    return BrokerSettings(
        host=host, port=port, username=answers.username, password=password, tls=context
    )


def _listened(settings: BrokerSettings, seconds: float) -> Sequence[Message]:
    import asyncio

    from plumewatch.cli.setup.discovery import listen

    with progress("listening", seconds) as update:

        def on_message(count: int, so_far: float) -> None:
            update(completed=so_far, description=f"listening, {count} messages")

        return asyncio.run(listen(settings, seconds, on_message))


def _print_sensors(sensors: Mapping[str, DiscoveredSensor], places: Mapping[str, Place]) -> None:
    rows = []
    for name, place in places.items():
        sensor = sensors[name]
        interval = "once" if sensor.interval_s is None else f"{sensor.interval_s:.3g} s"
        lacks = ", ".join(sensor.lacks)
        rows.append((name, sensor.decoder, interval, lacks, *place))
    head = ("Sensor", "Read by", "Interval", "Lacks", "Building", "Floor", "Room")
    print_table(head, (({}, row) for row in rows))


def _print_rest(discovery: Discovery, places: Mapping[str, Place]) -> None:
    from detection.unlikely import looks_like

    for name in places:
        for quantity in discovery.sensors[name].unlikely:
            echo(f"{name}: {looks_like(quantity)}; name its unit in a mapping (docs/mappings.md)")
    blind = [name for name in places if "particles" in discovery.sensors[name].lacks]
    alarming = [name for name in blind if discovery.sensors[name].has_own_alarm]
    if alarming:
        echo(
            "no particles are read, so alerts come from the vape alarm of the device itself alone:"
            f" {some(alarming)}"
        )
    if blind := [name for name in blind if name not in alarming]:
        echo(
            f"cannot detect vaping, as no particles are read: {some(blind)} (docs/devices.md;"
            " if it sends some under another name, docs/mappings.md; a vape alarm of the device"
            " itself, if it has one, alerts all the same)"
        )
    for name in sorted(discovery.sensors.keys() - places.keys(), key=natural):
        echo(
            f"{name} ({min(discovery.sensors[name].topics)}): neither particles nor VOC are read:"
            " skipped; plumewatch mapping suggest, if it sends them under other names"
        )
    unread = sorted(discovery.unread.items())
    for topic, why in unread[:_UNREAD_SHOWN]:
        echo(f"nothing reads {topic}: {why}")
    if len(unread) > _UNREAD_SHOWN:
        echo(f"and {len(unread) - _UNREAD_SHOWN} further topics (docs/mappings.md)")


def _ask_rest(
    answers: Answers, sensors: Mapping[str, DiscoveredSensor]
) -> tuple[Answers, dict[str, Place]]:
    from plumewatch.cli.setup.answers import ask_until_valid, page_address, rooms_of, staff_of
    from plumewatch.cli.setup.site_files import rooms_for

    places = ask_until_valid(
        lambda: question("Rooms to correct, sensor=Building/Floor/Room; ...; empty if none"),
        lambda text: rooms_for(sensors, rooms_of(text)),
    )
    staff = ask_until_valid(
        lambda: question("Who is notified, Name[, role] = Apprise address; ...; empty for later"),
        staff_of,
    )
    public_url = ask_until_valid(
        lambda: question("Address at which phones reach the staff page; empty for none"),
        page_address,
    )
    test = question("Send each a test notice now? (yes, no)", "yes") if staff else "no"
    more = {"staff": staff, "public_url": public_url, "test_notice": test.lower().startswith("y")}
    return answers.model_copy(update=more), places


def _finish(folder: Path, answers: Answers) -> int:
    from plumewatch.cli.people import send_test_notices
    from plumewatch.cli.run import run_check
    from plumewatch.cli.setup.answers import address
    from plumewatch.cli.setup.site_files import next_steps

    path = folder / CONFIG.name
    config = Site.load(path).config
    if answers.test_notice and config.staff:
        send_test_notices(config)
    _, _, tls = address(answers.broker)
    not_yet = ("broker", "broker certificate") if tls else ()  # its listener is not there yet
    code = run_check(path, not_yet=not_yet)
    echo(next_steps(folder, answers.broker_folder.rstrip("/"), tls=tls))
    return DONE if code == DONE else UNREACHABLE
