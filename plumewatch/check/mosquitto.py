"""The configuration of a Mosquitto: whether it loses readings or accepts unknown clients."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest.mqtt.connection import is_guessable
from plumewatch.check.result import State, result, span
from plumewatch.service.web_server import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plumewatch.check.result import CheckResult
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
        yield result("mosquitto_sound")


def _losses(file: MosquittoFile) -> Iterator[CheckResult]:
    if file.is_on("per_listener_settings"):
        yield result("per_listener")
    autosave_s = file.number("autosave_interval", 1800)
    if not file.is_on("persistence"):
        yield result("no_persistence")
    elif autosave_s > 300 and not file.is_on("autosave_on_changes"):
        yield result("slow_autosave", autosave_s=autosave_s)
    window = file.number("max_inflight_messages", 20)
    if not 100 <= window <= _DEDUPE_WINDOW:
        yield result("inflight_window", window=window, most=_DEDUPE_WINDOW)


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
        yield result(
            "queue_limit",
            State.FAULT if kept_s < _HOUR_S else State.WARNING,
            name=name,
            messages=messages,
            kept=span(kept_s),
            day=day,
            sensors=len(config.sensor),
        )
    configured = config.broker.max_queued_messages
    if name == "max_queued_messages" and messages < configured:
        yield result("queue_limit_differs", messages=messages, configured=configured)


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
        yield result("one_client_id", port=one.port)
    elif not bound and client_id and is_guessable(client_id):
        yield result("guessable_client_id", port=one.port, client_id=client_id)
    elif not bound and not is_of_service:
        yield result("free_client_ids", port=one.port)


def _openings(config: PlumewatchConfig, file: MosquittoFile) -> Iterator[CheckResult]:
    outside = [one for one in file.listeners if not is_loopback(one.host or "0.0.0.0")]  # noqa: S104
    if file.is_on("allow_anonymous") and file.listeners:
        yield result("allow_anonymous", State.FAULT if outside else State.WARNING)
    elif "acl_file" not in file.settings and "plugin" not in file.settings:
        yield result("no_acl")
    for one in outside:
        yield from _client_ids(config, one)
        if "max_connections" not in one.settings:
            yield result("no_connection_limit", port=one.port)
        if "certfile" not in one.settings:
            yield result("no_tls", port=one.port)
    most = sum(int(one.settings.get("max_connections", "0")) for one in file.listeners)
    descriptors = _descriptors()
    if descriptors and most > descriptors - _OTHER_DESCRIPTORS:
        yield result("few_descriptors", most=most, descriptors=descriptors, enough=2 * most)
    if not file.number("max_packet_size", 0):
        yield result("no_packet_size")
