"""`plumewatch init` and `setup`: make a configuration from a template or a broker's sensors."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from ingest.errors import RefusedError
from language.plain_text import pluralize
from plumewatch.cli.options import CONFIG, DONE, UNREACHABLE, Site, list_examples
from plumewatch.cli.printer import ask_person, can_ask, echo, print_table, show_progress
from plumewatch.config.faults import ConfigError, ConfigFault, list_some
from plumewatch.errors import UnreachableError, UsageError
from storage.registry import make_sort_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from zoneinfo import ZoneInfo

    from ingest.mqtt.connection import BrokerSettings
    from ingest.validation import Message
    from plumewatch.cli.setup.answers import Answers
    from plumewatch.cli.setup.discovery import DiscoveredSensor, Discovery
    from plumewatch.cli.setup.influx import PreparedInflux
    from plumewatch.cli.setup.rooms import Place
    from plumewatch.cli.setup.site_files import SiteFiles


app = typer.Typer()

_UNREAD_SHOWN: Final = 30
_NUMBERED: Final = re.compile(r"[^/]*\d[^/]*(?=/)")
"""Matches the levels of a topic that differ between devices of the same kind."""
_QUESTIONS: Final = 8
"""After this many kinds of unlabeled topics, `setup` only lists the others."""
_SLOWEST_S: Final = 120.0
"""If `setup` listens for less time, a message warns that slow sensors may be missing."""
_SET_CLOCK: Final = "set its clock to UTC by NTP, or let it send no time: late readings never alert"
_GIVEN: Final = re.compile(
    r"""^(?:# )?(site|timezone|data_dir|public_url) = ("(?:\\.|[^"\\\n])*"|'[^'\n]*') *""",
    re.MULTILINE,
)
"""Matches the settings that differ between starter configurations."""
_OF_PROVIDER: Final = "secrets/sign-in"
"""File with the client secret of the sign-in provider."""


@app.command(
    rich_help_panel="Start",
    epilog=list_examples(
        "plumewatch init", 'plumewatch init --district --site "Lincoln Schools" --timezone UTC'
    ),
)
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = CONFIG,
    *,
    site: Annotated[str, typer.Option(help="Name of the school or district.")] = "",
    timezone: Annotated[str, typer.Option(help="Time zone, such as America/New_York.")] = "",
    district: Annotated[
        bool, typer.Option("--district", help="For several schools, listed in CSV tables.")
    ] = False,
    issuer: Annotated[str, typer.Option(help="Address of the sign-in provider.")] = "",
    client_id: Annotated[str, typer.Option(help="Client id from the provider.")] = "",
    hosted_domain: Annotated[str, typer.Option(help="Domain of your Google Workspace.")] = "",
    public_url: Annotated[str, typer.Option(help="Address at which phones reach the page.")] = "",
) -> None:
    """Write a commented starter configuration."""
    from pydantic import ValidationError

    from ingest.mapping.draft import format_toml
    from plumewatch.cli.setup.answers import Answers, find_faults
    from plumewatch.cli.setup.site_files import DISTRICT, STARTER, format_block
    from plumewatch.config.checks import ENTRA, GOOGLE
    from plumewatch.config.sections.common import check_time_zone

    text = DISTRICT if district else STARTER
    for sample, given in {"Northfield": site, "America/New_York": timezone}.items():
        text = text.replace(f'"{sample}"', format_toml(given or sample), 1)
    if public_url:
        sample = f"# public_url = {format_toml('https://plumewatch.example.org')}"
        text = text.replace(sample, f"public_url = {format_toml(public_url)}")
    host = urlsplit(issuer).hostname or ""
    steps = ["put schools.csv and sensors.csv next to it" if district else "edit it"]
    if issuer:
        text += "\n" + format_block(
            "[sign_in]",
            issuer=issuer,
            client_id=client_id,
            client_secret_file=_OF_PROVIDER,
            hosted_domain=hosted_domain,
            groups_claim={GOOGLE: "", **dict.fromkeys(ENTRA, "roles")}.get(host, "groups"),
            email_claim="preferred_username" if host in ENTRA else "",
        )
        steps.append(f"write the client secret to {_OF_PROVIDER}")
    try:
        Answers(site="any", public_url=public_url)
        check_time_zone(timezone or "UTC")
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except ValidationError as error:
        allowed = find_faults(error)[0].allowed
        raise UsageError(f"--public-url: {public_url!r}: {allowed}") from error
    except ValueError as error:
        raise UsageError(f"--timezone: {timezone!r}: {error}") from error
    except FileExistsError as error:
        raise UsageError(f"{path}: exists and is kept: edit it, or name another file") from error
    echo(f"wrote {path}; next: {', '.join(steps)}, then `plumewatch check --config {path}`")


