"""Tables of access; for `storage.sqlite.migrate` as component ``"access"``."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from storage.sqlite import load_scripts

COMPONENT: Final = "access"
SCRIPTS: Final = load_scripts(__package__, COMPONENT)


def hash_token(token: str) -> bytes:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).digest()


def encode_sites(sites: frozenset[str] | None) -> str | None:
    """Write ids of sites as JSON, as tokens and screens store them; None stays."""
    return None if sites is None else json.dumps(sorted(sites))


def decode_sites(stored: str | None) -> frozenset[str] | None:
    """Read what `encode_sites` wrote."""
    return None if stored is None else frozenset(json.loads(stored))
