"""`plumewatch setup`: find the sensors on a broker, and write or extend a site's configuration."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tomllib
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from alerts.access.passwords import generate_password
from alerts.errors import ConfigFaultsError, ConfigFileError
from alerts.page.config_file import Edit
from detection.quantities import describe_unit
from ingest.errors import BrokerError, RefusedError
from ingest.mapping.draft import USUAL_UNIT, find_guessed_units, find_left_out
from ingest.mapping.examples import MEANING
from ingest.mqtt.connection import BrokerSettings
from ingest.topics import matches_topic
from ingest.validation import fold_id
from language.plain_text import pluralize
from plumewatch.check.machine import OFF_S, SET_CLOCK, describe_offset
from plumewatch.cli.options import CONFIG, DONE, UNREACHABLE, Site
from plumewatch.cli.people import send_test_notices
from plumewatch.cli.printer import ask_person, can_ask, echo, print_table, show_progress
from plumewatch.cli.run import run_check
from plumewatch.cli.setup import site_files
from plumewatch.cli.setup.answers import (
    Answers,
    ask,
    ask_until_valid,
    describe,
    parse_address,
    parse_rooms,
    parse_staff,
    read_answers,
)
from plumewatch.cli.setup.broker_files import is_this_machine
from plumewatch.cli.setup.discovery import check_connection, discover, listen
from plumewatch.cli.setup.influx import READER, TOKEN, PreparedInflux, ask_influx
from plumewatch.cli.setup.rooms import Place, find_room_ids
from plumewatch.config.editor import ConfigEditor
from plumewatch.config.faults import list_some
from plumewatch.config.secrets import load_secret_at
from plumewatch.config.settings import load_certificates, read_broker_settings
from plumewatch.config.sites import read_toml
from plumewatch.errors import UnreachableError, UsageError
from storage.registry import make_sort_key

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from ingest.validation import Message
    from plumewatch.cli.setup.discovery import Discovery


_UNREAD_SHOWN: Final = 30
_NUMBERED: Final = re.compile(r"[^/]*\d[^/]*(?=/)")
"""Matches topic levels with a digit, which usually differ between devices of the same kind."""
_QUESTIONS: Final = 8
"""After this many kinds of unlabeled topics, `setup` lists the others without asking."""
_SLOWEST_S: Final = 120.0
"""If `setup` listens for less time, a message warns that slow sensors may be missing."""
_GIVEN: Final = re.compile(
    r"""^(?:# )?(site|timezone|data_dir|public_url) = ("(?:\\.|[^"\\\n])*"|'[^'\n]*') *""",
    re.MULTILINE,
)
"""Matches the settings that may differ in a starter configuration."""


def set_up(folder: Path, answers_file: Path | None) -> int:
    """Set up a site in a folder, or add sensors to its configuration; return the exit code."""
    path = folder / CONFIG.name
    try:
        if path.exists() and not _is_starter(path):
            return _add_sensors(path, answers_file)
        return _set_up(folder, answers_file)
    except (ValidationError, ValueError) as error:
        raise UsageError(describe(error)) from error
    except BrokerError as error:
        raise UnreachableError(str(error)) from error


def _is_starter(path: Path) -> bool:
    """Return whether a configuration is an unedited starter of `plumewatch init`."""
    found = path.read_bytes().decode("utf-8", "replace")
    return _GIVEN.sub(r"\1", found) == _GIVEN.sub(r"\1", site_files.STARTER)


def _read_given(path: Path) -> dict[str, str]:
    """Return the school, time zone and address that were given to `plumewatch init`."""
    tree, sample = read_toml(path), tomllib.loads(site_files.STARTER)
    given = {key: tree[key] for key in ("site", "timezone") if tree[key] != sample[key]}
    return given | {"public_url": tree["web"].get("public_url", "")}