@app.command(
    rich_help_panel="Start",
    epilog=list_examples(
        "plumewatch setup", "plumewatch setup --answers answers.toml --folder site"
    ),
)
def setup(
    *,
    folder: Annotated[
        Path, typer.Option(help="Where configuration, secrets and accounts go.")
    ] = Path(),
    answers: Annotated[
        Path | None,
        typer.Option(help="TOML file with the answers (docs/install.md); asks you if left out."),
    ] = None,
) -> int:
    """Find sensors on a broker and write configuration and accounts, or add new sensors."""
    from pydantic import ValidationError

    from ingest.errors import BrokerError
    from plumewatch.cli.setup.answers import describe

    folder = folder.resolve()
    path = folder / CONFIG.name
    try:
        if path.exists() and not _is_starter(path):
            return _add_sensors(path, answers)
        return _set_up(folder, answers)
    except (ValidationError, ValueError) as error:
        raise UsageError(describe(error)) from error
    except BrokerError as error:
        raise UnreachableError(str(error)) from error


def _is_starter(path: Path) -> bool:
    """Return whether a configuration is an unedited starter of `plumewatch init`."""
    from plumewatch.cli.setup.site_files import STARTER

    found = path.read_bytes().decode("utf-8", "replace")
    return _GIVEN.sub(r"\1", found) == _GIVEN.sub(r"\1", STARTER)


def _read_given(path: Path) -> dict[str, str]:
    """Return the school, time zone and address that were given to `plumewatch init`."""
    from plumewatch.cli.setup.site_files import STARTER
    from plumewatch.config.sites import read_toml

    tree, sample = read_toml(path), tomllib.loads(STARTER)
    given = {key: tree[key] for key in ("site", "timezone") if tree[key] != sample[key]}
    return given | {"public_url": tree["web"].get("public_url", "")}


def _set_up(folder: Path, answers_file: Path | None) -> int:
    import asyncio
    from zoneinfo import ZoneInfo

    from alerts.access.passwords import generate_password
    from plumewatch.cli.setup.answers import ask, read_answers
    from plumewatch.cli.setup.discovery import check_connection
    from plumewatch.cli.setup.influx import prepare
    from plumewatch.cli.setup.site_files import (
        build_files,
        find_air_sensors,
        find_places,
        refuse_existing,
    )
    from plumewatch.config.sites import read_toml

    path = folder / CONFIG.name
    refuse_existing(folder)
    given = _read_given(path) if path.exists() else {}
    if answers_file is not None:
        answers = read_answers(answers_file, given)
    elif can_ask():
        answers = ask(
            ask_person, lambda found: asyncio.run(check_connection(_build_broker(found))), given
        )
    else:
        raise UsageError("--answers FILE is needed without a terminal")
    settings = _build_broker(answers)
    _check_folder(folder)
    data_dir = read_toml(path).get("data_dir", "") if path.exists() else ""
    influx = prepare(answers.influx, None if answers_file else ask_person)
    messages = _listen(settings, answers.listen_s)
    discovery = _discover(
        messages, ZoneInfo(answers.timezone), answers.columns, asks=answers_file is None
    )
    sensors = find_air_sensors(discovery)
    places = find_places(sensors, answers.rooms)
    _print_found(discovery, places)
    if not places:
        raise RefusedError(
            "no sensor that measures particles or VOC was found; let them publish to"
            f" {answers.broker} (docs/devices.md), then plumewatch setup again"
        )
    if answers_file is None:
        places = _ask_places(sensors)
        answers = _ask_rest(answers, given.get("public_url", ""))
    password = settings.password or generate_password()
    files = build_files(answers, discovery, places, password, influx, data_dir)
    _write(files, folder, influx)
    return _finish(folder, answers)


