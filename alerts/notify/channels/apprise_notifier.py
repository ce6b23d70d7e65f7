"""Deliver notices: to ntfy and browsers directly, to all other services through Apprise.

ntfy and each scheme in `direct` have their own function. The rest of this module works around these
properties of Apprise:

- An Apprise object throttles between sends, so each send gets a new object with one target.
- Apprise follows redirects, so a public address could redirect a POST to an internal one. Redirects
  are switched off.
- Its calls share one thread pool. Here, each channel has its own pool (`storage.bounded_call`), so
  a provider that hangs delays only its own notices.
- It logs addresses, which are secrets. Its log is therefore discarded, and during a send, urllib3's
  log as well.
- It returns no response headers, so the wait that a provider asks for is known only if the body
  contains it (Telegram, Discord).

Only listed schemes are allowed. Apprise's libraries open the connections themselves, so an audit
hook on ``socket.connect`` checks each address with the `Reach` of `storage.http_client`, but only
in threads inside `_guard`. The hook sees the final address, so changed DNS answers and additional
requests by a plug-in are checked too. Behind an HTTP proxy, only the proxy's address is checked.
In these threads, responses are read only up to `_MAX_RESPONSE_BYTES`, and nothing is read after the
deadline: HTTP and mail libraries read a socket through `socket.SocketIO`.

A service that accepts a text and a picture in one request gets both. If it refuses them, the text
alone is sent in the same attempt. Other services get only the text.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import re
import socket
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import apprise
import requests
from apprise.attachment.memory import AttachMemory
from apprise.utils.parse import parse_url

from alerts.channels import OWN_SERVERS, SERVICES
from alerts.errors import NotifyError, NotifyReason, PermanentNotifyError, TransientNotifyError
from alerts.notify.channels import ntfy
from alerts.notify.notice import NoticeReason, Priority, render
from alerts.notify.post import build_status_error
from alerts.secrets import find_channel, find_scheme
from language.plain_text import suggest_name
from storage.bounded_call import BoundedThreads, BusyError, DeadlineExceededError
from storage.http_client import Reach

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from alerts.notify.notice import Notice
    from alerts.secrets import Secret

    Send = Callable[[Secret, Notice, bytes | None], Awaitable[None]]

_BANNED_OPTIONS: Final = frozenset(
    {
        *("attach", "cto", "optional", "redirect", "retry", "rto", "verify", "wait"),
        *("pgp", "pgpprv", "pgppub", "template", "wkd"),  # they read files or other addresses
    }
)
_PUSHOVER_PRIORITIES: Final = {Priority.QUIET: -1, Priority.URGENT: 1}
_JSON_FIELDS: Final = (
    *("incident", "reason", "kind", "room", "floor", "building", "since", "priority", "link"),
)
_INERT: Final = str.maketrans("<>[]@*_~`|\\", "‹›()＠∗＿∼ˋ¦＼")
"""Look-alikes of the characters that chat services read as links, mentions or formatting."""
_STATUS: Final = re.compile(r"error[=:]\s*(\d{3})\b")
_RETRY_AFTER: Final = re.compile(
    r"retry_?after(?:Seconds)?\W{1,4}(\d{1,5}(?:\.\d+)?)", re.IGNORECASE
)
_MAX_RETRY_AFTER_S: Final = 900.0
_PICTURE: Final = {"name": "evidence.png", "mimetype": "image/png"}
_WORKBOOK: Final = {
    "name": "summary.xlsx",
    "mimetype": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
"""A report's attachment, sent in place of the picture."""
_AT_ONCE: Final = 4
"""Maximum concurrent sends per provider through Apprise, including abandoned sends."""
_MAX_RESPONSE_BYTES: Final = 65_536
"""Bytes read from each decompressed response; one send may read four times as many in all."""
_LOG: Final = logging.getLogger(__name__)


class Notifier(Protocol):
    """Delivers notices."""

    async def send(
        self, target: Secret, notice: Notice, *, timeout_s: float, picture: bytes | None = None
    ) -> None:
        """Deliver a notice, with its picture if accepted; raise `NotifyError` on failure."""

    def accepts_picture(self, target: Secret) -> bool:
        """Return whether the target accepts pictures."""

    def find_busy_channels(self) -> frozenset[str]:
        """Return the channels that cannot take another notice now."""


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """Where notices can go.

    `allow_private` allows this machine and its local network, even over plain HTTP, but never
    link-local addresses. `several` allows several recipients in one address.
    """

    allow_private: bool = False
    several: bool = False


