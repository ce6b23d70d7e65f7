"""Simulate a disk that fails on request, or that loses unsynced data in a power outage.

Killing a process keeps the page cache, so it does not test fsync. Here, a preloaded library
(`disk_shim.c`) records every write, sync and acknowledgment of the service in order. For any point
in that order, `PowerCuts` builds a possible state of the disk after a power outage: everything that
was synced, and any of the sectors written since then. A renamed file has its new name for certain
only after its folder was synced.
"""

from __future__ import annotations

import json
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.needs import need

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

__all__ = ["DiskShim", "PowerCuts"]

SOURCE = Path(__file__).with_name("disk_shim.c")
SECTOR = 512
_HEAD = struct.Struct("<ciqi")
_MODES = {"works": 0, "is full": 1, "fails to write": 2, "fails to sync": 3}


class DiskShim:
    """The shim for one service.

    Parameters
    ----------
    folder : Path
        Folder for the library, its log and its control file.
    data : Path
        Files below it are watched.
    port : int
        The broker's port.
    record : bool
        Whether to keep the log for `PowerCuts`.
    """

    def __init__(self, folder: Path, data: Path, port: int, *, record: bool = False) -> None:
        need("cc")
        library = folder / "disk_shim.so"
        command = ["cc", "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl", "-lpthread"]
        subprocess.run(command, check=True, timeout=60)
        self.log = folder / "shim-log"
        self._switch = folder / "shim-mode"
        self._switch.write_bytes(b"\0")
        self.environment = {
            "LD_PRELOAD": str(library),
            "SHIM_DIR": str(data),
            "SHIM_PORT": str(port),
            "SHIM_MODE": str(self._switch),
            **({"SHIM_LOG": str(self.log)} if record else {}),
        }

    def disk(self, what: str) -> None:
        """Make the disk work, be full, fail to write, or fail to sync from now on."""
        with self._switch.open("r+b") as file:
            file.write(bytes([_MODES[what]]))


@dataclass
class _File:
    synced: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)
    """A file's writes: offset and bytes, or length and None if it was truncated."""


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class _Session:
    """Parses one MQTT connection to the broker to find the acknowledged readings."""

    def __init__(self) -> None:
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._under_way: dict[int, tuple[str, int]] = {}

    def received(self, data: bytes) -> None:
        self._incoming += data
        for head, body in _packets(self._incoming):
            if head >> 4 != 3 or not head & 0x06:
                continue
            end = 2 + int.from_bytes(body[:2], "big")
            topic = body[2:end].decode()
            if topic.endswith("/reading"):
                mid = int.from_bytes(body[end : end + 2], "big")
                seq = json.loads(body[end + 2 :])["seq"]
                self._under_way[mid] = (topic.split("/")[2], seq)

    def sent(self, data: bytes) -> list[tuple[str, int]]:
        """Return the readings that the sent bytes acknowledge."""
        self._outgoing += data
        mids = [
            int.from_bytes(body[:2], "big")
            for head, body in _packets(self._outgoing)
            if head >> 4 == 4
        ]
        return [self._under_way.pop(mid) for mid in mids if mid in self._under_way]


def _packets(stream: bytearray) -> Iterator[tuple[int, bytes]]:
    """Remove complete packets from the start of a stream."""
    while len(stream) >= 2:
        length, shift, at = 0, 0, 1
        while at < len(stream):
            length |= (stream[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not stream[at - 1] & 0x80:
                break
        else:
            return
        if len(stream) < at + length:
            return
        packet = stream[0], bytes(stream[at : at + length])
        del stream[: at + length]
        yield packet


class PowerCuts:
    """Replays a shim's log up to any point.

    Parameters
    ----------
    log : Path

    Attributes
    ----------
    acknowledged : list of (str, int)
        Sensor and sequence number of all readings acknowledged (PUBACK) so far.
    """

    def __init__(self, log: Path) -> None:
        self._log = log.read_bytes()
        self._starts = self._record_starts()
        self._done = 0
        self._files: dict[str, _File] = {}
        self._open: dict[int, str] = {}
        self._renamed: list[tuple[str, str]] = []  # since their folder was last synced
        self._sessions: dict[int, _Session] = {}
        self.acknowledged: list[tuple[str, int]] = []

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._starts)

    def kinds(self) -> str:
        """The kinds of all records as a string, one letter per record."""
        return "".join(chr(self._log[start]) for start in self._starts)

    def walk_to(self, count: int) -> None:
        """Continue until `count` records have been replayed."""
        for start in self._starts[self._done : count]:
            kind, number, offset, length = _HEAD.unpack_from(self._log, start)
            self._take(kind.decode(), number, offset, self._log[start + 17 : start + 17 + length])
        self._done = max(self._done, count)

    def left_over(self, rng: random.Random) -> Mapping[str, bytes]:
        """Return the files' contents by name, as a power outage at this point may leave them."""
        found: dict[str, bytes] = {}
        for path, file in self._files.items():
            content = bytearray(file.synced)
            kept = rng.choice((0.0, 0.5, 1.0))
            for offset, data in file.since:
                if data is None:
                    if rng.random() < kept:
                        _apply(content, offset, None)
                    continue
                for first in range(0, len(data), SECTOR):
                    if rng.random() < kept:
                        _apply(content, offset + first, data[first : first + SECTOR])
            found[Path(path).name] = bytes(content)
        for old, new in reversed(self._renamed):
            if rng.random() < 0.5:
                found[Path(old).name] = found.pop(Path(new).name)
        return found

    def _record_starts(self) -> list[int]:
        starts, at = [], 0
        while at + 17 <= len(self._log):
            starts.append(at)
            at += 17 + _HEAD.unpack_from(self._log, at)[3]
        return starts

    def _take(self, kind: str, number: int, offset: int, data: bytes) -> None:
        if kind == "O":
            self._open[number] = data.decode()
            self._files.setdefault(data.decode(), _File())
        elif kind in "WT":
            change = (offset, data if kind == "W" else None)
            self._files.setdefault(self._open[number], _File()).since.append(change)
        elif kind == "S":
            file = self._files.setdefault(self._open[number], _File())
            for change in file.since:
                _apply(file.synced, *change)
            file.since.clear()
            folder = self._open[number]
            self._renamed = [n for n in self._renamed if str(Path(n[1]).parent) != folder]
        elif kind == "U":
            self._files.pop(data.decode(), None)
        elif kind == "N":
            old, new = data.decode().split("\0")
            self._files[new] = self._files.pop(old, _File())
            self._renamed.append((old, new))
        elif kind == "C":
            self._sessions[number] = _Session()
        elif kind == "R":
            self._sessions[number].received(data)
        elif kind == "P":
            self.acknowledged += self._sessions[number].sent(data)
