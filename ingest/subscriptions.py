"""Which topics the broker's session is subscribed to, over restarts and changes of configuration.

A persistent session keeps every subscription that was ever made in it, and a client cannot ask
which these are. So they are remembered in a small file, before they are made; those that are not
wanted any more are then given up. A file that is missing or cannot be written costs no more than
messages of topics that nobody wants.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

log = logging.getLogger(__name__)


class _Held(msgspec.Struct, frozen=True):
    session: str
    filters: tuple[str, ...]


class Subscriptions:
    """The filters of one session.

    `path`: the file; its folder must exist when something is remembered.
    `session`: names broker and client; what was held in another one does not count.
    """

    def __init__(self, path: Path, session: str) -> None:
        self._path = path
        self._session = session

    def held(self) -> tuple[str, ...]:
        """Return the filters that the session may hold."""
        with suppress(OSError, msgspec.MsgspecError):
            found = msgspec.json.decode(self._path.read_bytes(), type=_Held)
            if found.session == self._session:
                return found.filters
        return ()

    def remember(self, filters: Iterable[str]) -> None:
        """Replace what is remembered."""
        wanted = _Held(self._session, tuple(sorted(set(filters))))
        if wanted.filters == self.held():
            return
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            fresh.write_bytes(msgspec.json.encode(wanted))
            os.replace(fresh, self._path)  # noqa: PTH105 - atomic
        except OSError as error:
            log.warning("cannot remember the subscriptions: %s: %s", self._path, error.strerror)
