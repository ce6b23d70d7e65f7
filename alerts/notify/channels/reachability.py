"""Whether services behind addresses answer: a connection under the rules of a notice, closed."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from alerts.notify.channels.apprise_notifier import NotifySettings, check_target, server_of
from alerts.notify.guarded_http import guarded
from storage.bounded_call import BoundedThreads, DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alerts.secrets import Secret

_TIMEOUT_S: Final = 5.0
_DEADLINE_S: Final = 30.0


async def why_unreachable(
    targets: Sequence[Secret], settings: NotifySettings | None = None
) -> list[str]:
    """Return for each target why its server does not answer; empty if it does, or is unknown."""
    settings = settings or NotifySettings()
    servers = [None if check_target(target, settings) else server_of(target) for target in targets]
    wanted = sorted({server for server in servers if server is not None})
    threads = BoundedThreads("reachability", len(wanted))

    async def connect(host: str, port: int) -> str:
        try:
            return await threads.run(lambda: _why(host, port, settings), _DEADLINE_S)
        except DeadlineExceededError as error:
            return f"port {port}: {error}"

    faults = dict(zip(wanted, await asyncio.gather(*(connect(*s) for s in wanted)), strict=True))
    return ["" if server is None else faults[server] for server in servers]


def _why(host: str, port: int, settings: NotifySettings) -> str:
    with guarded(allow_private=settings.allow_private, private_only=False) as guard:
        try:
            socket.create_connection((host, port), timeout=_TIMEOUT_S).close()
        except OSError as error:
            why = error.strerror or str(error)
            if guard.refused:
                why = "the address is inside this network, which is not allowed"
            elif isinstance(error, socket.gaierror):
                why = "unknown host"
            elif isinstance(error, TimeoutError):
                why = f"no answer within {_TIMEOUT_S:.0f} s"
            return f"port {port}: {why}"
    return ""
