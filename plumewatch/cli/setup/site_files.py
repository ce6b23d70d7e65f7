"""The files that `plumewatch setup` writes: configuration, secrets, broker accounts."""

from __future__ import annotations

import ipaddress
import os
import stat
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from alerts.access.passwords import generate_password
from ingest.mapping.draft import format_toml
from ingest.topics import TopicFilter, matches_topic
from language.plain_text import make_id
from plumewatch.cli.options import CONFIG
from plumewatch.cli.setup import broker_files
from plumewatch.cli.setup.answers import parse_address
from plumewatch.cli.setup.rooms import find_room_ids, guess_place, parse_place
from plumewatch.config.faults import list_known
from plumewatch.config.load import parse
from plumewatch.errors import UsageError
from storage.audit import PROGRAM_IDS
from storage.registry import make_sort_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from plumewatch.cli.setup.answers import Answers
    from plumewatch.cli.setup.discovery import DiscoveredSensor, Discovery
    from plumewatch.cli.setup.influx import PreparedInflux
    from plumewatch.cli.setup.rooms import Place

STARTER: Final = Path(__file__).with_name("starter.toml").read_text(encoding="utf-8")
"""The commented configuration that `plumewatch init` writes; valid as it is."""
DISTRICT: Final = Path(__file__).with_name("district.toml").read_text(encoding="utf-8")
"""The same for a district, with its schools in CSV tables."""
OF_EVERY_SITE: Final = (
    *("secrets/broker-password", "secrets/device-passwords.csv"),
    *("broker/plumewatch-passwords", "broker/plumewatch-acl", "broker/mosquitto.conf"),
)
"""Files that every site gets in addition to its configuration."""
IGNORE: Final = "ignore"
_HEADING: Final = "# Written by `plumewatch setup`. docs/settings.md lists every key."
_AIR: Final = ("pm", "n0", "n1", "n2", "n5", "tvoc", "voc", "vape")
_DAY_S: Final = 86_400
_MIN_QUEUE: Final = 100_000
_MAX_QUEUE: Final = 20_000_000
"""Longest queue: up to 10 GB of the broker's memory and disk, at 512 bytes per message."""
_USUAL_INTERVAL_S: Final = 60.0


def find_air_sensors(discovery: Discovery) -> dict[str, DiscoveredSensor]:
    """Return the sensors that measure particles or VOC, or detect vaping themselves, by id."""
    return {
        name: sensor
        for name, sensor in sorted(
            discovery.sensors.items(), key=lambda found: make_sort_key(found[0])
        )
        if sensor.has_own_alarm or any(quantity.startswith(_AIR) for quantity in sensor.quantities)
    }


def find_places(
    sensors: Mapping[str, DiscoveredSensor], given: Mapping[str, str]
) -> dict[str, Place]:
    """Return each sensor's place, given or guessed; raises `ValueError` for unknown sensors."""
    unknown = sorted(given.keys() - sensors.keys())
    if unknown:
        there = list_known(unknown[0], sensors)
        raise ValueError(f"no sensor {unknown[0]!r} was found; there are: {there}")
    return {
        name: parse_place(given[name]) if name in given else guess_place(name) for name in sensors
    }


@dataclass(slots=True)
class SiteFiles:
    """Texts by path below the site's folder.

    `secret`: only the owner and the service can read them. `private`: only the owner.
    """

    plain: dict[str, str] = field(default_factory=dict)
    secret: dict[str, str] = field(default_factory=dict)
    private: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> list[Path]:
        """Write all files, the configuration last, and return their paths.

        Files are first written under other names, so that a failed attempt leaves none behind.
        """
        kinds = ((self.private, 0o600), (self.secret, 0), (self.plain, 0o644))
        paths = {
            folder / name: (text, mode) for texts, mode in kinds for name, text in texts.items()
        }
        for path, (text, mode) in paths.items():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = path.with_name(f"{path.name}.setup")
            _write_new(new, text, mode or _find_secret_mode(path.parent))
        for path in paths:
            path.with_name(f"{path.name}.setup").replace(path)
        return list(paths)

    def check(self, folder: Path) -> None:
        """Check the configuration before anything is written; raises `ConfigError`."""
        parse(tomllib.loads(self.plain[CONFIG.name]), base=folder)
        refuse_existing(folder, [*self.private, *self.secret, *self.plain])


