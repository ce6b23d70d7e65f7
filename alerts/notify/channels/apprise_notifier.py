"""Deliver a notice to one channel of one person: ntfy directly, other services through apprise.

Properties of apprise that shape this module:

- one object throttles between sends, so each send gets a fresh object with one target;
- it follows redirects, so a public address could lead a POST to an internal one: switched off;
- its calls share one pool of threads; here each channel has its own (`storage.bounded_call`), so a
  hung provider delays only itself;
- it logs addresses, which are secrets: its log, and urllib3's during a send, are discarded;
- it returns no response headers: of the waits that providers ask for, only those in a body are
  known (Telegram, Discord).

Schemes are an allow-list. What is guarded: as the libraries below apprise make their connections,
an audit hook on ``socket.connect`` checks each address with the `Reach` of `storage.http_client`,
in threads inside `_guarded` alone. It sees the address itself, so neither another answer of the
resolver nor the number of requests of a plug-in matters. What is not: the size of an answer, and
its time beyond the deadline at which the caller stops waiting. Behind an HTTP proxy the proxy's
address counts.

Where text and picture are one request (`_ONE_REQUEST`), a provider that refuses it gets the text
alone, once, in the same attempt. Elsewhere the text is sent first and decides the outcome, so it is
never sent twice. After ntfy's daily quota is used up, an address gets nothing more until the next
day in UTC, and each notice goes to the person's next address at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import apprise
from apprise.attachment.memory import AttachMemory

from alerts.errors import NotifyError, NotifyReason, PermanentNotifyError, TransientNotifyError
from alerts.notify.channels import ntfy
from alerts.notify.notice import Priority, render
from alerts.notify.outbox import DAY_S
from alerts.notify.post import in_place
from alerts.routing.targets import SELF_HOSTED, channel_of, scheme_of, target_id
from storage.bounded_call import BoundedThreads, BusyError, DeadlineExceededError
from storage.http_client import Reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from alerts.notify.notice import Notice
    from alerts.secrets import Secret

SCHEMES: Final = SELF_HOSTED | frozenset(
    {"pover", "tgram", "slack", "discord", "twilio", "workflows", "gchat", "wxteams"}
)

_BANNED_OPTIONS: Final = frozenset(
    {"attach", "cto", "optional", "redirect", "retry", "rto", "verify", "wait"}
)
_PUSHOVER_PRIORITIES: Final = {Priority.QUIET: -1, Priority.URGENT: 1}
_JSON_FIELDS: Final = (
    *("incident", "reason", "kind", "room", "floor", "building", "since", "priority", "link"),
)
_STATUS: Final = re.compile(r"error[=:]\s*(\d{3})\b")
_RETRY_AFTER: Final = re.compile(
    r"retry_?after(?:Seconds)?\W{1,4}(\d{1,5}(?:\.\d+)?)", re.IGNORECASE
)
_MAX_RETRY_AFTER_S: Final = 900.0
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"(?:[!-~\xa0-\xff][\t -~\xa0-\xff]*)?")
_LINE: Final = re.compile(r"[^\x00-\x1f\x7f]*")
_ONE_REQUEST: Final = frozenset({"json", "jsons", "pover", "tgram", "mailto", "mailtos"})
"""Schemes with text and picture in one request."""
_LOG: Final = logging.getLogger(__name__)


class Notifier(Protocol):
    """Delivers notices."""

    async def send(
        self, target: Secret, notice: Notice, *, timeout_s: float, picture: bytes | None = None
    ) -> None:
        """Deliver a notice, with a PNG if the target takes one; raise NotifyError if it fails."""

    def takes_picture(self, target: Secret) -> bool:
        """Whether the target takes pictures."""

    def busy_channels(self) -> frozenset[str]:
        """Return the channels that take no further notice at the moment."""


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """Where notices may go, and how many sends at a time a provider gets.

    `allow_private` permits this machine and its network, with plain http; never link-local
    addresses. `several` permits several recipients in one address.
    """

    allow_private: bool = False
    several: bool = False
    threads_per_channel: int = 4


class AppriseNotifier:
    """Delivers notices to ntfy itself, and to other services through apprise."""

    def __init__(
        self, settings: NotifySettings | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings or NotifySettings()
        self._clock = clock
        self._used_up: dict[str, float] = {}
        self._threads: dict[str, BoundedThreads] = {}
        self._places: dict[str, asyncio.Semaphore] = {}
        self._picture_threads: dict[str, BoundedThreads] = {}
        _prepare_apprise()

    def __repr__(self) -> str:
        return f"AppriseNotifier({self._settings!r})"

    def restore_used_up(self, targets: Iterable[str]) -> None:
        """Send nothing more today to addresses whose quota was used up before a restart."""
        self._used_up.update(dict.fromkeys(targets, self._clock() // DAY_S))

    def busy_channels(self) -> frozenset[str]:
        """Return the channels that accept no further notice."""
        full = {name for name, threads in self._threads.items() if threads.full}
        return frozenset(full | {name for name, one in self._places.items() if one.locked()})

    def takes_picture(self, target: Secret) -> bool:
        """Whether the service behind a target takes attachments."""
        scheme = scheme_of(target)
        return scheme in SCHEMES and _attaches(_service(target.reveal()), scheme)

    async def send(
        self, target: Secret, notice: Notice, *, timeout_s: float, picture: bytes | None = None
    ) -> None:
        """Deliver a notice within `timeout_s` seconds.

        Raises PermanentNotifyError for a bad target or a refusal (4xx other than 408, 425 and 429),
        TransientNotifyError for all else, also when all threads of the channel are in use.
        """
        faults = _faults(target, self._settings)
        if faults:
            raise faults[0]
        day = self._clock() // DAY_S
        if self._used_up.get(target_id(target)) == day:
            raise PermanentNotifyError(NotifyReason.QUOTA, "the day's quota is used up")
        try:
            await self._send(target, notice, timeout_s, picture)
        except PermanentNotifyError as error:
            if error.reason is NotifyReason.QUOTA:
                self._used_up[target_id(target)] = day
                _LOG.error(
                    "%s: the day's quota is used up; notices go to the next addresses until the"
                    " next day in UTC",
                    channel_of(target),
                )
            raise

    async def _send(
        self, target: Secret, notice: Notice, timeout_s: float, picture: bytes | None
    ) -> None:
        if scheme_of(target) in ntfy.SCHEMES:
            most = asyncio.Semaphore(self._settings.threads_per_channel)
            places = self._places.setdefault(channel_of(target), most)
            await in_place(places, lambda: self._post_ntfy(target, notice, picture), timeout_s)
            return
        threads = self._threads_of(self._threads, target)
        call = _Call(target, notice, self._settings, timeout_s)
        if picture is None or not self.takes_picture(target):
            await send_bounded(threads, call.text, timeout_s)
        elif scheme_of(target) in _ONE_REQUEST:
            await send_bounded(threads, lambda: call.together(picture), timeout_s)
        else:
            await send_bounded(threads, call.text, timeout_s)
            with contextlib.suppress(BusyError):  # the picture is left out
                pictures = self._threads_of(self._picture_threads, target)
                pictures.start(lambda: call.picture_after(picture))

    async def _post_ntfy(self, target: Secret, notice: Notice, picture: bytes | None) -> None:
        address, private = _service(target.reveal()), self._settings.allow_private
        try:
            await ntfy.send(target, address, notice, picture, allow_private=private)
        except PermanentNotifyError as error:
            if picture is None or error.reason is not NotifyReason.REFUSED:
                raise
            _log_refusal(target, notice, error)
            await ntfy.send(target, address, notice, None, allow_private=private)

    def _threads_of(self, pool: dict[str, BoundedThreads], target: Secret) -> BoundedThreads:
        threads = BoundedThreads("notify", self._settings.threads_per_channel)
        return pool.setdefault(channel_of(target), threads)


async def send_bounded(threads: BoundedThreads, work: Callable[[], None], timeout_s: float) -> None:
    """Run a blocking send within `timeout_s` seconds.

    Raises the NotifyError of `work`, or ``LIBRARY``, ``BUSY`` and ``TIMEOUT``.
    """
    try:
        await threads.run(work, timeout_s)
    except NotifyError:
        raise
    except BusyError as error:
        raise TransientNotifyError(NotifyReason.BUSY, str(error)) from None
    except DeadlineExceededError as error:
        raise TransientNotifyError(NotifyReason.TIMEOUT, str(error)) from None
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
        raise TransientNotifyError(NotifyReason.LIBRARY, type(error).__name__) from None


@functools.cache
def _prepare_apprise() -> None:
    """Load its plug-ins and keep its log, which contains addresses, to its own capture."""
    logger = logging.getLogger("apprise")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    with warnings.catch_warnings():
        # its mail plug-in imports a module that Python has since dropped
        warnings.simplefilter("ignore", DeprecationWarning)
        apprise.Apprise.instantiate("json://localhost")  # loads all plug-ins, once
    for name in ("urllib3.connectionpool", "urllib3.util.retry", "urllib3.connection"):
        logging.getLogger(name).addFilter(lambda _record: _GUARD.reach is None)
    sys.addaudithook(_audit)


class _Guard(threading.local):
    """Where the current thread may connect to; None in threads that do not send."""

    reach: Reach | None = None
    refused = False


_GUARD: Final = _Guard()


class _ForbiddenAddressError(OSError): ...


@contextlib.contextmanager
def _guarded(reach: Reach) -> Iterator[_Guard]:
    """Check all connections of this thread inside; the guard says whether one was refused."""
    _GUARD.reach, _GUARD.refused = reach, False
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


def check_target(target: Secret, settings: NotifySettings | None = None) -> list[NotifyError]:
    """Return all faults of a target that show without sending, without any part of the address."""
    return _faults(target, settings or NotifySettings())


def _faults(target: Secret, settings: NotifySettings) -> list[NotifyError]:
    _prepare_apprise()
    url = target.reveal()
    scheme = scheme_of(target)
    if scheme not in SCHEMES or "://" not in url:
        allowed = ", ".join(sorted(SCHEMES))
        return [PermanentNotifyError(NotifyReason.FORBIDDEN_SCHEME, f"allowed are: {allowed}")]
    details: list[str] = []
    query = url.partition("?")[2]
    banned = sorted({k.lower() for k, _ in parse_qsl(query, True)} & _BANNED_OPTIONS)  # noqa: FBT003
    if banned:
        details.append(f"options that may not be set: {', '.join(banned)}")
    service = _service(url)
    if service is None:
        details.append(f"not a complete {scheme} address")
    elif len(service) != 1 and not settings.several:
        details.append(f"{len(service)} recipients in one address; give each its own")
    elif fault := _unsendable(url, scheme, service):
        details.append(fault)
    faults: list[NotifyError] = [
        PermanentNotifyError(NotifyReason.BAD_TARGET, detail) for detail in details
    ]
    if service is not None and _is_plain(service, scheme) and not settings.allow_private:
        detail = (
            f"{scheme} without encryption is for private addresses only;"
            " alerts.allow_private_targets allows those"
        )
        faults.append(PermanentNotifyError(NotifyReason.FORBIDDEN_ADDRESS, detail))
    return faults


def _unsendable(url: str, scheme: str, service: Any) -> str:
    """Return what of an address HTTP or SMTP cannot carry; empty if all of it can be sent."""
    if service.port is not None and not 0 < service.port < 65_536:
        return "a port that is not between 1 and 65535"
    mail = scheme in {"mailto", "mailtos"}
    if not _fit(getattr(service, "headers", None) or {}, _LINE if mail else _VALUE):
        return "a header (+Name=value) that cannot be sent: ASCII alone, on one line"
    charset = "ascii" if mail or scheme in ntfy.SCHEMES else "latin-1"
    tokens = (
        ""
        if mail or scheme in {"json", "jsons"}
        else unquote(url.partition("#")[0].partition("?")[0])
    )
    try:
        f"{service.user or ''}{service.password or ''}".encode(charset)
        tokens.encode("ascii")
    except UnicodeEncodeError:
        return "a user name, password or token that is not plain ASCII"
    return ""


def _fit(headers: Mapping[str, str | bytes], value: re.Pattern[str]) -> bool:
    texts = ((k, v.decode("latin-1") if isinstance(v, bytes) else v) for k, v in headers.items())
    return all(_NAME.fullmatch(k) and value.fullmatch(v) for k, v in texts)


def server_of(target: Secret) -> tuple[str, int] | None:
    """Return host and port behind a target; None if unknown."""
    _prepare_apprise()
    service = _service(target.reveal())
    if service is None:
        return None
    if scheme_of(target) in SELF_HOSTED and getattr(service, "mode", "") != "cloud":
        host = getattr(service, "smtp_host", None) or service.host
        return str(host), int(service.port or (443 if service.secure else 80))
    for name in ("cloud_notify_url", "notify_url"):
        parts = urlsplit(str(getattr(service, name, "") or ""))
        if parts.hostname:
            return parts.hostname, parts.port or 443
    return None


def _asset() -> apprise.AppriseAsset:
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


def _service(url: str) -> Any:
    """Return apprise's object for a target; None if the address is malformed."""
    try:
        return apprise.Apprise.instantiate(url, asset=_asset(), suppress_exceptions=True)
    except Exception:  # noqa: BLE001 - a plug-in may raise anything on a malformed address
        return None


