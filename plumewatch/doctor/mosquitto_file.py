"""The configuration of a Mosquitto, read as far as it decides whether readings are lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_MAX_BYTES: Final = 1_000_000
_OF_LISTENER: Final = frozenset({"certfile", "keyfile", "cafile", "require_certificate"})


@dataclass(slots=True)
class Listener:
    """One place where the broker listens; `host` is empty for every address."""

    port: str
    host: str
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class MosquittoFile:
    """What the file and those it includes set; the last of a kind counts."""

    settings: dict[str, str] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)

    def is_on(self, name: str) -> bool:
        """Whether a switch is set; all that are asked for here are off by default."""
        return self.settings.get(name, "false").lower() == "true"

    def number(self, name: str, default: float) -> float:
        """Return a number; the default where it is none."""
        try:
            return float(self.settings.get(name, default))
        except ValueError:
            return default


def read_mosquitto(path: Path) -> MosquittoFile:
    """Read a configuration with the folders it includes.

    Raises
    ------
    OSError
        If a file or folder cannot be read.
    """
    found = MosquittoFile()
    _read(path, found, included=False)
    return found


def _read(path: Path, found: MosquittoFile, *, included: bool) -> None:
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = file.read(_MAX_BYTES).splitlines()
    for line in lines:
        name, _, value = line.strip().partition(" ")
        value = value.strip()
        if not name or name.startswith("#"):
            continue
        if name == "include_dir" and not included:
            folder = path.parent / value  # an absolute one stays itself
            for more in sorted(folder.glob("*.conf")):
                _read(more, found, included=True)
        elif name in ("listener", "port"):
            port, _, host = value.partition(" ")
            found.listeners.append(Listener(port, host.strip()))
        elif name in _OF_LISTENER and found.listeners:
            found.listeners[-1].settings[name] = value
        else:
            found.settings[name] = value