def refuse_existing(folder: Path, names: Iterable[str] = OF_EVERY_SITE) -> None:
    """Raise `UsageError` if setup would replace existing files other than the configuration."""
    there = [name for name in names if name != CONFIG.name and (folder / name).exists()]
    if there:
        raise UsageError(
            f"{', '.join(there)} in {folder}: setup writes these files but never overwrites them;"
            " move them away, or choose another --folder"
        )


@contextmanager
def create_secret_files(paths: Collection[Path]) -> Iterator[None]:
    """Create secret files, and remove them if the body fails; raises `UsageError`."""
    made: list[Path] = []
    try:
        for path in paths:
            try:
                mode = _find_secret_mode(path.parent)
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
            except OSError as error:
                reason = f"{path}: {error.strerror}; the secret needs a new file"
                raise UsageError(reason) from error
            made.append(path)
        yield
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise


def _find_secret_mode(folder: Path) -> int:
    """Return the mode of a secret in a folder; members of the group can read it in a setgid one.

    `deploy/install.sh` makes such folders, so that the service can read what root writes there.
    """
    return 0o640 if folder.stat().st_mode & stat.S_ISGID else 0o600


def _write_new(path: Path, text: str, mode: int) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)


def build_files(
    answers: Answers,
    discovery: Discovery,
    places: Mapping[str, Place],
    password: str,
    influx: PreparedInflux | None,
    data_dir: str,
) -> SiteFiles:
    """Build all files of a site."""
    files = SiteFiles()
    service = answers.username or broker_files.SERVICE
    sensors = [discovery.sensors[name] for name in places]
    host, port, tls = parse_address(answers.broker)
    rate = sum(sensor.messages_per_report / _choose_interval_s(sensor) for sensor in sensors)
    queued = min(max(round(rate * _DAY_S * 1.5), _MIN_QUEUE), _MAX_QUEUE)
    accounts = broker_files.name_accounts(places, service)
    files.secret["secrets/broker-password"] = f"{password}\n"
    lines = [f"{service}:{broker_files.hash_password(password)}"]
    rows = ["sensor,account,password"]
    for name, account in sorted(accounts.items(), key=lambda one: make_sort_key(one[0])):
        its = generate_password()
        lines.append(f"{account}:{broker_files.hash_password(its)}")
        rows.append(f"{name},{account},{its}")
    files.private["broker/plumewatch-passwords"] = "\n".join(lines) + "\n"
    files.private["broker/plumewatch-acl"] = broker_files.build_acl(sensors, accounts, service)
    files.private["secrets/device-passwords.csv"] = "\n".join(rows) + "\n"
    folder, local = answers.broker_folder.rstrip("/"), broker_files.is_this_machine(host)
    conf = broker_files.build_mosquitto_conf(folder, port, queued, tls=tls, local=local)
    files.plain["broker/mosquitto.conf"] = conf
    parts = [_build_head(answers, service, queued, data_dir)]
    if influx:
        parts.append(format_block("[timeseries]", **influx.build_settings()))
    rooms = find_room_ids(places.values(), {})
    parts += [
        format_block(
            "[[room]]", id=room, name=place.room, building=place.building, floor=place.floor
        )
        for place, room in rooms.items()
    ]
    for sensor in sensors:
        carried = ", ".join(sorted(sensor.quantities)) or "its own vape alarm"
        heading = f"[[sensor]]  # reads as {sensor.decoder}: {carried}"
        if not sensor.interval_s:
            heading += "; only one reading was received, so the actual interval is not known"
        parts.append(format_block(heading, **build_entry(sensor, rooms[places[sensor.id]])))
    parts += _build_staff(answers, files)
    used_routes, used_mappings = find_used(discovery, places)
    parts += [format_block("[[route]]", **route) for route in used_routes]
    parts += [text.partition("\n# Each sensor then gets a room:")[0] for text in used_mappings]
    files.plain[CONFIG.name] = "\n".join(parts)
    return files


def find_used(
    discovery: Discovery, sensors: Iterable[str]
) -> tuple[list[dict[str, str]], list[str]]:
    """Return the routes and the mappings that these sensors need.

    Messages that match a mapping's filter but that it can't read, such as a door contact's, get a
    route to `ignore`.
    """
    topics = set().union(*(discovery.sensors[name].topics for name in sensors))
    filters = {text: tomllib.loads(text)["mapping"][0]["topic"] for text in discovery.mappings}
    mappings = [
        text
        for text, form in filters.items()
        if any(TopicFilter(form).match(topic) is not None for topic in topics)
    ]
    routes = [route for route in discovery.routes if route["topic"] in topics]
    ignored = sorted(
        {
            _generalize(topic, filters[text])
            for topic in discovery.unread
            for text in mappings
            if TopicFilter(filters[text]).match(topic) is not None
            and not any(matches_topic(form, topic) for form in discovery.columns)
        }
    )
    return [*routes, *({"topic": t, "decoder": IGNORE} for t in ignored)], mappings


