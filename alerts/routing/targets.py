"""Addresses of channels: their id in rows and logs, and the provider behind them."""

from __future__ import annotations

from typing import Final

from alerts.secrets import Secret

SELF_HOSTED: Final = frozenset(
    {"json", "jsons", "ntfy", "ntfys", "gotify", "gotifys", "mmost", "mmosts", "mailto", "mailtos"}
)
"""Schemes whose address names a server of one's own."""


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
    if name not in SELF_HOSTED:
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