def _add_sensors(path: Path, answers_file: Path | None) -> int:
    """Add to a configuration the sensors that publish but are not registered yet."""
    from alerts.errors import ConfigFaultsError, ConfigFileError
    from alerts.page.config_file import Edit
    from ingest.validation import fold_id
    from plumewatch.cli.setup.answers import Answers, read_answers
    from plumewatch.cli.setup.rooms import Place, find_room_ids
    from plumewatch.cli.setup.site_files import (
        build_entry,
        find_air_sensors,
        find_places,
        find_used,
    )
    from plumewatch.config.editor import ConfigEditor
    from plumewatch.config.settings import read_broker_settings

    site = Site.load(path)
    config = site.config
    answers = Answers(site=config.site)
    if answers_file:
        answers = read_answers(answers_file, {"site": config.site})
    used = "; of the answers, only listen_s, rooms and columns are used" if answers_file else ""
    echo(f"{path} exists: missing sensors are added, found through its [broker]{used}")
    editor = ConfigEditor(path, site.paths.config_history, lambda: None)
    version = editor.read()
    messages = _listen(read_broker_settings(config), answers.listen_s)
    asks = answers_file is None and can_ask()
    discovery = _discover(messages, config.get_zone(), answers.columns, version.whole, asks=asks)
    known = {fold_id(name) for sensor in config.sensor for name in (sensor.id, *sensor.aliases)}
    discovery.sensors = {
        name: sensor for name, sensor in discovery.sensors.items() if fold_id(name) not in known
    }
    sensors = find_air_sensors(discovery)
    places = find_places(sensors, answers.rooms)
    _print_found(discovery, places)
    if not places:
        echo(f"no sensor to add to {path} was found in {answers.listen_s:g} s")
        return DONE
    if asks:
        places = _ask_places(sensors)
    if len(config.sites) > 1:
        echo(f"complete these lines and add them to {path.with_name('sensors.csv')}:")
        echo("site,sensor,building,floor,room")
        for name, place in places.items():
            echo(",".join(("", name, *place)))
        return DONE
    rooms = {Place(room.building, room.floor, room.name): room.id for room in config.room}
    ids = find_room_ids(places.values(), rooms)
    edits = [
        Edit("room", None, {"id": ids[place], "name": place.room, **place.labels})
        for place in ids
        if place not in rooms
    ]
    edits += [
        Edit("sensor", None, build_entry(sensors[name], ids[place]))
        for name, place in places.items()
    ]
    routes, mappings = find_used(discovery, places)
    edits += [Edit("route", None, route) for route in routes]
    edits += [Edit("mapping", None, tomllib.loads(text)["mapping"][0]) for text in mappings]
    try:
        editor.commit(editor.prepare(version.hash, edits))
    except (ConfigFileError, ConfigFaultsError) as error:
        raise UsageError(str(error)) from error
    echo(f"added {pluralize(len(places), 'sensor')} to {path}; next: reload the service")
    return DONE


def _write(files: SiteFiles, folder: Path, influx: PreparedInflux | None) -> None:
    """Check that the files can be written, set up the InfluxDB, and write the files."""
    if influx:
        files.secret |= dict.fromkeys(influx.list_secret_files(), "")
    files.check(folder)
    if influx:
        files.secret |= influx.set_up()
    for path in files.write(folder):
        echo(f"wrote {path}")


def _check_folder(folder: Path) -> None:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UsageError(f"{folder}: cannot be written; choose another --folder")


def _build_broker(answers: Answers) -> BrokerSettings:
    import ssl

    from ingest.mqtt.connection import BrokerSettings
    from plumewatch.cli.setup.answers import parse_address
    from plumewatch.config.secrets import load_secret_at

    host, port, tls = parse_address(answers.broker)
    password = answers.password
    if answers.password_file is not None:
        password = load_secret_at("password", answers.password_file).reveal()
    try:
        context = ssl.create_default_context(cafile=answers.ca_file) if tls else None
    except OSError as error:
        allowed = f"a readable certificate file ({error})"
        fault = ConfigFault("ca_file", str(answers.ca_file), allowed)
        raise ConfigError([fault]) from error
    return BrokerSettings(
        host=host, port=port, username=answers.username, password=password, tls=context
    )