def _generalize(topic: str, form: str) -> str:
    """Return a topic as a filter, with wildcards for the levels that name the sensor in `form`."""
    levels = zip(topic.split("/"), form.split("/"), strict=True)
    return "/".join(
        "+" if by.startswith("{") and by != "{metric}" else level for level, by in levels
    )


def build_entry(sensor: DiscoveredSensor, room: str) -> dict[str, object]:
    """Return the `[[sensor]]` entry of a sensor."""
    interval = float(f"{_choose_interval_s(sensor):.3g}")
    return {"id": sensor.id, "room": room, "interval_s": interval}


def _build_head(answers: Answers, service: str, queued: int, data_dir: str) -> str:
    host, port, tls = parse_address(answers.broker)
    own_port = broker_files.choose_service_port(port, tls=tls)
    uses_tls = tls
    if tls and broker_files.is_this_machine(host):
        host, uses_tls = "127.0.0.1", False
    is_private = any(_is_private(person.url) for person in answers.staff)
    return "\n".join(
        (
            format_block(_HEADING, site=answers.site, timezone=answers.timezone, data_dir=data_dir),
            format_block(
                "[broker]",
                host=host,
                port=own_port,
                username=service,
                password_file="secrets/broker-password",  # noqa: S106 - a path
                max_queued_messages=queued,
                tls=uses_tls or None,
                ca_file=str(answers.ca_file) if uses_tls and answers.ca_file else None,
            ),
            format_block("[web]", public_url=answers.public_url) if answers.public_url else "",
            format_block("[alerts]", allow_private_targets=True) if is_private else "",
        )
    )


def format_block(heading: str, **values: object) -> str:
    """Format a table of the configuration, without values that are empty."""
    given = {key: value for key, value in values.items() if value not in (None, "")}
    return "\n".join((heading, *(f"{key} = {format_toml(v)}" for key, v in given.items()), ""))


def _is_private(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _choose_interval_s(sensor: DiscoveredSensor) -> float:
    return min(max(sensor.interval_s or _USUAL_INTERVAL_S, 0.5), 3600.0)


def _build_staff(answers: Answers, files: SiteFiles) -> Iterator[str]:
    keys = set(PROGRAM_IDS)
    for person in answers.staff:
        key = make_id([person.name], keys, "person")
        keys.add(key)
        file = str(person.url_file or "")
        if person.url:
            file = f"secrets/{key}-notify"
            files.secret[file] = f"{person.url}\n"
        notify = f"notify = [{{ url_file = {format_toml(file)} }}]" if file else "notify = []"
        yield format_block("[[staff]]", id=key, name=person.name, role=person.role) + notify + "\n"


def describe_next_steps(folder: Path, broker: str, *, tls: bool, needs_firewall: bool) -> str:
    """Describe the remaining manual steps; `broker` is the folder of the broker's configuration."""
    firewall = (
        "\nBlock the service's listener for all other machines: mosquitto.conf has the command."
    )
    first = (
        f"""first enter the
certfile and keyfile that it has used so far into {folder}/broker/mosquitto.conf. From then on
only the accounts written here are known; other users of the broker need their own.\
{firewall * needs_firewall}"""
        if tls
        else """from then on
it listens only on that machine, and only the accounts written here are known. Sensors on the
network need its TLS listener (docs/install.md), and other users of the broker need accounts."""
    )
    return f"""next, on the broker's machine. This replaces the broker's configuration: {first}
  cp -a {broker}/mosquitto.conf {broker}/mosquitto.conf.before
  install -o mosquitto -m 600 {folder}/broker/plumewatch-* {broker}/
  install -m 644 {folder}/broker/mosquitto.conf {broker}/mosquitto.conf
  systemctl restart mosquitto
then give every device its account ({folder}/secrets/device-passwords.csv), and
  plumewatch check --config {folder}/plumewatch.toml
  plumewatch run --config {folder}/plumewatch.toml"""
