"""Push dashboards to a Grafana through its HTTP API.

Only differences are written. A dashboard that someone moved to another folder stays there. Manual
edits are overwritten, but Grafana keeps them among each dashboard's versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from grafana_api.grafana_api import GrafanaClientError, GrafanaException
from grafana_api.grafana_face import GrafanaFace
from requests.exceptions import Timeout, TooManyRedirects

from dashboards.queries import make_source_uid
from language.messages import clean
from storage.bounded_call import BoundedCallError, BoundedThreads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dashboards.build import DataSource

FOLDER_UID: Final = "plumewatch"
_FOLDER: Final = "Plumewatch"
_TIMEOUT_S: Final = 15.0
_DEADLINE_S: Final = 60.0
"""Deadline of a request, up to the last byte of the response."""
_LATER: Final = frozenset({408, 429})
"""Status codes after which a later retry may work."""
_COUNTED: Final = frozenset({"id", "version"})


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
    """Grafana did not answer, another server answered, or the failure is temporary."""


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to `what`: created, changed (`detail` has the differences) or unchanged."""

    what: str
    outcome: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.outcome}{f' ({self.detail})' if self.detail else ''}"


class Grafana:
    """A Grafana server, accessed with a service account.

    The account needs the role Editor, or Admin to create the data source. Raises `ValueError` for
    an address that is not ``http[s]://host[:port][/path]``.
    """

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise ValueError("the address must not contain a name or password; use --token-file")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(
                f"{url!r} is not the address of a Grafana server; allowed: http[s]://host[:port]/path"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        path = parts.path.strip("/")
        self._url = url
        self._token = token
        self._threads = BoundedThreads("grafana", 4)
        self._face = GrafanaFace(
            auth=token,
            host=host,
            port=parts.port,
            url_path_prefix=f"{path}/" if path else "",
            protocol=parts.scheme,
            timeout=_TIMEOUT_S,
        )
        self._face.api.s.max_redirects = 0

    def check(self) -> None:
        """Check that Grafana itself answers, so that a later 404 means something is missing."""
        health = self._get(self._face.api.GET, "/health")
        if health is None or "database" not in health:
            raise self._make_wrong_server_error()

    def push(self, dashboards: Mapping[str, Mapping[str, Any]]) -> Iterator[Change]:
        """Create or update the folder and the dashboards that differ."""
        if self._get(self._face.folder.get_folder, FOLDER_UID) is None:
            self._request(dict, self._face.folder.create_folder, _FOLDER, FOLDER_UID)
            yield Change("folder", "created")
        else:
            yield Change("folder", "unchanged")
        for name, wanted in dashboards.items():
            found = self._get(self._face.dashboard.get_dashboard, wanted["uid"]) or {}
            stored, what = found.get("dashboard", {}), f"dashboard {name}"
            differs = [*_list_differences(stored, wanted)]
            if not differs:
                yield Change(what, "unchanged")
                continue
            body = {
                "dashboard": {**wanted, "id": None},
                # someone may have moved it
                "folderUid": found.get("meta", {}).get("folderUid") or FOLDER_UID,
                "message": "plumewatch dashboards push",
                "overwrite": True,
            }
            self._request(dict, self._face.dashboard.update_dashboard, body)
            yield Change(what, "changed", ", ".join(differs)) if stored else Change(what, "created")

    def apply_data_source(self, wanted: DataSource | None, policy: str = "") -> Change:
        """Create or change a policy's data source; if `wanted` is None, only check it.

        Raises `Refused` if `wanted` is None and the data source is missing.
        """
        listed = self._request(list, self._face.datasource.list_datasources)
        uid, what = make_source_uid(policy), f"data source {policy}".strip()
        there = next((d for d in listed if d.get("uid") == uid), None)
        if wanted is None:
            if there is None:
                raise Refused(
                    f"{self._url}: there is no data source {uid!r}: give the secret of"
                    " the account that may only read (--reader-file), or provision it"
                )
            return Change(what, "unchanged")
        body = wanted.to_json(policy)
        if there is None:
            self._request(dict, self._face.datasource.create_datasource, body)
            return Change(what, "created")
        # Grafana doesn't return the secret, so always write it; only other keys count as a change
        differs = [k for k in ("url", "user", "jsonData") if there.get(k) != body[k]]
        self._request(dict, self._face.datasource.update_datasource, there["id"], body)
        return Change(what, "changed" if differs else "unchanged", ", ".join(differs))

    def _get(self, call: Any, *given: Any) -> dict[str, Any] | None:
        """Request an object; None if there is none."""
        try:
            found: dict[str, Any] = self._request(dict, call, *given)
        except Refused as error:
            if isinstance(error.__cause__, GrafanaException) and error.__cause__.status_code == 404:
                return None
            raise
        return found

    def _request(self, kind: type[Any], call: Any, *given: Any) -> Any:
        """Request an object or a list of objects; translate the library's errors."""
        try:
            answer = self._threads.call(lambda: call(*given), _DEADLINE_S)
        except GrafanaClientError as error:
            said = error.response.get("message", "") if isinstance(error.response, dict) else ""
            why = clean(f"HTTP {error.status_code} {said}".replace(self._token, "****"))[:300]
            outcome = Unreachable if error.status_code in _LATER else Refused
            raise outcome(f"{self._url}: {why}") from error
        except GrafanaException as error:
            raise Unreachable(f"{self._url}: HTTP {error.status_code}") from error
        except TooManyRedirects as error:
            raise Unreachable(
                f"{self._url}: it redirects to another address; give the address of Grafana itself"
            ) from error
        except (Timeout, BoundedCallError) as error:
            raise Unreachable(f"{self._url}: no complete answer in time") from error
        except (ValueError, TypeError) as error:  # the library fails on unexpected JSON
            raise self._make_wrong_server_error() from error
        except OSError as error:
            raise Unreachable(f"{self._url}: cannot be reached") from error
        items = answer if isinstance(answer, list) else [answer]
        if not isinstance(answer, kind) or not all(isinstance(item, dict) for item in items):
            raise self._make_wrong_server_error()
        return answer

    def _make_wrong_server_error(self) -> Unreachable:
        return Unreachable(f"{self._url}: the server there is not Grafana")


def _list_differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Yield the panel titles and other keys that differ."""
    there, ours = (
        {panel.get("title", ""): panel for panel in body.get("panels", ())}
        for body in (stored, wanted)
    )
    yield from (title for title in {**ours, **there} if there.get(title) != ours.get(title))
    rest = {*stored, *wanted} - {"panels", *_COUNTED}
    yield from sorted(key for key in rest if stored.get(key) != wanted.get(key))
