"""Parts of the service that last as long as it does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

log = logging.getLogger(__name__)


class ServiceError(Exception):
    """The service cannot start or go on; the message is one sentence."""


async def lasting(name: str, work: Coroutine[None, None, None], stop: asyncio.Event) -> None:
    """Let a part of the service end by itself only after `stop`, and never without a line.

    Raises
    ------
    ServiceError
        If it ends before.
    """
    try:
        await work
    except Exception as error:
        log.critical("%s failed: %s: %s", name, type(error).__name__, error)
        raise
    if not stop.is_set():
        raise ServiceError(f"{name} ended by itself")
