"""Push dashboards to a Grafana through its HTTP API; only differences are written.

Grafana keeps every version of a dashboard, so nothing that somebody changed by hand is lost. One
that was moved to another folder stays there.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from dashboards.queries import DATA_SOURCE_NAME, data_source_uid
from reports.drawing import clean
from storage.http_client import Reach, RequestError, request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER_UID: Final = "plumewatch"
_ANYWHERE: Final = Reach(allow_private=True)
_TIMEOUT_S: Final = 60.0
_MOST_BYTES: Final = 32 << 20
_LATER: Final = frozenset({408, 429})
"""Status codes of a request to repeat later."""
_THEIRS: Final = frozenset({"id", "version"})
"""Keys that Grafana counts by itself."""


class GrafanaError(Exception):
    """A failed request.

    ::

        GrafanaError
        +-- Refused         permanent: the same request would fail again
        +-- Unreachable     transient
    """


class Refused(GrafanaError):  # noqa: N818 - the outcome, as everywhere
    """Grafana rejected the request."""


class Unreachable(GrafanaError):  # noqa: N818
    """No answer, an answer of something else, or a temporary failure."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change; `outcome` is ``created``, ``changed`` or ``unchanged``, `detail` says of what."""

    what: str
    outcome: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.outcome}{f' ({self.detail})' if self.detail else ''}"


@dataclass(frozen=True, slots=True)
class DataSource:
    """The time series, through a read-only account."""

    url: str
    database: str
    user: str
    password: str

    def body(self, policy: str) -> dict[str, Any]:
        """Return the body for Grafana's API; a `policy` is a database of an InfluxDB 3."""
        database = f"{self.database}/{policy}" if policy else self.database
        return {
            "uid": data_source_uid(policy),
            "name": f"{DATA_SOURCE_NAME} {policy}".strip(),
            "type": "influxdb",
            "access": "proxy",
            "url": self.url,
            "user": self.user,
            "jsonData": {"dbName": database, "httpMode": "POST", "timeInterval": "5s"},
            "secureJsonData": {"password": self.password},
        }


class Grafana:
    """One Grafana, through a service account.

    Its role is Editor, or Admin to create the data source. Raises `ValueError` for an address
    that is not ``http[s]://host[:port][/path]``.
    """

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise ValueError("the address must hold no name and password; give --token-file")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(
                f"{url!r} is no address of a Grafana; allowed: http[s]://host[:port]/path"
            )
        self._url = url
        self._token = token

    def check(self) -> None:
        """Check that a Grafana answers, so that a later 404 means something is missing."""
        if "database" not in (self._request("GET", "health") or {}):
            raise Unreachable(f"{self._url}: what answers there is no Grafana")

    def push(self, dashboards: Mapping[str, Mapping[str, Any]]) -> Iterator[Change]:
        """Write the folder and the dashboards that differ."""
        folder = {"uid": FOLDER_UID, "title": "Plumewatch"}
        if self._request("GET", f"folders/{FOLDER_UID}") is None:
            self._request("POST", "folders", folder)
            yield Change("folder", "created")
        else:
            yield Change("folder", "unchanged")
        for name, wanted in dashboards.items():
            found = self._request("GET", f"dashboards/uid/{wanted['uid']}") or {}
            stored = found.get("dashboard", {})
            differs = [*_differing(stored, wanted)]
            if differs:
                body = {
                    "dashboard": {**wanted, "id": None},
                    "folderUid": found.get("meta", {}).get("folderUid") or FOLDER_UID,
                    "message": "plumewatch dashboards push",
                    "overwrite": True,
                }
                self._request("POST", "dashboards/db", body)
            yield _change(f"dashboard {name}", stored, differs)

    def data_source(self, wanted: DataSource | None, policy: str = "") -> Change:
        """Create or change the data source of a `policy`; with None only check that it exists.

        Raises `Refused` if None was given and it is missing.
        """
        uid, what = data_source_uid(policy), f"data source {policy}".strip()
        there = self._request("GET", f"datasources/uid/{uid}")
        if wanted is None:
            if there is None:
                raise Refused(
                    f"{self._url}: there is no data source {uid!r}: give the secret of"
                    " the account that may only read (--reader-file), or provision it"
                )
            return Change(what, "unchanged")
        body = wanted.body(policy)
        if there is None:
            self._request("POST", "datasources", body)
            return Change(what, "created")
        # the secret cannot be read back, so it is always written; only the rest is a change
        self._request("PUT", f"datasources/uid/{uid}", body)
        return _change(what, there, [k for k in ("url", "user", "jsonData") if there[k] != body[k]])

    def _request(self, method: str, path: str, body: object = None) -> dict[str, Any] | None:
        """Return the object that Grafana answers; None if there is none of this name."""
        url = f"{self._url.rstrip('/')}/api/{path}"
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        asked = request(
            method,
            url,
            _ANYWHERE,
            body=sent,
            headers=headers,
            timeout_s=_TIMEOUT_S,
            most_bytes=_MOST_BYTES,
        )
        try:
            answer = asyncio.run(asked)
        except RequestError as error:
            raise Unreachable(f"{self._url}: {error}") from error
        if answer.status == 404:
            return None
        if 300 <= answer.status < 400:
            raise Unreachable(
                f"{self._url}: it leads to another address; give that of the Grafana itself"
            )
        try:
            found = json.loads(answer.body)
        except ValueError:
            found = None
        if answer.status >= 400:
            said = found.get("message", "") if isinstance(found, dict) else ""
            why = clean(f"HTTP {answer.status} {said}".replace(self._token, "****"))[:300]
            is_transient = answer.status >= 500 or answer.status in _LATER
            raise (Unreachable if is_transient else Refused)(f"{self._url}: {why}")
        if not isinstance(found, dict):
            raise Unreachable(f"{self._url}: what answers there is no Grafana")
        return found


def _change(what: str, stored: Mapping[str, Any], differs: list[str]) -> Change:
    outcome = "created" if not stored else "changed" if differs else "unchanged"
    return Change(what, outcome, ", ".join(differs) if stored else "")


def _differing(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Yield the titles of panels, and the other keys, that differ."""
    there, ours = (
        {panel.get("title", ""): panel for panel in body.get("panels", ())}
        for body in (stored, wanted)
    )
    yield from (title for title in {**ours, **there} if there.get(title) != ours.get(title))
    rest = {*stored, *wanted} - {"panels", *_THEIRS}
    yield from sorted(key for key in rest if stored.get(key) != wanted.get(key))
