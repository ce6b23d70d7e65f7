"""Send notices as POST requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts.errors import NotifyError, NotifyReason, PermanentNotifyError, TransientNotifyError
from storage.http_client import (
    Answer,
    NoAnswerInTimeError,
    RefusedRequestError,
    RequestError,
    find_reach,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_BYTES: Final = 65_536
_LONGEST_S: Final = 60.0
_LATER: Final = frozenset({408, 425, 429})


async def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> Answer:
    """Send a POST request and return the response; the caller can set a shorter timeout.

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
        detail = str(error).removeprefix("cannot be reached: ")
        raise TransientNotifyError(NotifyReason.CONNECTION, detail) from None


def build_status_error(status: int, retry_after_s: float | None) -> NotifyError:
    """Return the error for an HTTP status other than 2xx.

    It is transient for 5xx, 408, 425 and 429, and otherwise permanent.
    """
    detail = f"HTTP {status}"
    if status < 500 and status not in _LATER:
        return PermanentNotifyError(NotifyReason.REFUSED, detail)
    reason = NotifyReason.RATE_LIMITED if status == 429 else NotifyReason.SERVER_ERROR
    return TransientNotifyError(reason, detail, retry_after_s=retry_after_s)


def raise_for_status(answer: Answer) -> None:
    """Raise an error for a response other than 2xx."""
    if not 200 <= answer.status < 300:
        raise build_status_error(answer.status, answer.retry_after_s)
