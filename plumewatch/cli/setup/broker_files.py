"""Accounts at the broker: a password and the right to write its own topics for every device.

Passwords are hashed as `mosquitto_passwd` of Mosquitto 2 does it. They are random with 98 bits, so
that few iterations are enough and a device that connects costs little.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alerts.access.passwords import generated
from plumewatch.cli.setup.discovery import named_level
from plumewatch.cli.setup.rooms import distinct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plumewatch.cli.setup.discovery import DiscoveredSensor

SERVICE: Final = "plumewatch"
_ITERATIONS: Final = 101
_SALT_BYTES: Final = 12
_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_.-]")

_BYTES_A_MESSAGE: Final = 512
_LAST_PORT: Final = 65_535
_MOSQUITTO_CONF: Final = Path(__file__).with_name("mosquitto.conf").read_text(encoding="utf-8")

new_password = generated


def hashed(password: str, salt: bytes | None = None) -> str:
    """Hash a password for Mosquitto's password_file.

    >>> hashed("secret", base64.b64decode("NimVquqMfJ+gpmO6"))[:40]
    '$7$101$NimVquqMfJ+gpmO6$hGqUuspRPtHUxLC5'
    """
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    salt_text, made_text = (base64.b64encode(part).decode() for part in (salt, made))
    return f"$7${_ITERATIONS}${salt_text}${made_text}"


def accounts_of(sensors: Iterable[str], service: str) -> dict[str, str]:
    """Name the account of every device; what a broker gives a meaning becomes a hyphen.

    No two have the same, and none has the service's. A device whose id can stay as it is keeps it:
    its account is what lets it write under that id.

    >>> accounts_of(["1C:82:59", "1C-82-59", "plumewatch"], "plumewatch")
    {'1C-82-59': '1C-82-59', 'plumewatch': 'plumewatch-2', '1C:82:59': '1C-82-59-2'}
    """
    plain_first = sorted(sensors, key=lambda sensor: bool(_FORBIDDEN.search(sensor)))
    return distinct(((one, _FORBIDDEN.sub("-", one)[:64]) for one in plain_first), [service])


def write_filters(sensor: str, topics: Iterable[str], others: Iterable[str] = ()) -> list[str]:
    """Return the narrowest filters that let a device go on publishing as it does.

    Where a topic names the device, everything below its name, unless one of `others`, topics of
    other devices, is there too; else the topic itself.

    >>> write_filters("b2", ["tele/b2/SENSOR", "tele/b2/LWT", "site/air"])
    ['site/air', 'tele/b2/#']
    >>> write_filters("b2", ["b2/air/state"], ["b2/hall/state"])
    ['b2/air/state']
    """
    own = set(topics)
    foreign = set(others) - own
    found = set()
    for topic in own:
        at = named_level(sensor, topic)
        below = "" if at is None else "/".join([*topic.split("/")[: at + 1], ""])
        is_own = below and topic != below and not any(one.startswith(below) for one in foreign)
        found.add(f"{below}#" if is_own and topic.startswith(below) else topic)
    return sorted(found)


def acl(sensors: Iterable[DiscoveredSensor], accounts: Mapping[str, str], service: str) -> str:
    """Return an acl_file: the service reads everything, a device writes its own topics alone."""
    lines, listed = [], list(sensors)
    for sensor in listed:
        others = set().union(*(one.topics for one in listed if one is not sensor))
        filters = write_filters(sensor.id, sensor.topics, others)
        lines += [f"user {accounts[sensor.id]}", *(f"topic write {one}" for one in filters), ""]
    devices = "\n".join(lines)
    return f"""# The service reads everything, and writes nothing but its canary.
user {service}
topic read #
topic read $SYS/broker/#
topic readwrite plumewatch/canary/#

# Every device writes under its own name only, and reads nothing.
{devices}
# Devices that speak the native format and come later.
pattern write plumewatch/v1/%u/reading
pattern write plumewatch/v1/%u/status
"""


def service_port(port: int, *, tls: bool) -> int:
    """Return the port of the service's listener; with `tls` it is not that of the devices."""
    if not tls:
        return port
    return port + 1 if port < _LAST_PORT else port - 1


def mosquitto_conf(folder: str, port: int, queued: int, *, tls: bool = False) -> str:
    """Return the broker's configuration, with its passwords and rights in `folder`.

    With `tls` devices have a listener on the network and the service another; else one on loopback.
    """
    if tls:
        listener = f"""# certfile and keyfile must be those that the broker has had so far.
listener {port}
certfile /etc/mosquitto/certs/server.pem
keyfile /etc/mosquitto/certs/server.key
tls_version tlsv1.2
max_connections 450
use_username_as_clientid true
# For the service, whose connections need a client id each. A firewall may keep others from it.
listener {service_port(port, tls=tls)}
certfile /etc/mosquitto/certs/server.pem
keyfile /etc/mosquitto/certs/server.key
tls_version tlsv1.2
max_connections 100"""
    else:
        listener = f"""listener {port} 127.0.0.1
max_connections 450
# For sensors on the network, with TLS (deploy/broker-tls.conf says how to make the files):
# listener 8883
# certfile /etc/mosquitto/certs/server.pem
# keyfile /etc/mosquitto/certs/server.key
# max_connections 450
# use_username_as_clientid true"""
    return _MOSQUITTO_CONF.format(
        folder=folder,
        listener=listener,
        queued=queued,
        queued_bytes=queued * _BYTES_A_MESSAGE,
    )