def _is_plain(service: Any, scheme: str) -> bool:
    if scheme not in SELF_HOSTED or getattr(service, "mode", "") == "cloud":
        return False
    return not service.secure


def _attaches(service: Any, scheme: str) -> bool:
    if service is None or not service.attachment_support or scheme == "slack":
        return False  # Slack would show a file under an empty message of its own
    return scheme != "wxteams" or service.mode == "bot"  # its web hooks take text alone


@dataclass(frozen=True, slots=True)
class _Call:
    target: Secret
    notice: Notice
    settings: NotifySettings
    timeout_s: float

    def text(self) -> None:
        self._send(*render(self.notice, scheme_of(self.target)), None)

    def together(self, picture: bytes) -> None:
        """Send text and picture in one request; the text alone if that is refused."""
        title, body = render(self.notice, scheme_of(self.target))
        try:
            self._send(title, body, picture)
        except PermanentNotifyError as error:
            if error.reason is not NotifyReason.REFUSED:
                raise
            _log_refusal(self.target, self.notice, error)
            self._send(title, body, None)

    def picture_after(self, picture: bytes) -> None:
        try:
            self._send("", "", picture)
        except NotifyError as error:
            _log_refusal(self.target, self.notice, error)

    def _send(self, title: str, body: str, picture: bytes | None) -> None:
        scheme = scheme_of(self.target)
        service = _service(self.target.reveal())
        if service is None:
            raise PermanentNotifyError(NotifyReason.BAD_TARGET, f"not a complete {scheme} address")
        service.redirects = False
        service.request_rate_per_sec = 0  # an upload and its post are one notice, made once
        service.socket_connect_timeout = min(5.0, self.timeout_s)
        service.socket_read_timeout = min(10.0, self.timeout_s)
        _decorate(service, scheme, self.notice)
        box = apprise.Apprise(asset=_asset())
        box.add(service)
        urgent = self.notice.priority is not Priority.QUIET
        kind = apprise.NotifyType.WARNING if urgent else apprise.NotifyType.INFO
        attach = None
        if picture is not None:
            attach = apprise.AppriseAttachment(asset=_asset())
            attach.add(
                AttachMemory(  # type: ignore[no-untyped-call]
                    content=picture, name="evidence.png", mimetype="image/png"
                )
            )
        private = self.settings.allow_private
        with _guarded(Reach(private, private_only=_is_plain(service, scheme))) as guard:
            try:
                result = box.notify(
                    body=body, title=title, notify_type=kind, attach=attach, log_level=logging.DEBUG
                )
            except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
                raise TransientNotifyError(NotifyReason.LIBRARY, type(error).__name__) from None
        attempts = [a for r in result.results for a in r.attempts]
        if attempts and all(a.status == apprise.AppriseResultStatus.SUCCESS for a in attempts):
            return
        if guard.refused:
            raise PermanentNotifyError(
                NotifyReason.FORBIDDEN_ADDRESS, "the address is inside this network"
            )
        lines = (entry.message for r in result.results for entry in r.logs())
        raise _error_of(lines)


