"""The files that `plumewatch setup` writes: configuration, secrets, accounts of the broker."""

from __future__ import annotations

import ipaddress
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ingest.mapping.draft import toml_value
from ingest.topics import TopicFilter
from plumewatch.cli.options import CONFIG
from plumewatch.cli.setup import broker_files
from plumewatch.cli.setup.answers import address
from plumewatch.cli.setup.rooms import distinct, guessed, id_of, place_of
from plumewatch.config.load import parse
from storage.registry import natural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plumewatch.cli.setup.answers import Answers
    from plumewatch.cli.setup.discovery import DiscoveredSensor, Discovery
    from plumewatch.cli.setup.influx import PreparedInflux
    from plumewatch.cli.setup.rooms import Place

STARTER: Final = Path(__file__).with_name("starter.toml").read_text(encoding="utf-8")
"""The commented configuration that `plumewatch init` writes; valid as it is."""
_HEADING: Final = (
    "# Written by `plumewatch setup`; all keys: `plumewatch init` writes them with comments."
)
_AIR: Final = ("pm", "n0", "n1", "n2", "n5", "tvoc", "voc", "vape")
_DAY_S: Final = 86_400
_LEAST_QUEUE: Final = 100_000
_MOST_QUEUE: Final = 20_000_000
"""At 512 bytes a message, 10 GB of the broker's memory and disk."""
_USUAL_INTERVAL_S: Final = 60.0


def air_sensors(discovery: Discovery) -> dict[str, DiscoveredSensor]:
    """Return the sensors that measure something in which vaping shows or report it, by id."""
    return {
        name: sensor
        for name, sensor in sorted(discovery.sensors.items(), key=lambda found: natural(found[0]))
        if sensor.has_own_alarm or any(quantity.startswith(_AIR) for quantity in sensor.quantities)
    }


def rooms_for(
    sensors: Mapping[str, DiscoveredSensor], given: Mapping[str, str]
) -> dict[str, Place]:
    """Return where each sensor hangs, as given or guessed; `ValueError` for an unknown one."""
    unknown = sorted(given.keys() - sensors.keys())
    if unknown:
        names = ", ".join(sensors) or "none"
        raise ValueError(f"no sensor {unknown[0]!r} was found; there are: {names}")
    return {name: place_of(given[name]) if name in given else guessed(name) for name in sensors}


@dataclass(slots=True)
class SiteFiles:
    """Files by their path below the folder; those of `secret` are for their owner alone."""

    plain: dict[str, str] = field(default_factory=dict)
    secret: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path, config: str = CONFIG.name) -> list[Path]:
        """Write all, the configuration last; return the paths.

        Files that an attempt left without reaching the configuration are replaced.
        """
        _refuse_existing(folder / config)
        paths = {folder / name: (text, 0o600) for name, text in self.secret.items()}
        paths |= {folder / name: (text, 0o644) for name, text in self.plain.items()}
        for path, (text, mode) in paths.items():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_new(path, text, mode)
        return list(paths)

    def check(self, folder: Path) -> None:
        """Check what will be written before anything is; raises `ConfigError` or `OSError`."""
        _refuse_existing(folder / CONFIG.name)
        parse(tomllib.loads(self.plain[CONFIG.name]), base=folder)


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise FileExistsError(f"{path}: exists already; choose another name")


def _write_new(path: Path, text: str, mode: int) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)


def written(
    answers: Answers,
    discovery: Discovery,
    places: Mapping[str, Place],
    password: str,
    influx: PreparedInflux | None,
) -> SiteFiles:
    """Make all files of a site."""
    files = SiteFiles()
    service = answers.username or broker_files.SERVICE
    sensors = [discovery.sensors[name] for name in places]
    _, port, tls = address(answers.broker)
    rate = sum(sensor.messages_per_report / _interval_s(sensor) for sensor in sensors)
    queued = min(max(round(rate * _DAY_S * 1.5), _LEAST_QUEUE), _MOST_QUEUE)
    accounts = broker_files.accounts_of(places, service)
    files.secret["secrets/broker-password"] = f"{password}\n"
    lines = [f"{service}:{broker_files.hashed(password)}"]
    rows = ["sensor,account,password"]
    for sensor, account in sorted(accounts.items(), key=lambda one: natural(one[0])):
        its = broker_files.new_password()
        lines.append(f"{account}:{broker_files.hashed(its)}")
        rows.append(f"{sensor},{account},{its}")
    files.secret["broker/plumewatch-passwords"] = "\n".join(lines) + "\n"
    files.secret["broker/plumewatch-acl"] = broker_files.acl(sensors, accounts, service)
    files.secret["secrets/device-passwords.csv"] = "\n".join(rows) + "\n"
    files.plain["broker/mosquitto.conf"] = broker_files.mosquitto_conf(
        answers.broker_folder.rstrip("/"), port, queued, tls=tls
    )
    parts = [_head(answers, service, queued)]
    if influx:
        parts.append(_block("[timeseries]", **influx.settings()))
    rooms = distinct((place, id_of(*place)) for place in dict.fromkeys(places.values()))
    parts += [
        _block("[[room]]", id=room, name=place.room, building=place.building, floor=place.floor)
        for place, room in rooms.items()
    ]
    parts += [_sensor(discovery.sensors[name], rooms[place]) for name, place in places.items()]
    parts += _staff(answers, files)
    topics = set().union(*(sensor.topics for sensor in sensors))
    parts += [_block("[[route]]", **r) for r in discovery.routes if r["topic"] in topics]
    for text in discovery.mappings:
        reads = TopicFilter(tomllib.loads(text)["mapping"][0]["topic"])
        shown = text.partition("\n# Each sensor then gets a room:")[0]
        parts += [shown] if any(map(reads.match, topics)) else []
    files.plain[CONFIG.name] = "\n".join(parts)
    return files


