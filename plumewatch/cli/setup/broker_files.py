"""Create broker accounts: each device gets a password and can write only to its own topics.

Passwords are hashed as by `mosquitto_passwd` of Mosquitto 2. They have 98 random bits, so a few
iterations are enough, and devices connect quickly.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import socket
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest.decoders import native
from plumewatch.cli.setup.discovery import find_level

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


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Hash a password for Mosquitto's password_file.

    >>> hash_password("secret", base64.b64decode("NimVquqMfJ+gpmO6"))[:40]
    '$7$101$NimVquqMfJ+gpmO6$hGqUuspRPtHUxLC5'
    """
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    salt_text, made_text = (base64.b64encode(part).decode() for part in (salt, made))
    return f"$7${_ITERATIONS}${salt_text}${made_text}"


def name_accounts(sensors: Iterable[str], service: str) -> dict[str, str]:
    """Return each device's account name: its id, with hyphens for special characters.

    Names are unique and differ from the service's account. If two ids would get the same name, the
    one without special characters gets it, because a native device publishes under its account's
    name.

    >>> name_accounts(["1C:82:59", "1C-82-59", "plumewatch"], "plumewatch")
    {'1C-82-59': '1C-82-59', 'plumewatch': 'plumewatch-2', '1C:82:59': '1C-82-59-2'}
    """
    accounts: dict[str, str] = {}
    for sensor in sorted(sensors, key=lambda sensor: bool(_FORBIDDEN.search(sensor))):
        name = _FORBIDDEN.sub("-", sensor)[:64]
        names = chain([name], (f"{name[:60]}-{number}" for number in count(2)))
        taken = {service, *accounts.values()}
        accounts[sensor] = next(name for name in names if name not in taken)
    return accounts


def find_write_filters(sensor: str, topics: Iterable[str], others: Iterable[str] = ()) -> list[str]:
    """Return filters that cover what a device publishes now.

    If a topic names the device, the filter covers everything below its name, unless other devices
    (topics `others`) publish there too. Otherwise, the filter is the topic itself. In the native
    format, the filters are its two topics.

    >>> find_write_filters("b2", ["tele/b2/SENSOR", "tele/b2/LWT", "site/air"])
    ['site/air', 'tele/b2/#']
    >>> find_write_filters("b2", ["b2/air/state"], ["b2/hall/state"])
    ['b2/air/state']
    """
    own = set(topics)
    foreign = set(others) - own
    found = set()
    for topic in own:
        at = find_level(sensor, topic)
        below = "" if at is None else "/".join([*topic.split("/")[: at + 1], ""])
        own_native = f"{native.PREFIX}{sensor}/"
        if topic.startswith(own_native):
            found |= {f"{own_native}reading", f"{own_native}status"}
            continue
        is_own = below and topic != below and not any(one.startswith(below) for one in foreign)
        found.add(f"{below}#" if is_own and topic.startswith(below) else topic)
    return sorted(found)


def build_acl(
    sensors: Iterable[DiscoveredSensor], accounts: Mapping[str, str], service: str
) -> str:
    """Return the acl_file: the service reads everything; devices write only to their own topics."""
    lines, listed = [], list(sensors)
    for sensor in listed:
        others = set().union(*(one.topics for one in listed if one is not sensor))
        filters = find_write_filters(sensor.id, sensor.topics, others)
        lines += [f"user {accounts[sensor.id]}", *(f"topic write {one}" for one in filters), ""]
    devices = "\n".join(lines)
    return f"""# The service reads everything and writes only its canary.
user {service}
topic read #
topic read $SYS/broker/#
topic readwrite plumewatch/canary/#

# Every device only writes to its own topics and reads nothing.
{devices}
# Devices with the native format that are added later.
pattern write plumewatch/v1/%u/reading
pattern write plumewatch/v1/%u/status
"""


def is_this_machine(host: str) -> bool:
    """Return whether a host name or address belongs to this machine."""
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def choose_service_port(port: int, *, tls: bool) -> int:
    """Return the port of the service's listener; with `tls`, devices use another one."""
    if not tls:
        return port
    return port + 1 if port < _LAST_PORT else port - 1


def build_mosquitto_conf(
    folder: str, port: int, queued: int, *, tls: bool = False, local: bool = True
) -> str:
    """Return the broker's configuration; its passwords and permissions are in `folder`.

    Without `tls`, devices and the service share a listener on loopback. With `tls`, devices have
    one on the network, and the service another: on loopback if it runs on the broker's machine
    (`local`). The service uses several client ids, so its listener can't set them to the account's
    name, and a device that reached it could take over other sessions.
    """
    if tls:
        own = choose_service_port(port, tls=tls)
        service = f"""# For the service, on this machine.
listener {own} 127.0.0.1
max_connections 100"""
        if not local:
            service = f"""# Only for the service: clients choose their ids here. Block all others:
#   iptables -A INPUT -p tcp --dport {own} ! -s ADDRESS-OF-THE-SERVICE -j REJECT
listener {own}
certfile /etc/mosquitto/certs/server.pem
keyfile /etc/mosquitto/certs/server.key
tls_version tlsv1.2
max_connections 100"""
        listener = f"""# Enter the certfile and keyfile that the broker has used so far.
listener {port}
certfile /etc/mosquitto/certs/server.pem
keyfile /etc/mosquitto/certs/server.key
tls_version tlsv1.2
max_connections 450
use_username_as_clientid true
{service}"""
    else:
        listener = f"""listener {port} 127.0.0.1
max_connections 450
# For sensors on the network, with TLS (deploy/broker-tls.conf explains how to make the files):
# listener 8883
# certfile /etc/mosquitto/certs/server.pem
# keyfile /etc/mosquitto/certs/server.key
# max_connections 450
# use_username_as_clientid true"""
    return _MOSQUITTO_CONF.format(
        folder=folder, listener=listener, queued=queued, queued_bytes=queued * _BYTES_A_MESSAGE
    )
