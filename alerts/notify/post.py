"""Send notices as POST requests, with a limit on concurrent requests per service."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from alerts.errors import NotifyReason, PermanentNotifyError, TransientNotifyError
from storage.http_client import (
    Answer,
    NoAnswerInTimeError,
    RefusedRequestError,
    RequestError,
    find_reach,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_MAX_BYTES: Final = 65_536
_LONGEST_S: Final = 60.0
_LATER: Final = frozenset({408, 425, 429})


async def send_in_place(
    places: asyncio.Semaphore, send: Callable[[], Awaitable[None]], timeout_s: float
) -> None:
    """Run `send` if the service has a free slot; otherwise raise a ``BUSY`` error."""
    if places.locked():
        raise TransientNotifyError(NotifyReason.BUSY, "earlier notices are still being sent")
    try:
        async with asyncio.timeout(timeout_s), places:
            await send()
    except TimeoutError:
        reason = f"no complete answer in {timeout_s:g} s"
        raise TransientNotifyError(NotifyReason.TIMEOUT, reason) from None


async def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> Answer:
    """Send a POST request and return the response; the caller sets the timeout.

    Raises `PermanentNotifyError` for a forbidden address, and `TransientNotifyError` for any other
    failure.
    """
    try:
        return await request(
            "POST",
            url,
            find_reach(url, allow_private=allow_private),
            body=body,
            headers=headers,
            timeout_s=_LONGEST_S,
            max_bytes=_MAX_BYTES,
        )
    except RefusedRequestError as error:
        raise PermanentNotifyError(NotifyReason.FORBIDDEN_ADDRESS, str(error)) from None
    except NoAnswerInTimeError as error:
        raise TransientNotifyError(NotifyReason.TIMEOUT, str(error)) from None
    except RequestError as error:
        raise TransientNotifyError(NotifyReason.CONNECTION, str(error)) from None


def raise_for_status(answer: Answer, permanent: Mapping[int, NotifyReason]) -> None:
    """Raise an error for a response other than 2xx.

    `permanent` maps status codes, or their first digits, to reasons of permanent errors. All other
    errors are transient, and so are 408, 425 and 429.
    """
    status, detail = answer.status, f"HTTP {answer.status}"
    if 200 <= status < 300:
        return
    reason = permanent.get(status) or permanent.get(status // 100)
    if reason is not None and status not in _LATER:
        raise PermanentNotifyError(reason, detail)
    limited = status == HTTPStatus.TOO_MANY_REQUESTS
    reason = NotifyReason.RATE_LIMITED if limited else NotifyReason.SERVER_ERROR
    raise TransientNotifyError(reason, detail, retry_after_s=answer.retry_after_s)
