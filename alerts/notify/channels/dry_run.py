"""Whether a request can be made of an address at all, found out without a connection.

Headers, user name, password and token of an address may have characters that HTTP cannot carry. The
libraries notice it as they send, in the same words as a network that fails, which is retried.
"""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from typing import TYPE_CHECKING, Any, Final

from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as NotConnectedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"(?:[!-~\xa0-\xff][\t -~\xa0-\xff]*)?")
_LINE: Final = re.compile(r"[^\x00-\x1f\x7f]*")
_MAIL: Final = frozenset({"mailto", "mailtos"})
_BAD_HEADER: Final = "a header (+Name=value) that cannot be sent: ASCII alone, on one line"
_BAD_TEXT: Final = "a part is missing, or a user name, password or token is not plain ASCII"


class _Dry(threading.local):
    active = False
    made = False


_DRY: Final = _Dry()


def fault_of_service(service: Any) -> str:
    """Return what is wrong with port and headers of an address; empty if nothing is."""
    port, headers = service.port, getattr(service, "headers", None) or {}
    if port is not None and not 0 < port < 65_536:
        return "a port that is not between 1 and 65535"
    return "" if _fit(headers, _LINE if service.schemas() <= _MAIL else _VALUE) else _BAD_HEADER


def fault_of_request(service: Any) -> str:
    """Return why no request can be made of an address; empty if one can."""
    if service.schemas() <= _MAIL:
        return "" if f"{service.user}{service.password}".isascii() else _BAD_TEXT
    _intercept()
    _DRY.active, _DRY.made = True, False
    try:
        with contextlib.suppress(Exception):  # a plug-in may raise anything
            service.send(body="-", title="-")
    finally:
        _DRY.active = False
    return "" if _DRY.made else _BAD_TEXT


def _fit(headers: Mapping[str, str | bytes], value: re.Pattern[str]) -> bool:
    texts = ((k, v.decode("latin-1") if isinstance(v, bytes) else v) for k, v in headers.items())
    return all(_NAME.fullmatch(k) and value.fullmatch(v) for k, v in texts)


@functools.cache
def _intercept() -> None:
    send = HTTPAdapter.send

    def send_or_not(self: HTTPAdapter, request: Any, *given: Any, **more: Any) -> Any:
        if not _DRY.active:
            return send(self, request, *given, **more)
        _DRY.made = _DRY.made or _fit(request.headers, _VALUE)
        raise NotConnectedError

    HTTPAdapter.send = send_or_not  # type: ignore[method-assign]
