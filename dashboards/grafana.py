"""Push dashboards to a Grafana through its HTTP API.

Only differences are written. A dashboard that was moved to another folder stays there. What
somebody edited is overwritten, and remains among the versions that Grafana keeps of each dashboard.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from dashboards.queries import DATA_SOURCE_NAME, data_source_uid
from language.plain_text import clean
from storage.http_client import Reach, RefusedRequestError, RequestError, request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from storage.http_client import Answer

FOLDER_UID: Final = "plumewatch"
_FOLDER: Final = "Plumewatch"
_DEADLINE_S: Final = 60.0
_MOST_BYTES: Final = 32 << 20
"""Of an answer; a dashboard of ours has a tenth of a megabyte."""
_LATER: Final = frozenset({408, 429})
"""Status codes of a request to repeat later."""
_ANYWHERE: Final = Reach(allow_private=True)
"""Whoever runs the command names the server."""
_COUNTED: Final = frozenset({"id", "version"})
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
        self._url = url.rstrip("/")
        self._token = token

    def check(self) -> None:
        """Check that a Grafana answers, so that a later 404 means something is missing."""
        health = self._get("/health")
        if health is None or "database" not in health:
            raise self._is_no_grafana()

    def push(self, dashboards: Mapping[str, Mapping[str, Any]]) -> Iterator[Change]:
        """Write the folder and the dashboards that differ."""
        if self._get(f"/folders/{FOLDER_UID}") is None:
            self._request("POST", "/folders", {"title": _FOLDER, "uid": FOLDER_UID})
            yield Change("folder", "created")
        else:
            yield Change("folder", "unchanged")
        for name, wanted in dashboards.items():
            found = self._get(f"/dashboards/uid/{wanted['uid']}") or {}
            stored, what = found.get("dashboard", {}), f"dashboard {name}"
            differs = [*_differing(stored, wanted)]
            if not differs:
                yield Change(what, "unchanged")
                continue
            body = {
                "dashboard": {**wanted, "id": None},
                # where somebody may have moved it
                "folderUid": found.get("meta", {}).get("folderUid") or FOLDER_UID,
                "message": "plumewatch dashboards push",
                "overwrite": True,
            }
            self._request("POST", "/dashboards/db", body)
            yield Change(what, "changed", ", ".join(differs)) if stored else Change(what, "created")

    def data_source(self, wanted: DataSource | None, policy: str = "") -> Change:
        """Create or change the data source of a `policy`; with None only check that it exists.

        Raises `Refused` if None was given and it is missing.
        """
        listed = self._request("GET", "/datasources")
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise self._is_no_grafana()
        uid, what = data_source_uid(policy), f"data source {policy}".strip()
        there = next((d for d in listed if d.get("uid") == uid), None)
        if wanted is None:
            if there is None:
                raise Refused(
                    f"{self._url}: there is no data source {uid!r}: give the secret of"
                    " the account that may only read (--reader-file), or provision it"
                )
            return Change(what, "unchanged")
        body = wanted.body(policy)
        if there is None:
            self._request("POST", "/datasources", body)
            return Change(what, "created")
        # the secret cannot be read back, so it is always written; only the rest is a change
        differs = [k for k in ("url", "user", "jsonData") if there.get(k) != body[k]]
        self._request("PUT", f"/datasources/{there['id']}", body)
        return Change(what, "changed" if differs else "unchanged", ", ".join(differs))

    def _get(self, path: str) -> dict[str, Any] | None:
        """Return an object; None if there is none."""
        found = self._request("GET", path)
        if found is not None and not isinstance(found, dict):
            raise self._is_no_grafana()
        return found

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the decoded answer; None if there is nothing at the path."""
        try:
            answer = asyncio.run(
                request(
                    method,
                    f"{self._url}/api{path}",
                    _ANYWHERE,
                    body=None if body is None else json.dumps(body).encode(),
                    headers={
                        "Authorization": f"Bearer {self._token}",
                        "Content-Type": "application/json",
                    },
                    timeout_s=_DEADLINE_S,
                    most_bytes=_MOST_BYTES,
                )
            )
        except RefusedRequestError as error:
            raise Refused(f"{self._url}: {error}") from error
        except RequestError as error:
            raise Unreachable(f"{self._url}: {error}") from error
        return self._checked(answer)

    def _checked(self, answer: Answer) -> Any:
        status = answer.status
        if 300 <= status < 400:
            raise Unreachable(
                f"{self._url}: it leads to another address; give that of the Grafana itself"
            )
        if status >= 500:
            raise Unreachable(f"{self._url}: HTTP {status}")
        try:
            found = json.loads(answer.body)
        except ValueError as error:
            raise self._is_no_grafana() from error
        if status < 300:
            return found
        if status == 404:
            return None
        said = found.get("message", "") if isinstance(found, dict) else ""
        why = clean(f"HTTP {status} {said}".replace(self._token, "****"))[:300]
        raise (Unreachable if status in _LATER else Refused)(f"{self._url}: {why}")

    def _is_no_grafana(self) -> Unreachable:
        return Unreachable(f"{self._url}: what answers there is no Grafana")


def _differing(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Yield the titles of panels, and the other keys, that differ."""
    there, ours = (
        {panel.get("title", ""): panel for panel in body.get("panels", ())}
        for body in (stored, wanted)
    )
    yield from (title for title in {**ours, **there} if there.get(title) != ours.get(title))
    rest = {*stored, *wanted} - {"panels", *_COUNTED}
    yield from sorted(key for key in rest if stored.get(key) != wanted.get(key))
