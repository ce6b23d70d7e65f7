"""Check whether the services that deliver notices can be reached."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from alerts.notify.channels.apprise_notifier import check_target, find_server
from storage.http_client import Reach, RefusedRequestError, RequestError, connect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alerts.notify.channels.apprise_notifier import NotifySettings
    from alerts.secrets import Secret

_TIMEOUT_S: Final = 15.0


async def find_unreachable(targets: Sequence[Secret], settings: NotifySettings) -> list[str]:
    """Return why each target's server is unreachable; empty if it is reachable or unknown."""
    servers = [
        None if check_target(target, settings) else find_server(target) for target in targets
    ]
    wanted = sorted({server for server in servers if server is not None})
    reach = Reach(settings.allow_private)

    async def check(host: str, port: int) -> str:
        try:
            await connect(host, port, reach, _TIMEOUT_S)
        except RefusedRequestError:
            return (
                f"port {port}: the address is inside this network; only"
                " allow_private_targets = true in [alerts] allows that"
            )
        except RequestError as error:
            return f"port {port}: {error}"
        return ""

    faults = dict(zip(wanted, await asyncio.gather(*(check(*s) for s in wanted)), strict=True))
    return ["" if server is None else faults[server] for server in servers]
