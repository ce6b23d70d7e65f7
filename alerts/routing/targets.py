"""Addresses of channels: their id in rows and logs, and the provider behind them."""

from __future__ import annotations

from typing import Final

from alerts.secrets import Secret
from language.messages import Words, mark

SELF_HOSTED: Final = frozenset(
    {"json", "jsons", "ntfy", "ntfys", "gotify", "gotifys", "mmost", "mmosts", "mailto", "mailtos"}
)
"""Schemes whose address names a server of one's own."""
_CHANNELS: Final = Words(
    {
        "page": mark("staff page"),
        "link": mark("link"),
        "ntfy": mark("push"),
        "ntfys": mark("push"),
        "pover": mark("push"),
        "mailto": mark("e-mail"),
        "mailtos": mark("e-mail"),
        "tgram": mark("Telegram"),
        "twilio": mark("text message"),
        "webpush": mark("push"),
        "workflows": mark("Teams"),
        "json": mark("web hook"),
        "jsons": mark("web hook"),
        "http": mark("web hook"),
        "https": mark("web hook"),
    }
)


def scheme_of(target: Secret) -> str:
    """Return the scheme of an address in lower case."""
    return target.reveal().partition("://")[0].lower()


def target_id(target: Secret) -> str:
    """Name an address in rows and logs without revealing it: scheme and fingerprint.

    >>> target_id(Secret("ntfys://ntfy.example/restrooms"))
    'ntfys-7acde264aa74'
    """
    scheme = scheme_of(target)
    valid = "://" in target.reveal() and scheme.isalnum() and len(scheme) <= 16
    return f"{scheme if valid else 'invalid'}-{target.fingerprint()}"


def channel_of(target: Secret) -> str:
    """Name the provider behind an address: a cloud service, or one's own server by fingerprint."""
    name = scheme_of(target)
    if name not in SELF_HOSTED | {"http", "https"}:
        return target_id(target).partition("-")[0]
    server = (
        target.reveal()
        .partition("://")[2]
        .partition("/")[0]
        .partition("?")[0]
        .rpartition("@")[2]
        .lower()
    )
    return f"{name}-{Secret(server or name).fingerprint()[:6]}"


def channel_text(channel: str) -> str:
    """Write a channel for people, without the fingerprint of its server.

    >>> channel_text("ntfy-729d05"), channel_text("mailtos-1a2b3c"), channel_text("link")
    ('push', 'e-mail', 'link')
    """
    scheme = channel.partition("-")[0]
    return _CHANNELS.get(scheme, channel)