def _listen(settings: BrokerSettings, seconds: float) -> Sequence[Message]:
    import asyncio

    from plumewatch.cli.setup.discovery import listen

    with show_progress("listening", seconds) as update:

        def on_message(count: int, so_far: float) -> None:
            update(completed=so_far, description=f"listening, {count} messages")

        messages = asyncio.run(listen(settings, seconds, on_message))
    if seconds < _SLOWEST_S:
        sys.stderr.write(
            f"listened for {seconds:g} s: sensors that report less often may be missing; set a"
            " longer listen_s in a file for --answers (docs/install.md)\n"
        )
    return messages


def _discover(
    messages: Sequence[Message],
    zone: ZoneInfo,
    columns: Mapping[str, str],
    base: Mapping[str, Any] | None = None,
    *,
    asks: bool,
) -> Discovery:
    """Find the sensors in messages; ask for the names of columns until they fit or are skipped."""
    from plumewatch.cli.setup.discovery import discover

    columns = dict(columns)
    while True:
        found = discover(messages, zone, base, columns)
        asked: dict[str, str] = {}
        for topic, question in found.unlabeled.items() if asks else ():
            first, slash, rest = topic.partition("/")
            asked.setdefault(first + slash + _NUMBERED.sub("+", rest), question)
        shape = next((shape for shape in asked if columns.get(shape) != ""), None)
        if shape is None or len(columns) >= _QUESTIONS:
            return found
        echo(f"{shape}: {asked[shape]}")
        columns[shape] = ask_person("Columns or layout; empty to skip")


def _print_found(discovery: Discovery, places: Mapping[str, Place]) -> None:
    from ingest.mapping.examples import MEANING

    rows = []
    for name, place in places.items():
        sensor = discovery.sensors[name]
        interval = "once" if sensor.interval_s is None else f"{sensor.interval_s:.3g} s"
        rows.append((name, sensor.decoder, interval, ", ".join(sensor.lacks), *place))
    head = ("Sensor", "Read by", "Interval", "Lacks", "Building", "Floor", "Room")
    if rows:
        print_table(head, (({}, row) for row in rows))
    for mapping in discovery.base.get("mapping", ()):
        decoder = f"mapping:{mapping['name']}"
        if shared := [name for name in places if discovery.sensors[name].decoder == decoder]:
            fields = mapping.get("field", ())
            units = ", ".join(f"{one['quantity']} in {one['unit']}" for one in fields)
            echo(f"{list_some(shared)}: read with the units of {decoder}, which exists: {units}")
    _print_units(discovery, places)
    _print_misnamed(discovery)
    if vague := [name for name in places if "gas or PM1" in discovery.sensors[name].lacks]:
        echo(f"{MEANING['gas or PM1']}: {list_some(vague)} (docs/devices.md)")
    blind = [name for name in places if "particles" in discovery.sensors[name].lacks]
    alarming = [name for name in blind if discovery.sensors[name].has_own_alarm]
    if alarming:
        names = list_some(alarming)
        echo(f"no particles are read, so only the device's own vape alarm raises alerts: {names}")
    if blind := [name for name in blind if name not in alarming]:
        echo(
            f"cannot detect vaping, because no particles are read: {list_some(blind)}"
            " (docs/devices.md; if a device sends particles under another name, docs/mappings.md)"
        )
    for name in sorted(discovery.sensors.keys() - places.keys(), key=make_sort_key):
        topic = min(discovery.sensors[name].topics)
        echo(
            f"{name} ({topic}): skipped, because neither particles nor"
            " VOC are read; if it sends them"
            " under other names: plumewatch mapping suggest"
        )
    _print_unread(discovery, places)


