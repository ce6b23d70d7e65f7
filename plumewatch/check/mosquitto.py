"""The configuration of a Mosquitto: whether it loses readings or accepts unknown clients."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest.mqtt.connection import is_guessable
from plumewatch.check.result import CheckResult, State, fault, ok, span, warn
from plumewatch.service.web_server import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plumewatch.config.model import PlumewatchConfig

_MAX_BYTES: Final = 1_000_000
_OF_LISTENER: Final = (
    *("certfile", "keyfile", "cafile", "require_certificate", "max_connections"),
    "use_username_as_clientid",
)
_DAY_S: Final = 86_400.0
_HOUR_S: Final = 3_600.0
_MESSAGE_BYTES: Final = 500
_OTHER_DESCRIPTORS: Final = 50
"""Files, listeners and bridges of a broker."""
_DEDUPE_WINDOW: Final = 512
_ALL_RIGHTS: Final = "pattern readwrite #"


@dataclass(slots=True)
class Listener:
    """One address where the broker listens; `host` is empty for all addresses."""

    port: str
    host: str
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class MosquittoFile:
    """What the file and those it includes set; the last setting of a name counts."""

    settings: dict[str, str] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)

    def is_on(self, name: str) -> bool:
        """Return whether a switch that is off by default is on."""
        return self.settings.get(name, "false").lower() == "true"

    def number(self, name: str, default: float) -> float:
        """Return a number; the default if it is none."""
        try:
            return float(self.settings.get(name, default))
        except ValueError:
            return default


def read_mosquitto(path: Path) -> MosquittoFile:
    """Read a configuration with the folders it includes; raises `OSError`."""
    file = MosquittoFile()
    _read(path, file, included=False)
    return file


def _read(path: Path, into: MosquittoFile, *, included: bool) -> None:
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = file.read(_MAX_BYTES).splitlines()
    for line in lines:
        name, _, value = line.strip().partition(" ")
        value = value.strip()
        if not name or name.startswith("#"):
            continue
        if name == "include_dir" and not included:
            for more in sorted((path.parent / value).glob("*.conf")):
                _read(more, into, included=True)
        elif name in ("listener", "port"):
            port, _, host = value.partition(" ")
            into.listeners.append(Listener(port, host.strip()))
        elif name in _OF_LISTENER and into.listeners:
            into.listeners[-1].settings[name] = value
        else:
            into.settings[name] = value


def check_mosquitto(config: PlumewatchConfig, file: MosquittoFile) -> Iterator[CheckResult]:
    """Check what a Mosquitto is configured to do with the readings of this school."""
    problems = [*_losses(file), *_queue_limits(config, file), *_openings(config, file)]
    yield from problems
    if not problems:
        yield ok(
            "broker configuration", "keeps messages for the service and refuses unknown clients"
        )


def _losses(file: MosquittoFile) -> Iterator[CheckResult]:
    if file.is_on("per_listener_settings"):
        yield fault(
            "broker configuration",
            "per_listener_settings true: many versions drop, without a log line, what"
            " waits for a disconnected session",
            "delete that line; put allow_anonymous, password_file and acl_file before the"
            " first listener",
        )
    autosave_s = file.number("autosave_interval", 1800)
    if not file.is_on("persistence"):
        yield fault(
            "broker configuration",
            "persistence is off: a restart of the broker loses all sessions and queued messages",
            "persistence true, persistence_location /var/lib/mosquitto/",
        )
    elif autosave_s > 300 and not file.is_on("autosave_on_changes"):
        yield warn(
            "broker configuration",
            f"a broker that is killed loses what was queued in the last {autosave_s:.0f} s",
            "autosave_interval 30",
        )
    window = file.number("max_inflight_messages", 20)
    if not 100 <= window <= _DEDUPE_WINDOW:
        yield warn(
            "broker configuration",
            f"max_inflight_messages {window:.0f}: below 100 slows the service down, above"
            f" {_DEDUPE_WINDOW} it may store readings twice",
            "max_inflight_messages 500",
        )


def _queue_limits(config: PlumewatchConfig, file: MosquittoFile) -> Iterator[CheckResult]:
    rate = sum(1 / sensor.interval_s for sensor in config.sensor)
    limits = {
        "max_queued_messages": file.number("max_queued_messages", 1000),
        "max_queued_bytes": file.number("max_queued_bytes", 0) / _MESSAGE_BYTES,
    }
    messages, name = min(((n, name) for name, n in limits.items() if n > 0), default=(0.0, ""))
    if not name:
        return
    kept_s = messages / rate
    if kept_s < _DAY_S:
        day = round(rate * _DAY_S) * (1 if name == "max_queued_messages" else _MESSAGE_BYTES)
        yield CheckResult(
            "broker configuration",
            State.FAULT if kept_s < _HOUR_S else State.WARNING,
            f"{name} keeps {messages:,.0f} messages, {span(kept_s)} of this school's"
            " readings; then the newest are dropped",
            f"{name} {day}, a day of {len(config.sensor)} sensors",
        )
    configured = config.broker.max_queued_messages
    if name == "max_queued_messages" and messages < configured:
        yield warn(
            "broker configuration",
            f"the broker keeps {messages:,.0f} messages, and {configured:,} are configured"
            " in broker.max_queued_messages",
            f"broker.max_queued_messages = {messages:.0f} here, or more there",
        )


def _descriptors() -> int | None:
    """Return how many files a Mosquitto of this machine may have open; None if none runs."""
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError, ValueError):
            if comm.read_text().strip() == "mosquitto":
                limits = comm.with_name("limits").read_text()
                return int(limits.partition("Max open files")[2].split()[0])
    return None


def _client_ids(config: PlumewatchConfig, one: Listener) -> Iterator[CheckResult]:
    client_id = config.broker.client_id
    bound = one.settings.get("use_username_as_clientid", "").lower() == "true"
    is_of_service = one.port == str(config.broker.port)
    if bound and is_of_service:
        yield fault(
            "broker configuration",
            f"listener {one.port}: use_username_as_clientid gives all connections of the"
            " service one client id, so they end each other",
            "a listener of its own for the service, without it; see deploy/mosquitto.conf",
        )
    elif not bound and client_id and is_guessable(client_id):
        yield warn(
            "broker configuration",
            f"listener {one.port}: any account can take over the session of client id"
            f" {client_id!r}, and the readings in it",
            "delete broker.client_id: the service then makes one that cannot be guessed;"
            " what is queued under the former one is lost",
        )
    elif not bound and not is_of_service:
        yield warn(
            "broker configuration",
            f"listener {one.port}: a device can end the connection of another by its client id",
            "use_username_as_clientid true below that listener",
        )


def _openings(config: PlumewatchConfig, file: MosquittoFile) -> Iterator[CheckResult]:
    outside = [one for one in file.listeners if not is_loopback(one.host or "0.0.0.0")]  # noqa: S104
    if file.is_on("allow_anonymous") and file.listeners:
        yield CheckResult(
            "broker configuration",
            State.FAULT if outside else State.WARNING,
            "allow_anonymous true: whoever reaches the broker can publish and read",
            "allow_anonymous false, and a password_file with an account per sensor; see"
            " deploy/mosquitto.conf",
        )
    elif "acl_file" not in file.settings and "plugin" not in file.settings:
        yield warn(
            "broker configuration",
            "no acl_file: every account may publish as every sensor",
            "acl_file /etc/mosquitto/plumewatch-acl; see deploy/mosquitto.conf",
        )
    for one in outside:
        yield from _client_ids(config, one)
        if "max_connections" not in one.settings:
            yield warn(
                "broker configuration",
                f"listener {one.port}: one device can open connections until the broker has no"
                " descriptors left",
                "max_connections 450 below that listener",
            )
        if "certfile" not in one.settings:
            yield warn(
                "broker configuration",
                f"listener {one.port} is open to the network without TLS: passwords can be read",
                "certfile and keyfile below that listener, or bind it to 127.0.0.1",
            )
    most = sum(int(one.settings.get("max_connections", "0")) for one in file.listeners)
    descriptors = _descriptors()
    if descriptors and most > descriptors - _OTHER_DESCRIPTORS:
        yield warn(
            "broker configuration",
            f"the listeners take {most:,} connections, and the broker has {descriptors:,}"
            " descriptors: one that has none left cannot save its queues",
            f"systemctl edit mosquitto: [Service] LimitNOFILE={2 * most}; or less max_connections",
        )
    if not file.number("max_packet_size", 0):
        yield warn(
            "broker configuration",
            "max_packet_size is not set: a client may send megabytes at once",
            "max_packet_size 65536",
        )
