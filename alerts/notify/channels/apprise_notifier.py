"""Deliver a notice to one channel of one person through apprise.

Properties of apprise that shape this module:

- one object throttles between sends, so each send gets a fresh object with one target;
- it follows redirects, so a public address could lead a POST to an internal one: switched off;
- its calls share one pool of threads; here each channel has its own (`storage.bounded_call`), so a
  hung provider delays only itself;
- it logs addresses, which are secrets: its log, and urllib3's during a send, are discarded;
- it returns no response headers: ``Retry-After`` is read where its HTTP library builds an answer,
  or from a body (Telegram, Discord).

The code 42908 of ntfy means that the day's quota is used up: the address gets nothing more until
the next day in UTC, and each notice goes to the person's next address at once.

Schemes are an allow-list, and `alerts.notify.guarded_http` checks each connection as it is made;
behind an HTTP proxy the proxy's address counts. Where text and picture are one request
(`_ONE_REQUEST`), a provider that refuses it gets the text alone, once, in the same attempt.
Elsewhere the text is sent first and decides the outcome, so it is never sent twice.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import re
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import apprise
from apprise.attachment.memory import AttachMemory
from requests.adapters import HTTPAdapter

from alerts.errors import NotifyError, NotifyReason, PermanentNotifyError, TransientNotifyError
from alerts.notify.answer_links import answer_of
from alerts.notify.channels.dry_run import fault_of_request, fault_of_service
from alerts.notify.guarded_http import guarded, keep_retry_after
from alerts.notify.notice import Priority, render, respond_words
from alerts.notify.outbox import DAY_S
from alerts.routing.targets import SELF_HOSTED, channel_of, scheme_of, target_id
from language.messages import _, in_context, speaking
from storage.bounded_call import BoundedThreads, BusyError, DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from alerts.notify.notice import Notice
    from alerts.secrets import Secret

SCHEMES: Final = SELF_HOSTED | frozenset(
    {"pover", "tgram", "slack", "discord", "twilio", "workflows", "gchat", "wxteams"}
)

_BANNED_OPTIONS: Final = frozenset(
    {"attach", "cto", "optional", "redirect", "retry", "rto", "verify", "wait"}
)
_PRIORITIES: Final = {
    Priority.QUIET: ("low", -1),
    Priority.NORMAL: ("default", 0),
    Priority.HIGH: ("high", 0),
    Priority.URGENT: ("max", 1),
}
_JSON_FIELDS: Final = (
    *("incident", "reason", "kind", "room", "floor", "building", "since", "priority", "link"),
)
_STATUS: Final = re.compile(r"error[=:]\s*(\d{3})(\d{2})?\b")
_NTFY_QUOTA: Final = ("429", "08")
_RETRY_AFTER: Final = re.compile(
    r"retry_?after(?:Seconds)?\W{1,4}(\d{1,5}(?:\.\d+)?)", re.IGNORECASE
)
_MAX_RETRY_AFTER_S: Final = 900.0
_ONE_REQUEST: Final = frozenset(
    {"json", "jsons", "ntfy", "ntfys", "pover", "tgram", "mailto", "mailtos"}
)
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
    """Delivers notices through apprise."""

    def __init__(
        self, settings: NotifySettings | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings or NotifySettings()
        self._clock = clock
        self._used_up: dict[str, float] = {}
        self._threads: dict[str, BoundedThreads] = {}
        self._picture_threads: dict[str, BoundedThreads] = {}
        _prepare_apprise()

    def __repr__(self) -> str:
        return f"AppriseNotifier({self._settings!r})"

    def restore_used_up(self, targets: Iterable[str]) -> None:
        """Send nothing more today to addresses whose quota was used up before a restart."""
        self._used_up.update(dict.fromkeys(targets, self._clock() // DAY_S))

    def busy_channels(self) -> frozenset[str]:
        """Return the channels whose threads are all in use."""
        return frozenset(name for name, threads in self._threads.items() if threads.full)

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
    build = HTTPAdapter.build_response

    def build_response(self: HTTPAdapter, request: Any, answer: Any) -> Any:
        keep_retry_after(answer.headers.get("Retry-After"))
        return build(self, request, answer)

    HTTPAdapter.build_response = build_response  # type: ignore[method-assign, assignment]


def check_target(target: Secret, settings: NotifySettings | None = None) -> list[NotifyError]:
    """Return all faults of a target that show without sending, without any part of the address."""
    faults = _faults(target, settings or NotifySettings())
    if not faults and (fault := fault_of_request(_service(target.reveal()))):
        faults.append(PermanentNotifyError(NotifyReason.BAD_TARGET, fault))
    return faults


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
    elif fault := fault_of_service(service):
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
            self._log_refusal(error)
            self._send(title, body, None)

    def picture_after(self, picture: bytes) -> None:
        try:
            self._send("", "", picture)
        except NotifyError as error:
            self._log_refusal(error)

    def _log_refusal(self, error: NotifyError) -> None:
        incident, channel = self.notice.incident, channel_of(self.target)
        _LOG.warning("picture of incident %s refused by %s: %s", incident, channel, error)

    def _send(self, title: str, body: str, picture: bytes | None) -> None:
        scheme = scheme_of(self.target)
        service = _service(_with_buttons(self.target.reveal(), scheme, self.notice))
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
        with guarded(
            allow_private=self.settings.allow_private, private_only=_is_plain(service, scheme)
        ) as guard:
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
        failure = _error_of(lines, guard.retry_after_s)
        if failure.reason is NotifyReason.CONNECTION and (fault := fault_of_request(service)):
            raise PermanentNotifyError(NotifyReason.BAD_TARGET, fault)
        raise failure


def _with_buttons(url: str, scheme: str, notice: Notice) -> str:
    """Add the buttons of a notice to an ntfy address (docs.ntfy.sh/publish/#action-buttons)."""
    address, token = answer_of(notice.link)
    if scheme not in {"ntfy", "ntfys"} or not token:
        return url
    with speaking(notice.language):
        respond, decline = respond_words(notice.kind), _("I can't go")
        show = in_context("button", "Open")
    posts = [
        {
            "action": "http",
            "label": label,
            "url": f"{address}{path}",
            "method": "POST",
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
            "body": urlencode({"token": token, "via": "ntfy"}),
            "clear": False,  # the notice is the way to the page, where the finding is reported
        }
        for label, path in ((respond, ""), (decline, "/decline"))
    ]
    view = {"action": "view", "label": show, "url": notice.link}
    actions = json.dumps([*posts, view], separators=(",", ":"))
    return f"{url}{'&' if '?' in url else '?'}actions={quote(actions, safe='')}"


def _decorate(service: Any, scheme: str, notice: Notice) -> None:
    ntfy, pushover = _PRIORITIES[notice.priority]
    if scheme in {"ntfy", "ntfys"}:
        service.priority = ntfy
        service.click = notice.link or None
    elif scheme == "pover":
        service.priority = pushover
        if notice.link:
            service.supplemental_url = notice.link
    elif scheme in {"json", "jsons"}:
        service.payload_extras = {**json_fields(notice), **service.payload_extras}


def json_fields(notice: Notice) -> dict[str, object]:
    """Return what JSON addresses get of a notice beside title and text."""
    return {**{name: getattr(notice, name) for name in _JSON_FIELDS}, "site": notice.site_id}


def _error_of(messages: Iterable[str], retry_after: float | None = None) -> NotifyError:
    """Return the error that apprise's own log lines describe, without their text."""
    status, quota = 0, False
    timed_out = False
    for message in messages:
        timed_out = timed_out or "timed out" in message
        if found := _STATUS.search(message):
            status, quota = int(found[1]), found.groups() == _NTFY_QUOTA
        if found := _RETRY_AFTER.search(message):
            retry_after = min(float(found[1]), _MAX_RETRY_AFTER_S)
    if not status:
        reason = NotifyReason.TIMEOUT if timed_out else NotifyReason.CONNECTION
        return TransientNotifyError(reason, "no answer")
    detail = f"HTTP {status}"
    if quota:
        return PermanentNotifyError(NotifyReason.QUOTA, "the day's quota is used up")
    if status == 429:
        return TransientNotifyError(NotifyReason.RATE_LIMITED, detail, retry_after_s=retry_after)
    if status >= 500 or status in {408, 425}:
        return TransientNotifyError(NotifyReason.SERVER_ERROR, detail, retry_after_s=retry_after)
    return PermanentNotifyError(NotifyReason.REFUSED, detail)
