"""Services that deliver notices, keyed by address scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from language.messages import mark

if TYPE_CHECKING:
    from collections.abc import Mapping


class Service(NamedTuple):
    """Name and limits of a service."""

    name: str
    words: str = ""
    """Name shown in incident histories, if different from `name`."""
    title: int = 120
    """Longest title, in characters."""
    body: int = 1000
    """Longest text, in characters."""
    takes_picture: bool = False
    """Whether text and picture can be sent in one request."""
    is_own_server: bool = False
    """Whether the address names the server, which can be the school's own."""
    has_markup: bool = False
    """Whether the service reads all text as markup, which Apprise doesn't escape."""


_NTFY: Final = Service("ntfy", mark("push"), body=600, takes_picture=True, is_own_server=True)
_MAIL: Final = Service("e-mail", mark("e-mail"), body=8000, takes_picture=True, is_own_server=True)
_HOOK: Final = Service("JSON", mark("webhook"), takes_picture=True, is_own_server=True)
_GOTIFY: Final = Service("Gotify", is_own_server=True)
_MATTERMOST: Final = Service("Mattermost", is_own_server=True, has_markup=True)

SERVICES: Final[Mapping[str, Service]] = {
    "ntfy": _NTFY,
    "ntfys": _NTFY,
    "pover": Service("Pushover", mark("push"), title=100, body=900, takes_picture=True),
    # title and body share the picture's caption, which is limited to 1024 characters
    "tgram": Service("Telegram", body=800, takes_picture=True),
    "slack": Service("Slack"),
    "discord": Service("Discord", has_markup=True),
    "workflows": Service("Teams", body=800, is_own_server=True, has_markup=True),
    "gchat": Service("Google Chat", has_markup=True),
    "wxteams": Service("Webex", has_markup=True),
    "twilio": Service("Twilio", mark("text message"), title=70, body=85),
    "mailto": _MAIL,
    "mailtos": _MAIL,
    "json": _HOOK,
    "jsons": _HOOK,
    "gotify": _GOTIFY,
    "gotifys": _GOTIFY,
    "mmost": _MATTERMOST,
    "mmosts": _MATTERMOST,
}
"""Accepted services, all supported by Apprise, keyed by address scheme."""
OWN_SERVERS: Final = frozenset(scheme for scheme, row in SERVICES.items() if row.is_own_server)
