"""What the session of the service is subscribed to.

A persistent session keeps every subscription that was ever made in it, and a client cannot ask
which these are. So they are remembered in a small file, before they are made; those that are not
wanted any more are then given up. A file that is missing or cannot be written costs no more than
messages of topics that are not wanted.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from typing import TYPE_CHECKING, Final

import msgspec

from ingest.mqtt.canary import CANARY_TOPICS
from ingest.mqtt.connection import is_guessable
from storage.files import write_private

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ingest.mqtt.connection import BrokerSettings

log = logging.getLogger(__name__)


REFUSED_CODE: Final = 0x80
"""From this code on a subscription is refused."""


class _Remembered(msgspec.Struct, frozen=True):
    """`session` is ``client_id@host:port``."""

    session: str
    filters: tuple[str, ...]


class Subscriptions:
    """The filters of one session.

    `path`: the file; its folder must exist when something is remembered.
    """

    def __init__(self, path: Path, settings: BrokerSettings) -> None:
        self._path = path
        self._settings = settings
        self._session = f"{settings.client_id}@{settings.host}:{settings.port}"

    def of(self, settings: BrokerSettings) -> Subscriptions:
        """Return those of another session in the same file."""
        return Subscriptions(self._path, settings)

    def current(self) -> tuple[str, ...]:
        """Return the filters that the session may hold."""
        found = self._read()
        return found.filters if found.session == self._session else ()

    def remember(self, filters: Iterable[str]) -> None:
        """Replace the filters."""
        wanted = _Remembered(self._session, tuple(sorted(set(filters))))
        if wanted == self._read():
            return
        try:
            write_private(self._path, msgspec.json.encode(wanted))
        except OSError as error:
            log.warning("cannot remember the subscriptions: %s: %s", self._path, error.strerror)

    def _read(self) -> _Remembered:
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(self._path.read_bytes(), type=_Remembered)
        return _Remembered("", ())


def canary_topic(client_id: str) -> str:
    """Return the topic of one service's canaries, which does not give its client id away."""
    if not is_guessable(client_id):
        client_id = hashlib.sha256(client_id.encode()).hexdigest()[:16]
    return CANARY_TOPICS + client_id


def is_refused(code: object) -> bool:
    """Whether the code of a subscription is a refusal."""
    number = getattr(code, "value", code)
    return isinstance(number, int) and number >= REFUSED_CODE
