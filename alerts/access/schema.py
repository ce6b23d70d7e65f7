"""Tables of access; for `storage.sqlite.migrate` as component ``"access"``."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from storage.sqlite import schema_scripts

if TYPE_CHECKING:
    import sqlite3

COMPONENT: Final = "access"
SCRIPTS: Final = schema_scripts(__package__, COMPONENT)


def hashed(token: str) -> bytes:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).digest()


def sites_to(sites: frozenset[str] | None) -> str | None:
    """Write names of sites as JSON, as tokens and screens store them; None stays."""
    return None if sites is None else json.dumps(sorted(sites))


def end_site(tx: sqlite3.Connection, site: str) -> int:
    """Take a removed site from tokens and screens; return how many were of it alone, and end."""
    ended = 0
    for table in ("api_token", "kiosk"):
        rows = tx.execute(f"SELECT id, sites FROM {table} WHERE sites IS NOT NULL").fetchall()  # noqa: S608 - names of ours
        for row in rows:
            sites = sites_from(row["sites"]) or frozenset()
            left = sites - {site}
            if left == sites:
                continue
            ended += not left
            sql = (
                "UPDATE {} SET sites = ?1 WHERE id = ?2" if left else "DELETE FROM {} WHERE id = ?2"
            )
            tx.execute(sql.format(table), (sites_to(left), row["id"]))
    return ended


def sites_from(stored: str | None) -> frozenset[str] | None:
    """Read what `sites_to` wrote."""
    return None if stored is None else frozenset(json.loads(stored))