def _set_up(folder: Path, answers_file: Path | None) -> int:
    path = folder / CONFIG.name
    site_files.refuse_existing(folder)
    given = _read_given(path) if path.exists() else {}
    if answers_file is not None:
        answers = read_answers(answers_file, given)
        influx = PreparedInflux(answers.influx) if answers.influx else None
    elif can_ask():
        answers = ask(lambda found: asyncio.run(check_connection(_build_broker(found))), given)
        influx = ask_influx()
    else:
        raise UsageError("without a terminal, pass --answers FILE")
    settings = _build_broker(answers)
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UsageError(f"{folder}: is not writable; choose another --folder")
    data_dir = read_toml(path).get("data_dir", "") if path.exists() else ""
    if influx:
        site_files.refuse_existing(folder, (TOKEN, READER))
    discovery, places = _find_sensors(settings, answers, asks=answers_file is None)
    if not places:
        raise RefusedError(
            "no sensor that measures particles or VOC was found; configure sensors to publish to"
            f" {answers.broker} (docs/devices.md), then run plumewatch setup again"
        )
    if answers_file is None:
        answers = _ask_rest(answers, given.get("public_url", ""))
    password = settings.password or generate_password()
    files = site_files.build_files(answers, discovery, places, password, influx, data_dir)
    files.check(folder)
    if influx:
        files.secret |= influx.set_up()
    for written in files.write(folder):
        echo(f"wrote {written}")
    return _finish(path, answers)


def _add_sensors(path: Path, answers_file: Path | None) -> int:
    """Add to a configuration the sensors that publish but are not registered yet."""
    site = Site.load(path)
    config = site.config
    answers = Answers(site=config.site)
    if answers_file:
        answers = read_answers(answers_file, {"site": config.site})
    used = "; of the answers, only listen_s, rooms and columns are used" if answers_file else ""
    echo(f"{path} exists: looking on its [broker] for sensors to add{used}")
    editor = ConfigEditor(path, site.paths.config_history, lambda: None)
    version = editor.read()
    discovery, places = _find_sensors(
        read_broker_settings(config),
        answers.model_copy(update={"timezone": config.get_zone().key}),
        version.whole,
        {fold_id(name) for sensor in config.sensor for name in (sensor.id, *sensor.aliases)},
        asks=answers_file is None and can_ask(),
    )
    if not places:
        echo(f"no sensor to add to {path} was found in {answers.listen_s:g} s")
        return DONE
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
        Edit("sensor", None, site_files.build_entry(discovery.sensors[name], ids[place]))
        for name, place in places.items()
    ]
    routes, mappings = site_files.find_used(discovery, places)
    edits += [Edit("route", None, route) for route in routes]
    edits += [Edit("mapping", None, tomllib.loads(text)["mapping"][0]) for text in mappings]
    try:
        editor.commit(editor.prepare(version.hash, edits))
    except (ConfigFileError, ConfigFaultsError) as error:
        raise UsageError(str(error)) from error
    echo(f"added {pluralize(len(places), 'sensor')} to {path}; next: reload the service")
    return DONE


def _find_sensors(
    settings: BrokerSettings,
    answers: Answers,
    base: Mapping[str, Any] | None = None,
    known: Collection[str] = (),
    *,
    asks: bool,
) -> tuple[Discovery, dict[str, Place]]:
    """Listen to the broker, print what was found, and return the places of the air sensors.

    `base`: the existing configuration. `known`: folded names of the sensors in it.
    """
    messages = _listen(settings, answers.listen_s)
    discovery = _discover(messages, ZoneInfo(answers.timezone), answers.columns, base, asks=asks)
    for name in [name for name in discovery.sensors if fold_id(name) in known]:
        del discovery.sensors[name]
    sensors = site_files.find_air_sensors(discovery)
    places = site_files.find_places(sensors, answers.rooms)
    _print_found(discovery, places)
    for name in sorted(discovery.sensors, key=make_sort_key):
        if misnamed := discovery.sensors[name].misnamed:
            echo(f"{name}: {misnamed}")
    if places and asks:
        places = ask_until_valid(
            lambda: ask_person("Rooms to correct, sensor=Building/Floor/Room; ...; empty if none"),
            lambda text: site_files.find_places(sensors, parse_rooms(text)),
        )
    return discovery, places


def _build_broker(answers: Answers) -> BrokerSettings:
    host, port, tls = parse_address(answers.broker)
    password = answers.password
    if answers.password_file is not None:
        password = load_secret_at("password", answers.password_file).reveal()
    context = load_certificates("ca_file", answers.ca_file) if tls else None
    return BrokerSettings(
        host=host, port=port, username=answers.username, password=password, tls=context
    )


