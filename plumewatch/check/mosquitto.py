"""The configuration of a Mosquitto: whether it loses readings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plumewatch.check.result import CheckResult, State, fault, ok, span, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from plumewatch.config.model import PlumewatchConfig

_MAX_BYTES: Final = 1_000_000
_DAY_S: Final = 86_400.0
_HOUR_S: Final = 3_600.0
_MESSAGE_BYTES: Final = 500
_DEDUPE_WINDOW: Final = 512


def read_mosquitto(path: Path, *, included: bool = False) -> dict[str, str]:
    """Read the settings of a configuration and the folders it includes; raises `OSError`."""
    found: dict[str, str] = {}
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = file.read(_MAX_BYTES).splitlines()
    for line in lines:
        name, _, value = line.strip().partition(" ")
        if name == "include_dir" and not included:
            for more in sorted((path.parent / value.strip()).glob("*.conf")):
                found |= read_mosquitto(more, included=True)
        elif name and not name.startswith("#"):
            found[name] = value.strip()
    return found


def check_mosquitto(config: PlumewatchConfig, settings: Mapping[str, str]) -> Iterator[CheckResult]:
    """Check what a Mosquitto is configured to do with the readings of this school."""
    problems = [*_losses(settings), *_queue_limits(config, settings)]
    if "acl_file" not in settings and "plugin" not in settings:
        problems.append(
            warn(
                "broker configuration",
                "no acl_file: every account may publish as every sensor",
                "acl_file /etc/mosquitto/plumewatch-acl; see deploy/mosquitto.conf",
            )
        )
    yield from problems
    if not problems:
        yield ok("broker configuration", "keeps messages for the service")


def _is_on(settings: Mapping[str, str], name: str) -> bool:
    """Whether a switch that is off by default is on."""
    return settings.get(name, "false").lower() == "true"


def _number(settings: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(settings.get(name, default))
    except ValueError:
        return default


def _losses(settings: Mapping[str, str]) -> Iterator[CheckResult]:
    if _is_on(settings, "per_listener_settings"):
        yield fault(
            "broker configuration",
            "per_listener_settings true: many versions drop, without a log line, what"
            " waits for a disconnected session",
            "delete that line; put allow_anonymous, password_file and acl_file before the"
            " first listener",
        )
    autosave_s = _number(settings, "autosave_interval", 1800)
    if not _is_on(settings, "persistence"):
        yield fault(
            "broker configuration",
            "persistence is off: a restart of the broker loses all sessions and queued messages",
            "persistence true, persistence_location /var/lib/mosquitto/",
        )
    elif autosave_s > 300 and not _is_on(settings, "autosave_on_changes"):
        yield warn(
            "broker configuration",
            f"a broker that is killed loses what was queued in the last {autosave_s:.0f} s",
            "autosave_interval 30",
        )
    window = _number(settings, "max_inflight_messages", 20)
    if not 100 <= window <= _DEDUPE_WINDOW:
        yield warn(
            "broker configuration",
            f"max_inflight_messages {window:.0f}: below 100 slows the service down, above"
            f" {_DEDUPE_WINDOW} it may store readings twice",
            "max_inflight_messages 500",
        )


def _queue_limits(config: PlumewatchConfig, settings: Mapping[str, str]) -> Iterator[CheckResult]:
    rate = sum(1 / sensor.interval_s for sensor in config.sensor)
    limits = {
        "max_queued_messages": _number(settings, "max_queued_messages", 1000),
        "max_queued_bytes": _number(settings, "max_queued_bytes", 0) / _MESSAGE_BYTES,
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
