"""One school on several processes: each has the buildings whose names hash to it.

``plumewatch run --shard 0/2`` runs beside ``--shard 1/2`` on one configuration. Each process has
the rooms and sensors of its buildings, and its own data folder, broker session and ports. It
subscribes to all topics and drops messages of other processes' sensors before decoding them: with
Mosquitto's shared subscriptions, messages of one sensor would reach several processes. Shard 0 also
has unregistered sensors and topics that no format reads. Other commands use the shard that
``PLUMEWATCH_SHARD=0/2`` in their environment names.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from plumewatch.config.faults import ConfigError, ConfigFault
from plumewatch.config.load import load
from storage.registry import shard_of

if TYPE_CHECKING:
    from pathlib import Path

    from plumewatch.config.model import PlumewatchConfig

VARIABLE: Final = "PLUMEWATCH_SHARD"
_WRITTEN: Final = re.compile(r"(\d{1,3})/(\d{1,3})")
_PORTS_APART: Final = 10


class ShardError(ValueError):
    """The text names no shard, or the shard has no sensor."""


@dataclass(frozen=True, slots=True)
class ProcessShard:
    """Number `index` of `count` processes."""

    index: int
    count: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Read ``INDEX/COUNT``; raises `ShardError`."""
        found = _WRITTEN.fullmatch(text)
        if not found or not 0 <= int(found[1]) < int(found[2]) <= 64:
            raise ShardError(f"{text!r}: INDEX/COUNT, as in 0/2 and 1/2; at most 64")
        return cls(int(found[1]), int(found[2]))

    def has(self, site: str, building: str) -> bool:
        """Return whether a building belongs to this process."""
        return shard_of(f"{site}/{building}", self.count) == self.index


def load_shard(path: Path, shard: str = "") -> PlumewatchConfig:
    """Read a configuration file; return the part of a shard, by default ``PLUMEWATCH_SHARD``.

    Raises `ConfigError` with every fault found.
    """
    config, text = load(path), shard or os.environ.get(VARIABLE, "")
    try:
        return part_of(config, ProcessShard.of(text)) if text else config
    except ShardError as error:
        fault = ConfigFault(VARIABLE, str(error), "one of the processes of a school")
        raise ConfigError([fault]) from error


def part_of(config: PlumewatchConfig, shard: ProcessShard) -> PlumewatchConfig:
    """Return the configuration of one process; raises `ShardError` if it has no sensor."""
    registry = config.registry()
    own = {room.id for room in registry.rooms.values() if shard.has(room.site, room.building)}
    sensors = [sensor for sensor in config.sensor if sensor.room in own]
    if not sensors:
        raise ShardError(
            f"shard {shard.index}/{shard.count}: no building with a sensor belongs to it; with"
            f" {len({(r.site, r.building) for r in registry.rooms.values()})} buildings take fewer"
        )
    apart = _PORTS_APART * shard.index
    http, mine = config.ingest.http, f"shard-{shard.index}-of-{shard.count}"
    client_id = config.broker.client_id  # a random one is kept in each data folder
    client_id = client_id and f"{client_id[:40]}-{mine}"
    polled = {sensor.id for sensor in sensors}
    part = config.model_copy(
        update={
            "data_dir": config.data_dir / mine,
            "room": [room for room in config.room if room.id in own],
            "sensor": sensors,
            "broker": config.broker.model_copy(update={"client_id": client_id}),
            "web": config.web.model_copy(update={"port": config.web.port + apart}),
            "ingest": config.ingest.model_copy(
                update={
                    "http": http.model_copy(update={"port": http.port + apart}),
                    "poll": [one for one in config.ingest.poll if one.sensor in polled],
                }
            ),
        }
    )
    others = frozenset(
        name for s in config.sensor if s.room not in own for name in (s.id, *s.aliases)
    )
    part.set_other_shards(others, accepts_unregistered=shard.index == 0)
    return part