def _print_unread(discovery: Discovery, places: Mapping[str, Place]) -> None:
    from ingest.topics import matches_topic
    from plumewatch.cli.setup.site_files import IGNORE, find_used

    used = find_used(discovery, places)[0]
    ignored = [route["topic"] for route in used if route["decoder"] == IGNORE]
    if ignored:
        echo(
            f"{list_some(ignored)}: not read, because no name is a known quantity; messages"
            f' are dropped ([[route]], decoder = "{IGNORE}"). If one measures air, replace its'
            " route by a mapping (docs/mappings.md)"
        )
    shapes: dict[str, list[str]] = {}
    for topic in sorted(discovery.unread):
        if not any(matches_topic(pattern, topic) for pattern in ignored):
            shapes.setdefault(_NUMBERED.sub("+", topic), []).append(topic)
    for shape, topics in [*shapes.items()][:_UNREAD_SHOWN]:
        alike = f"{shape} ({len(topics)} topics)" if len(topics) > 1 else topics[0]
        echo(f"nothing reads {alike}: {discovery.unread[topics[0]]}")
    if len(shapes) > _UNREAD_SHOWN:
        echo(f"and {len(shapes) - _UNREAD_SHOWN} more kinds of topics (docs/mappings.md)")


def _print_units(discovery: Discovery, places: Mapping[str, Place]) -> None:
    from detection.quantities import describe_unit
    from ingest.mapping.draft import USUAL_UNIT, find_guessed_units
    from plumewatch.cli.setup.site_files import find_used

    for name in places:
        sensor = discovery.sensors[name]
        if faulty := sorted(sensor.quantities - sensor.valid):
            echo(f"{name}: no valid value of {', '.join(faulty)}: check the device and its unit")
        for quantity in sensor.unlikely:
            echo(
                f"{name}: {describe_unit(quantity)}; name its unit in a mapping (docs/mappings.md)"
            )
        if sensor.clock:
            written = f'written as timezone = "{sensor.timezone}"'
            echo(f"{name}: {sensor.clock}; {written if sensor.timezone else _SET_CLOCK}")
    for text in find_used(discovery, places)[1]:
        topic = tomllib.loads(text)["mapping"][0]["topic"]
        usual = []
        for quantity, unit, why in find_guessed_units(text):
            if why.startswith(USUAL_UNIT):
                usual.append(f"{quantity} in {unit}")
            else:
                echo(f"{topic}: {quantity}: {why}; written as unit = {unit}")
        if usual:
            echo(
                f"{topic}: units are guessed, compare them with the data sheet: {', '.join(usual)}"
            )


def _print_misnamed(discovery: Discovery) -> None:
    for name in sorted(discovery.sensors, key=make_sort_key):
        if misnamed := discovery.sensors[name].misnamed:
            echo(f"{name}: {misnamed}")


def _ask_places(sensors: Mapping[str, DiscoveredSensor]) -> dict[str, Place]:
    from plumewatch.cli.setup.answers import ask_until_valid, parse_rooms
    from plumewatch.cli.setup.site_files import find_places

    return ask_until_valid(
        lambda: ask_person("Rooms to correct, sensor=Building/Floor/Room; ...; empty if none"),
        lambda text: find_places(sensors, parse_rooms(text)),
    )


def _ask_rest(answers: Answers, public_url: str) -> Answers:
    from plumewatch.cli.setup.answers import Answers, ask_until_valid, parse_staff

    staff = ask_until_valid(
        lambda: ask_person(
            "Who is notified, Name[, role] = Apprise address; ...; empty to add people later"
        ),
        parse_staff,
    )
    question = "Address at which phones reach the staff page; empty for none"
    public_url = ask_until_valid(
        lambda: ask_person(question, public_url),
        lambda text: Answers(site=answers.site, public_url=text).public_url,
    )
    test = ask_person("Send each of them a test notice now? (yes, no)", "yes") if staff else "no"
    more = {"staff": staff, "public_url": public_url, "test_notice": test.lower().startswith("y")}
    return answers.model_copy(update=more)


def _finish(folder: Path, answers: Answers) -> int:
    from plumewatch.cli.people import send_test_notices
    from plumewatch.cli.run import run_check
    from plumewatch.cli.setup.answers import parse_address
    from plumewatch.cli.setup.site_files import describe_next_steps

    path = folder / CONFIG.name
    config = Site.load(path).config
    if answers.test_notice and config.staff:
        send_test_notices(config)
    _, _, tls = parse_address(answers.broker)
    not_yet = ("broker", "broker certificate") if tls else ()  # its listener does not exist yet
    code = run_check(path, not_yet=not_yet)
    echo(describe_next_steps(folder, answers.broker_folder.rstrip("/"), tls=tls))
    return DONE if code == DONE else UNREACHABLE