class AppriseNotifier:
    """Delivers notices; `direct` maps schemes to senders that bypass Apprise."""

    def __init__(
        self, settings: NotifySettings | None = None, direct: Mapping[str, Send] | None = None
    ) -> None:
        self._settings = settings or NotifySettings()
        self._direct = {**dict.fromkeys(ntfy.SCHEMES, self._post_ntfy), **(direct or {})}
        self._threads: dict[str, BoundedThreads] = {}
        _prepare_apprise()

    def find_busy_channels(self) -> frozenset[str]:
        """Return the channels that cannot take another notice."""
        return frozenset(name for name, threads in self._threads.items() if threads.is_full)

    def accepts_picture(self, target: Secret) -> bool:
        """Return whether the service accepts a text and a picture in one request."""
        row = SERVICES.get(find_scheme(target))
        return row is not None and row.takes_picture

    async def send(
        self, target: Secret, notice: Notice, *, timeout_s: float, picture: bytes | None = None
    ) -> None:
        """Deliver a notice within `timeout_s` seconds.

        Raises PermanentNotifyError for a bad target or a refusal (4xx other than 408, 425 and 429),
        and TransientNotifyError otherwise, including when the channel has too many sends in
        progress.
        """
        picture = picture if self.accepts_picture(target) else None
        try:
            await self._send(target, notice, timeout_s, picture)
        except PermanentNotifyError as error:
            if picture is None or error.reason is not NotifyReason.REFUSED:
                raise
            channel = find_channel(target)
            _LOG.warning(
                "picture of incident %s refused by %s: %s", notice.incident, channel, error
            )
            await self._send(target, notice, timeout_s, None)

    async def _send(
        self, target: Secret, notice: Notice, timeout_s: float, picture: bytes | None
    ) -> None:
        scheme, channel = find_scheme(target), find_channel(target)
        if scheme in self._direct:
            send = self._direct[scheme]
            try:
                async with asyncio.timeout(timeout_s):
                    await send(target, notice, picture)
            except TimeoutError:
                reason = f"no complete answer in {timeout_s:g} s"
                raise TransientNotifyError(NotifyReason.TIMEOUT, reason) from None
            return
        if faults := check_target(target, self._settings):
            raise faults[0]
        threads = self._threads.setdefault(channel, BoundedThreads("notify", _AT_ONCE))
        try:
            await threads.run(
                lambda: _send(target, notice, picture, timeout_s, self._settings), timeout_s
            )
        except NotifyError:
            raise
        except BusyError as error:
            raise TransientNotifyError(NotifyReason.BUSY, str(error)) from None
        except DeadlineExceededError as error:
            raise TransientNotifyError(NotifyReason.TIMEOUT, str(error)) from None
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            raise TransientNotifyError(NotifyReason.LIBRARY, type(error).__name__) from None

    async def _post_ntfy(self, target: Secret, notice: Notice, picture: bytes | None) -> None:
        if faults := check_target(target, self._settings):
            raise faults[0]
        private = self._settings.allow_private
        await ntfy.send(_build_service(target.reveal()), notice, picture, allow_private=private)


@functools.cache
def _prepare_apprise() -> None:
    """Load Apprise's plug-ins, and keep its log private, because it contains addresses."""
    logger = logging.getLogger("apprise")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    with warnings.catch_warnings():
        # Apprise's mail plug-in imports a module that newer Python versions no longer have
        warnings.simplefilter("ignore", DeprecationWarning)
        apprise.Apprise.instantiate("json://localhost")  # loads all plug-ins, once
    for name in ("urllib3.connectionpool", "urllib3.util.retry", "urllib3.connection"):
        logging.getLogger(name).addFilter(lambda _record: _GUARD.reach is None)
    sys.addaudithook(_audit)
    socket.SocketIO.readinto = _limit_reading(socket.SocketIO.readinto)  # type: ignore[method-assign]
    requests.adapters.HTTPAdapter.build_response = _limit_response(  # type: ignore[method-assign]
        requests.adapters.HTTPAdapter.build_response
    )


class _Guard(threading.local):
    """What this thread is allowed to reach and read; `reach` is None if it is not sending."""

    reach: Reach | None = None
    refused = False
    deadline = 0.0
    unread_bytes = 0


_GUARD: Final = _Guard()


