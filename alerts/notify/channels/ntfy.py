"""Post to ntfy directly: text, picture and buttons in one request (docs.ntfy.sh/publish).

Error code 42908 means that the daily quota is used up. Buttons and link contain the token of a
personal link. They are sent as headers, because servers log URLs.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from alerts.errors import NotifyReason, PermanentNotifyError
from alerts.notify.notice import Priority, render, write_respond_label
from alerts.notify.outbox import parse_answer_link
from alerts.notify.post import post, raise_for_status
from language.messages import _, in_context, use_language

if TYPE_CHECKING:
    from alerts.notify.notice import Notice

SCHEMES: Final = frozenset({"ntfy", "ntfys"})
_CLOUD: Final = "https://ntfy.sh"
_PRIORITIES: Final = {
    Priority.QUIET: "low",
    Priority.NORMAL: "default",
    Priority.HIGH: "high",
    Priority.URGENT: "max",
}
_QUOTA_CODE: Final = 42_908


async def send(address: Any, notice: Notice, picture: bytes | None, *, allow_private: bool) -> None:
    """Post a notice to the topics of an address that Apprise has parsed."""
    title, text = render(notice, "ntfy")
    server, headers = _build_server(address), _build_headers(address, notice)
    for topic in address.topics:
        if picture is None:
            content = {"topic": topic, "title": title, "message": text}
            url, body = server, json.dumps(content).encode()
            headers["Content-Type"] = "application/json"
        else:
            shown = {"title": title, "message": text, "filename": "evidence.png"}
            url, body = f"{server}/{topic}?{urlencode(shown)}", picture
        answer = await post(url, body, headers, allow_private=allow_private)
        if _read_code(answer.body) == _QUOTA_CODE:
            raise PermanentNotifyError(NotifyReason.QUOTA, "the daily quota is used up")
        raise_for_status(answer)


def _build_server(address: Any) -> str:
    if address.mode == "cloud":
        return _CLOUD
    host = f"[{address.host}]" if ":" in address.host else address.host
    port = f":{address.port}" if address.port else ""
    return f"http{'s' if address.secure else ''}://{host}{port}"


def _build_headers(address: Any, notice: Notice) -> dict[str, str]:
    headers = {"X-Priority": _PRIORITIES[notice.priority]}
    if address.auth == "token" and address.token:
        headers["Authorization"] = f"Bearer {address.token}"
    elif address.user:
        pair = f"{address.user}:{address.password or ''}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    if notice.link:
        headers["X-Click"] = notice.link
    if buttons := _build_buttons(notice):
        headers["X-Actions"] = json.dumps(buttons)
    return headers


def _build_buttons(notice: Notice) -> list[dict[str, Any]]:
    address, token = parse_answer_link(notice.link)
    if not token:
        return []
    with use_language(notice.language):
        respond, decline = write_respond_label(notice.kind), _("I can't go")
        show = in_context("button", "Open")
    posts = [
        {
            "action": "http",
            "label": label,
            "url": f"{address}{path}",
            "method": "POST",
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
            "body": urlencode({"token": token, "via": "ntfy"}),
            "clear": False,  # keep the notice: it links to the page for reporting what was found
        }
        for label, path in ((respond, ""), (decline, "/decline"))
    ]
    return [*posts, {"action": "view", "label": show, "url": notice.link}]


def _read_code(body: bytes) -> object:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found.get("code") if isinstance(found, dict) else None
