"""Find the registered sensor that a name or a topic means."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ingest.errors import DecodeError, MessageRefusedError, Reason
from ingest.validation import fold_id, make_sensor_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_LEVELS: Final = 16


def clean_name(level: str) -> str:
    """Return a topic level as a sensor id; empty if it can't be one."""
    try:
        return make_sensor_id(level)
    except DecodeError:
        return ""


def join_levels(topic: str) -> Iterator[str]:
    """Return the ids that one or several consecutive levels of a topic form, from the first on."""
    levels = [clean_name(level) for level in topic.split("/")]
    yield from filter(None, levels)
    if len(levels) <= MAX_LEVELS:
        for start in range(len(levels)):
            for end in range(start + 2, len(levels) + 1):
                yield ":".join(levels[start:end])


class SensorNames:
    """Ids and aliases of registered sensors; part `hall:2` of `hall` is never `hall-2`."""

    def __init__(
        self, sensors: Iterable[str] = (), aliases: Mapping[str, str] | None = None
    ) -> None:
        names = tuple(sensors)
        more = aliases or {}
        self.exact: dict[str, str] = {
            **{fold_id(name): name for name in reversed(names)},
            **{fold_id(alias): target for alias, target in more.items()},
            **{name: name for name in names},
            **more,
        }
        self._find_sender = lru_cache(maxsize=8_192)(self._search)

    def find(self, name: str) -> str | None:
        """Return the id of the sensor with this id or alias, or None."""
        known = self.exact.get(name)
        if known is not None:
            return known
        owners = (name[: mark.start()] for mark in re.finditer(":", name))
        if any(fold_id(owner) in self.exact for owner in owners):
            return None
        return self.exact.get(fold_id(name))

    def check_sender(self, named: str, topic: str) -> None:
        """Refuse a payload that names another registered sensor than its topic.

        Brokers permit topics, so the topic shows the sender. The first sensor that a topic names
        may report only for itself and its parts (``hall:2``). Raises `MessageRefusedError`.
        """
        sensor = self.find(named)
        if sensor is None:
            return
        sender = self._find_sender(topic)
        if sender in (None, sensor) or self.find(named.rpartition(":")[0]) == sender:
            return
        raise MessageRefusedError(
            Reason.ID_MISMATCH, f"the topic names {sender!r}, the payload {named!r}"
        )

    def _search(self, topic: str) -> str | None:
        return next((known for name in join_levels(topic) if (known := self.find(name))), None)