class _ForbiddenAddressError(OSError): ...


@contextlib.contextmanager
def _guard(reach: Reach, timeout_s: float) -> Iterator[_Guard]:
    """Check and limit this thread's connections; the guard records whether one was refused."""
    _GUARD.reach, _GUARD.refused = reach, False
    _GUARD.deadline, _GUARD.unread_bytes = time.monotonic() + timeout_s, 4 * _MAX_RESPONSE_BYTES
    try:
        yield _GUARD
    finally:
        _GUARD.reach = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect" or _GUARD.reach is None:
        return
    address = arguments[1]
    if not _GUARD.reach.permits(address[0] if isinstance(address, tuple) else None):
        _GUARD.refused = True
        raise _ForbiddenAddressError("address refused")
    if time.monotonic() > _GUARD.deadline:
        raise TimeoutError("timed out")


def _limit_reading(read: Callable[..., int | None]) -> Callable[..., int | None]:
    def readinto(file: socket.SocketIO, buffer: memoryview) -> int | None:
        size = read(file, buffer)
        if _GUARD.reach is not None:
            _GUARD.unread_bytes -= size or 0
            if time.monotonic() > _GUARD.deadline:
                raise TimeoutError("timed out")
            if _GUARD.unread_bytes < 0:
                raise OSError("response too long")
        return size

    return readinto


