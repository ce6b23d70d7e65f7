"""One HTTP request to an address that a school wrote down, without being led elsewhere.

https, or plain http into one's own network where that is allowed; no user name in the address, no
redirect followed, no link-local address ever, each connection judged as it is made
(`connections`). The whole takes at most `total_s`, however slowly the server drips. Errors
name no part of the address: an address is a secret.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from alerts.notify.connections import guarded, install_guard

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_WAIT_S: Final = 86_400.0


class RequestError(Exception):
    """There was no answer; the message says why, as the end of a sentence."""


class ForbiddenRequestError(RequestError):
    """The address may not be asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    Attributes
    ----------
    retry_after_s : float or None
        How long it asks to be left alone; None if it does not say so in seconds.
    """

    status: int
    retry_after_s: float | None


def fault_of_url(url: str, *, allow_private: bool) -> str:
    """Say why an address cannot be asked; empty if it may be tried.

    Examples
    --------
    >>> fault_of_url("https://hooks.example/a", allow_private=False)
    ''
    >>> fault_of_url("http://hooks.example/a", allow_private=False)
    'without TLS is for private addresses, with alerts.allow_private_targets'
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no address"
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0:
        return "must be an https address"
    if parts.username is not None or any(c <= " " or c > "~" for c in url):
        return "must hold no user name and nothing but visible ASCII"
    if parts.scheme == "http" and not allow_private:
        return "without TLS is for private addresses, with alerts.allow_private_targets"
    return ""


def request(
    method: str,
    url: str,
    *,
    allow_private: bool,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
    total_s: float = 15.0,
) -> Answer:
    """Ask once; blocks.

    Parameters
    ----------
    allow_private : bool
        Whether it may lead to an address that is not public.
    timeout_s, total_s : float
        For each step on the network, and for all together.

    Raises
    ------
    ForbiddenRequestError
        If the address may not be asked, or leads where it may not.
    RequestError
        If nothing answers in time.
    """
    fault = fault_of_url(url, allow_private=allow_private)
    if fault:
        raise ForbiddenRequestError(fault)
    install_guard()
    parts = urlsplit(url)
    plain = parts.scheme == "http"
    host = parts.hostname or ""
    link = (
        http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
        if plain
        else http.client.HTTPSConnection(
            host, parts.port, timeout=timeout_s, context=ssl.create_default_context()
        )
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    late = threading.Event()
    cut = threading.Timer(total_s, _cut, (link, late))
    cut.daemon = True
    with guarded(allow_private=allow_private, private_only=plain) as guard:
        cut.start()
        try:
            sent = {"User-Agent": "plumewatch", **(headers or {})}
            link.request(method, target, body=body, headers=sent)
            answer = link.getresponse()
            if late.is_set():  # what was cut off reads like an answer that ends
                raise RequestError("does not answer in time")
            return Answer(answer.status, _seconds(answer.getheader("Retry-After")))
        except (OSError, http.client.HTTPException, AttributeError) as error:
            # a connection that was cut in the middle has no socket any more: AttributeError
            if guard.refused:
                raise ForbiddenRequestError("leads to an address that is not allowed") from None
            raise RequestError(f"cannot be reached: {type(error).__name__}") from None
        finally:
            cut.cancel()
            link.close()


def _cut(link: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError, AttributeError):
        link.sock.shutdown(socket.SHUT_RDWR)


def _seconds(text: str | None) -> float | None:
    if text is None or not text.strip().isdecimal() or len(text) > 9:
        return None
    return min(float(text), _LONGEST_WAIT_S)