def _listen(settings: BrokerSettings, seconds: float) -> Sequence[Message]:
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
    rows = []
    for name, place in places.items():
        sensor = discovery.sensors[name]
        interval = "once" if sensor.interval_s is None else f"{sensor.interval_s:.3g} s"
        rows.append((name, sensor.decoder, interval, ", ".join(sensor.missing_data), *place))
    head = ("Sensor", "Read by", "Interval", "Lacks", "Building", "Floor", "Room")
    if rows:
        print_table(head, (({}, row) for row in rows))
    for mapping in discovery.base.get("mapping", ()):
        decoder = f"mapping:{mapping['name']}"
        if shared := [name for name in places if discovery.sensors[name].decoder == decoder]:
            fields = mapping.get("field", ())
            units = ", ".join(f"{one['quantity']} in {one['unit']}" for one in fields)
            echo(f"{list_some(shared)}: read by the existing {decoder}, with its units: {units}")
    if discovery.shared:
        echo(
            f"{list_some(sorted(discovery.shared))}: these seem to be several devices, but would"
            " be read as one sensor: add a mapping that names sensors by more topic levels"
            " (docs/mappings.md)"
        )
    _print_units(discovery, places)
    if vague := [name for name in places if "gas or PM1" in discovery.sensors[name].missing_data]:
        echo(f"{MEANING['gas or PM1']}: {list_some(vague)} (docs/devices.md)")
    blind = [name for name in places if "particles" in discovery.sensors[name].missing_data]
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
            f"{name} ({topic}): skipped, because it has neither particles nor VOC;"
            " if it sends them under other names, run plumewatch mapping suggest"
        )
    _print_unread(discovery, places)


def _print_unread(discovery: Discovery, places: Mapping[str, Place]) -> None:
    used = site_files.find_used(discovery, places)[0]
    ignored = [route["topic"] for route in used if route["decoder"] == site_files.IGNORE]
    if ignored:
        echo(
            f"{list_some(ignored)}: not read, because they contain no known quantity; messages"
            f' are dropped ([[route]], decoder = "{site_files.IGNORE}"). If one measures air,'
            " replace its route with a mapping (docs/mappings.md)"
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
    for name in places:
        sensor = discovery.sensors[name]
        if faulty := sorted(sensor.quantities - sensor.valid):
            echo(f"{name}: no valid value of {', '.join(faulty)}: check the device and its unit")
        for quantity in sensor.unlikely:
            echo(
                f"{name}: {describe_unit(quantity)}; name its unit in a mapping (docs/mappings.md)"
            )
        if abs(sensor.clock_offset_s) > OFF_S:
            echo(f"{name}: stamps are {describe_offset(sensor.clock_offset_s)}; {SET_CLOCK}")
    for text in site_files.find_used(discovery, places)[1]:
        _print_guesses(text)


def _print_guesses(text: str) -> None:
    """Print which units a mapping guesses, and what it leaves out."""
    topic = tomllib.loads(text)["mapping"][0]["topic"]
    usual = []
    for quantity, unit, why in find_guessed_units(text):
        if why.startswith(USUAL_UNIT):
            usual.append(f"{quantity} in {unit}")
        else:
            echo(f"{topic}: {quantity}: {why}; written as unit = {unit}")
    if usual:
        echo(f"{topic}: units are guessed; compare them with the data sheet: {', '.join(usual)}")
    left_out, voc = find_left_out(text)
    if voc:
        echo(
            f"{topic}: not read, because VOC has no unit there: {list_some(voc)}; add a"
            " [[mapping.field]] with the unit from the data sheet (docs/mappings.md)"
        )
    if left_out:
        echo(f"{topic}: left out, because no name is a known quantity: {list_some(left_out)}")


def _ask_rest(answers: Answers, public_url: str) -> Answers:
    who = "Who is notified, Name[, role] = Apprise address; ...; empty to add people later"
    staff = ask_until_valid(lambda: ask_person(who), parse_staff)
    question = "Address at which phones reach the staff page; empty for none"
    public_url = ask_until_valid(
        lambda: ask_person(question, public_url),
        lambda text: Answers(site=answers.site, public_url=text).public_url,
    )
    test = ask_person("Send each of them a test notice now? (yes, no)", "yes") if staff else "no"
    more = {"staff": staff, "public_url": public_url, "test_notice": test.lower().startswith("y")}
    return answers.model_copy(update=more)


def _finish(path: Path, answers: Answers) -> int:
    config = Site.load(path).config
    if answers.test_notice and config.staff:
        send_test_notices(config)
    host, _, tls = parse_address(answers.broker)
    not_yet = ("broker", "broker certificate") if tls else ()  # its listener does not exist yet
    code = run_check(path, not_yet=not_yet)
    needs_firewall = tls and not is_this_machine(host)
    broker = answers.broker_folder.rstrip("/")
    echo(
        site_files.describe_next_steps(path.parent, broker, tls=tls, needs_firewall=needs_firewall)
    )
    return DONE if code == DONE else UNREACHABLE