def _limit_response(build: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    def build_response(*given: Any) -> requests.Response:
        response = build(*given)
        if _GUARD.reach is not None:
            pieces = itertools.islice(response.iter_content(1024), _MAX_RESPONSE_BYTES // 1024)
            response._content = b"".join(pieces)  # noqa: SLF001 - or `content` reads without limit
        return response

    return build_response


def check_target(target: Secret, settings: NotifySettings | None = None) -> list[NotifyError]:
    """Return the faults that can be found without sending; they do not contain the address."""
    settings = settings or NotifySettings()
    _prepare_apprise()
    url = target.reveal()
    scheme = find_scheme(target)
    if scheme not in SERVICES or "://" not in url:
        allowed = ", ".join(sorted(SERVICES))
        is_ntfy = url.removeprefix("https://").startswith(("ntfy.", "ntfys"))
        near = "; did you mean 'ntfys://'?" if is_ntfy else suggest_name(scheme, SERVICES.keys())
        detail = f"use one of {allowed}{near}"
        return [PermanentNotifyError(NotifyReason.FORBIDDEN_SCHEME, detail)]
    details: list[str] = []
    parsed = parse_url(url, verify_host=False)  # type: ignore[no-untyped-call]
    options = (parsed or {}).get("qsd", {})
    banned = sorted(_BANNED_OPTIONS & options.keys())
    if banned:
        details.append(f"options that are not allowed: {', '.join(banned)}")
    server = re.split("[/?]", url.partition("://")[2])[0]
    if server.count("@") > 1 or re.search(r"[#\\\s]", server):  # parsers disagree on the server
        details.append("a #, \\, space or second @ before the path; write %23, %5C, %20, %40")
    service = _build_service(url)
    if service is None:
        details.append(f"not a complete {scheme} address")
    elif len(service) != 1 and not settings.several:
        details.append(f"{len(service)} recipients in one address; give each its own")
    faults: list[NotifyError] = [
        PermanentNotifyError(NotifyReason.BAD_TARGET, detail) for detail in details
    ]
    if service is not None and _is_plain(service, scheme) and not settings.allow_private:
        detail = (
            f"{scheme} is not encrypted, so it is allowed only for private addresses, and only if"
            " alerts.allow_private_targets is true"
        )
        faults.append(PermanentNotifyError(NotifyReason.FORBIDDEN_ADDRESS, detail))
    return faults


def find_server(target: Secret) -> tuple[str, int] | None:
    """Return the host and port of a target's server, or None if unknown."""
    _prepare_apprise()
    service = _build_service(target.reveal())
    if service is None:
        return None
    if find_scheme(target) in OWN_SERVERS and getattr(service, "mode", "") != "cloud":
        host = getattr(service, "smtp_host", None) or service.host
        return str(host), int(service.port or (443 if service.secure else 80))
    for name in ("cloud_notify_url", "notify_url"):
        parts = urlsplit(str(getattr(service, name, "") or ""))
        if parts.hostname:
            return parts.hostname, parts.port or 443
    return None


def _build_asset() -> apprise.AppriseAsset:
    return apprise.AppriseAsset(
        app_id="Plumewatch",
        app_desc="Plumewatch",
        app_url="",
        async_mode=False,
        http_redirects=False,
        service_timeout=0,
        storage_mode="memory",
        allow_templates=False,
        image_path_mask=False,
        image_url_mask="",
        image_url_logo="",
    )


def _build_service(url: str) -> Any:
    """Return Apprise's object for a target, or None if the address is malformed."""
    try:
        return apprise.Apprise.instantiate(url, asset=_build_asset(), suppress_exceptions=True)
    except Exception:  # noqa: BLE001 - a plug-in may raise anything on a malformed address
        return None


def _is_plain(service: Any, scheme: str) -> bool:
    if scheme not in OWN_SERVERS or getattr(service, "mode", "") == "cloud":
        return False
    return not service.secure or getattr(service, "secure_mode", "") == "insecure"


def _send(
    target: Secret,
    notice: Notice,
    picture: bytes | None,
    timeout_s: float,
    settings: NotifySettings,
) -> None:
    """Send a notice through Apprise; blocks, and raises `NotifyError` on failure."""
    scheme = find_scheme(target)
    title, body = render(notice, scheme)
    has_markup = SERVICES[scheme].has_markup
    if has_markup:
        text = body.removesuffix(notice.link)
        title, body = title.translate(_INERT), text.translate(_INERT) + body[len(text) :]
    service = _build_service(target.reveal())
    service.redirects = False
    service.request_rate_per_sec = 0  # no pause between a picture's upload and its message
    service.socket_connect_timeout = min(5.0, timeout_s)
    service.socket_read_timeout = min(10.0, timeout_s)
    _decorate(service, scheme, notice)
    box = apprise.Apprise(asset=_build_asset())
    box.add(service)
    urgent = notice.priority is not Priority.QUIET
    kind = apprise.NotifyType.WARNING if urgent else apprise.NotifyType.INFO
    attach, is_report = None, notice.reason is NoticeReason.REPORT
    if picture is not None:
        attach = apprise.AppriseAttachment(asset=_build_asset())
        attach.add(
            AttachMemory(  # type: ignore[no-untyped-call]
                content=picture, **(_WORKBOOK if is_report else _PICTURE)
            )
        )
    reach = Reach(settings.allow_private, private_only=_is_plain(service, scheme))
    with _guard(reach, timeout_s) as guard:
        result = box.notify(
            body=body,
            title=title,
            body_format=None if has_markup else apprise.NotifyFormat.TEXT,
            notify_type=kind,
            attach=attach,
            log_level=logging.DEBUG,
        )
    attempts = [a for r in result.results for a in r.attempts]
    if attempts and all(a.status == apprise.AppriseResultStatus.SUCCESS for a in attempts):
        return
    if guard.refused:
        raise PermanentNotifyError(
            NotifyReason.FORBIDDEN_ADDRESS, "the address is inside this network"
        )
    lines = (entry.message for r in result.results for entry in r.logs())
    raise _parse_error(lines)


def _decorate(service: Any, scheme: str, notice: Notice) -> None:
    if scheme in {"mailto", "mailtos"}:
        service.notify_format = apprise.NotifyFormat.TEXT  # HTML would collapse the line breaks
    elif scheme == "pover":
        service.priority = _PUSHOVER_PRIORITIES.get(notice.priority, 0)
        if notice.link:
            service.supplemental_url = notice.link
    elif scheme in {"json", "jsons"}:
        service.payload_extras = {**build_json_fields(notice), **service.payload_extras}


def build_json_fields(notice: Notice) -> dict[str, object]:
    """Return the fields that JSON addresses get in addition to title and text."""
    return {**{name: getattr(notice, name) for name in _JSON_FIELDS}, "site": notice.site_id}


def _parse_error(messages: Iterable[str]) -> NotifyError:
    """Build an error from Apprise's log lines, without copying their text."""
    status, retry_after, timed_out = 0, None, False
    for message in messages:
        timed_out = timed_out or "timed out" in message
        if found := _STATUS.search(message):
            status = int(found[1])
        if found := _RETRY_AFTER.search(message):
            retry_after = min(float(found[1]), _MAX_RETRY_AFTER_S)
    if not status:
        reason = NotifyReason.TIMEOUT if timed_out else NotifyReason.CONNECTION
        return TransientNotifyError(reason, "no answer")
    return build_status_error(status, retry_after)