def _head(answers: Answers, service: str, queued: int) -> str:
    host, port, tls = address(answers.broker)
    is_private = any(_is_private(person.url) for person in answers.staff)
    return "\n".join(
        (
            _block(_HEADING, site=answers.site, timezone=answers.timezone),
            _block(
                "[broker]",
                host=host,
                port=broker_files.service_port(port, tls=tls),
                username=service,
                password_file="secrets/broker-password",  # noqa: S106 - a path
                max_queued_messages=queued,
                tls=tls or None,
                ca_file=answers.ca_file and str(answers.ca_file),
            ),
            _block("[web]", public_url=answers.public_url) if answers.public_url else "",
            _block("[alerts]", allow_private_targets=True) if is_private else "",
        )
    )


def _block(heading: str, **values: object) -> str:
    given = {key: value for key, value in values.items() if value not in (None, "")}
    return "\n".join((heading, *(f"{key} = {toml_value(v)}" for key, v in given.items()), ""))


def _is_private(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _sensor(sensor: DiscoveredSensor, room: str) -> str:
    carried = ", ".join(sorted(sensor.quantities)) or "its own vape alarm"
    heading = f"[[sensor]]  # reads as {sensor.decoder}: {carried}"
    if not sensor.interval_s:
        heading += "; only one reading received: its true interval is not known"
    interval = float(f"{_interval_s(sensor):.3g}")
    return _block(heading, id=sensor.id, room=room, model=sensor.model, interval_s=interval)


def _interval_s(sensor: DiscoveredSensor) -> float:
    return min(max(sensor.interval_s or _USUAL_INTERVAL_S, 0.5), 3600.0)


def _staff(answers: Answers, files: SiteFiles) -> Iterator[str]:
    keys = distinct((number, id_of(person.name)) for number, person in enumerate(answers.staff))
    for key, person in zip(keys.values(), answers.staff, strict=True):
        target = {"url_file": person.url_file and str(person.url_file), "url_env": person.url_env}
        if person.url:
            target = {"url_file": f"secrets/{key}-notify"}
            files.secret[f"secrets/{key}-notify"] = f"{person.url}\n"
        name, value = next(((k, v) for k, v in target.items() if v), ("", ""))
        notify = f"notify = [{{ {name} = {toml_value(value)} }}]" if name else "notify = []"
        yield _block("[[staff]]", id=key, name=person.name, role=person.role) + notify + "\n"


def next_steps(folder: Path, broker: str, *, tls: bool) -> str:
    """Return what is left to do by hand, with the folder of the site and of the broker."""
    first = (
        f"""put the certfile and keyfile
that it has had so far into {folder}/broker/mosquitto.conf first. Then only the
accounts written here are known; other users of it need theirs."""
        if tls
        else """it then listens on
that machine alone, and only the accounts written here are known. Sensors on the network
need its TLS listener first (docs/install.md); other users of it, their accounts."""
    )
    return f"""next, on the machine of the broker. This replaces its configuration: {first}
  cp -a {broker}/mosquitto.conf {broker}/mosquitto.conf.before
  install -o mosquitto -m 600 {folder}/broker/plumewatch-* {broker}/
  install -m 644 {folder}/broker/mosquitto.conf {broker}/mosquitto.conf
  systemctl restart mosquitto
then give every device its account ({folder}/secrets/device-passwords.csv), and
  plumewatch check --config {folder}/plumewatch.toml
  plumewatch run --config {folder}/plumewatch.toml"""