def _log_refusal(target: Secret, notice: Notice, error: NotifyError) -> None:
    channel = channel_of(target)
    _LOG.warning("picture of incident %s refused by %s: %s", notice.incident, channel, error)


def _decorate(service: Any, scheme: str, notice: Notice) -> None:
    if scheme == "pover":
        service.priority = _PUSHOVER_PRIORITIES.get(notice.priority, 0)
        if notice.link:
            service.supplemental_url = notice.link
    elif scheme in {"json", "jsons"}:
        service.payload_extras = {**json_fields(notice), **service.payload_extras}


def json_fields(notice: Notice) -> dict[str, object]:
    """Return what JSON addresses get of a notice beside title and text."""
    return {**{name: getattr(notice, name) for name in _JSON_FIELDS}, "site": notice.site_id}


def _error_of(messages: Iterable[str]) -> NotifyError:
    """Return the error that apprise's own log lines describe, without their text."""
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
    detail = f"HTTP {status}"
    if status == 429:
        return TransientNotifyError(NotifyReason.RATE_LIMITED, detail, retry_after_s=retry_after)
    if status >= 500 or status in {408, 425}:
        return TransientNotifyError(NotifyReason.SERVER_ERROR, detail, retry_after_s=retry_after)
    return PermanentNotifyError(NotifyReason.REFUSED, detail)
