"""HTTP to an InfluxDB of any generation.

The generation is requested once (``/ping``, then ``/health``) and decides the write path, the names
of its parameters, and how the secret is sent (`Dialect`). Everything is read through InfluxQL on
``/query``, which 1.x and 3 have and 2.x answers for every bucket of a name by virtual mapping.
What answers mean: `storage.timeseries.influx_answers`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec

from storage.bounded_call import BoundedCallError, BoundedThreads, ahead_s_of, retry_after_s
from storage.errors import BatchRefusedError, StorageUnavailableError
from storage.timeseries.influx_answers import (
    REFUSED,
    Meaning,
    meaning_of,
    message_in,
    refused_lines,
    sentence,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TIMEOUT_MS: Final = (5_000, 30_000)
_DEADLINE_S: Final = 60.0
"""For a request up to the last byte of its answer."""
_THREADS: Final = 8
_IMPORTING: Final = threading.Lock()
"""Two threads that import the client library at once find parts of it missing."""
_SKEW_S: Final = 60.0
_UNITS: Final = ((86_400, "days"), (3600, "h"), (60, "min"))


@dataclass(frozen=True, slots=True)
class InfluxSettings:
    """Where the series is kept.

    `database` is the bucket of 2.x, which also needs `org`. With a `username` (1.x), `secret` is
    the password, else a token; empty where none is needed. `ca_file` replaces the system's
    certificates.
    """

    url: str
    database: str = "plumewatch"
    org: str = ""
    username: str = ""
    secret: str = field(default="", repr=False)
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between the generations."""

    name: str
    write_path: str
    database_key: str
    holds: str


DIALECTS: Final = {
    1: Dialect("InfluxDB 1.x", "/write", "db", "database"),
    2: Dialect("InfluxDB 2.x", "/api/v2/write", "bucket", "bucket"),
    3: Dialect("InfluxDB 3", "/api/v3/write_lp", "db", "database"),
}


@dataclass(frozen=True, slots=True)
class Server:
    """What answered: its version as it reports it, and its dialect."""

    version: str
    major: int

    @property
    def dialect(self) -> Dialect:
        """What differs in its generation."""
        return DIALECTS[self.major]


def quoted(text: str) -> str:
    r"""Write a string into an InfluxQL statement.

    >>> print(quoted("it's a \\"))
    'it\'s a \\'
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


class InfluxHttp:
    """Requests to one server through the client library; safe from many threads.

    `skew_s` is how far the server's clock is ahead of ours, to the second.
    """

    def __init__(self, settings: InfluxSettings) -> None:
        self.settings = settings
        parts = urlsplit(settings.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError("the URL of InfluxDB must be http[s]://host[:port], without a user")
        self._client: Any = None
        self._server: Server | None = None
        self._holds = "database"
        self._threads = BoundedThreads("influx", _THREADS)
        self.skew_s = 0.0

    def close(self) -> None:
        """Let go of the connections; safe to call twice."""
        self._client = None

    def server(self) -> Server:
        """Return what the server is; it is asked once.

        Raises `StorageUnavailableError` if it does not answer, or is no InfluxDB of a known
        generation.
        """
        if self._server is None:
            self._server = self._probe()
            self._holds = self._server.dialect.holds
        return self._server

    def check_connection(self) -> str:
        """Check version, database and rights without writing; return what the server is.

        Raises `StorageUnavailableError` with what is wrong.
        """
        self._server = None
        server = self.server()
        self.check_write()
        self.query('SELECT "received" FROM "reading" LIMIT 1')
        dialect, name = server.dialect, self.settings.database
        return (
            f"{self.settings.url} is {dialect.name} ({server.version}); {dialect.holds} {name!r}"
            f" accepts readings and answers queries{self.clock_difference()}"
        )

    def clock_difference(self) -> str:
        """Say how far the server's clock is off; empty if it agrees with ours to a minute."""
        off = abs(self.skew_s)
        if off < _SKEW_S:
            return ""
        size, unit = next((size, unit) for size, unit in _UNITS if off >= size)
        where = "ahead of" if self.skew_s > 0 else "behind"
        return f"; its clock is {off / size:.0f} {unit} {where} ours: set one of them right"

    def write(self, lines: bytes, policy: str = "") -> None:
        """Send lines to a retention policy (1.x) or to the database ``NAME/policy`` (2.x and 3).

        Raises `StorageUnavailableError` or `BatchRefusedError`.
        """
        server, name = self.server(), self.settings.database
        dialect = server.dialect
        if policy and server.major > 1:
            name = f"{name}/{policy}"
        query = {dialect.database_key: name, "precision": "ns"}
        if policy and server.major == 1:
            query["rp"] = policy
        if server.major == 2:
            query["org"] = self.settings.org
        if server.major == 3:
            query |= {"precision": "nanosecond", "accept_partial": "true"}
        self._call("POST", dialect.write_path, query, lines, "text/plain; charset=utf-8")

    def place(self, measurement: str, policy: str) -> str:
        """Write a measurement of a retention policy into a statement, which `query` is told too."""
        if not policy or self.server().major == 3:
            return f'"{measurement}"'
        return f'"{self.settings.database}"."{policy}"."{measurement}"'

    def query(
        self, statement: str, policy: str = "", *, change: bool = False
    ) -> list[dict[str, Any]]:
        """Return the series that an InfluxQL statement finds; times are nanoseconds.

        An InfluxDB 3 finds nothing by ``"policy"."measurement"``: each database is asked under its
        own name.
        """
        name = self.settings.database
        if policy and self.server().major == 3:
            name = f"{name}/{policy}"
        query = {"db": name, "epoch": "ns"}
        try:
            if change:  # in the body, as it may hold a password
                form = urlencode({"q": statement}).encode()
                kind = "application/x-www-form-urlencoded; charset=utf-8"
                status, _, body = self._call("POST", "/query", query, form, kind)
            else:
                status, _, body = self._call("GET", "/query", {**query, "q": statement})
        except BatchRefusedError as error:
            raise StorageUnavailableError(str(error), meaning=error.meaning) from error
        try:
            results = [dict(result) for result in msgspec.json.decode(body)["results"]]
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise StorageUnavailableError(
                f"{self.settings.url}: /query does not answer as InfluxDB does ({status})"
            ) from error
        if message := message_in(body):
            self.server()  # its generation says what a refusal means
            raise self._refusal(status, message)
        return [series for result in results for series in result.get("series", ())]

    def request(
        self, method: str, path: str, query: Mapping[str, str], body: object = None
    ) -> dict[str, Any]:
        """Call the JSON interface of 2.x and 3."""
        _, _, answer = self._call(method, path, query, body, "application/json")
        return msgspec.json.decode(answer, type=dict[str, Any]) if answer.strip() else {}

    def found(self, path: str, query: Mapping[str, str], key: str) -> list[dict[str, Any]]:
        """Return the items that the JSON interface of 2.x finds."""
        items: list[dict[str, Any]] = self.request("GET", path, query).get(key) or []
        return items

    def databases(self) -> list[str]:
        """Return the names of the databases of an InfluxDB 3."""
        query = {"format": "json", "show_deleted": "false"}
        _, _, answer = self._call("GET", "/api/v3/configure/database", query)
        try:
            found = msgspec.json.decode(answer, type=list[dict[str, str]])
            return [name for row in found for name in row.values()]
        except msgspec.MsgspecError as error:
            raise StorageUnavailableError(
                f"{self.settings.url} does not say which databases it has"
            ) from error

    def check_write(self) -> None:
        """Check that writing would be allowed, without writing anything.

        An InfluxDB 3 makes the database for an empty write too, and without retention, so it is
        asked first which ones there are.
        """
        name = self.settings.database
        if self.server().major == 3 and name not in self.databases():
            raise self._refusal(404, "")
        try:
            self.write(b"\n")
        except BatchRefusedError as error:
            if error.meaning != Meaning.EMPTY:
                raise StorageUnavailableError(str(error)) from error

    def _probe(self) -> Server:
        _, headers, body = self._call("GET", "/ping", {})
        self.skew_s = ahead_s_of(_header(headers, "Date"), time.time()) or 0.0
        version = _header(headers, "X-Influxdb-Version") or _version_in(body)
        if not version:
            _, _, body = self._call("GET", "/health", {})
            version = _version_in(body)
        number = version.lstrip("v").split(".", 1)[0]
        if not number.isdecimal() or int(number) not in DIALECTS:
            raise StorageUnavailableError(
                f"{self.settings.url} answers, but is no InfluxDB 1, 2 or 3"
                + (f" (it reports version {version[:40]!r})" if version else "")
            )
        return Server(version[:40], int(number))

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: object = None,
        content_type: str = "application/octet-stream",
    ) -> tuple[int, Sequence[tuple[str, str]], bytes]:
        import urllib3  # noqa: PLC0415 - only who uses it pays for it

        with _IMPORTING:
            from influxdb_client.rest import ApiException  # noqa: PLC0415

        headers = {"Content-Type": content_type}

        def exchange() -> tuple[int, Sequence[tuple[str, str]], bytes]:
            found = self._opened().call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params=headers,
                body=body,
                _preload_content=False,
                _return_http_data_only=True,
            )
            return found.status, list(found.headers.items()), found.data

        try:
            return self._threads.call(exchange, _DEADLINE_S)
        except ApiException as error:
            raise self._translated(error) from error
        except (urllib3.exceptions.HTTPError, BoundedCallError) as error:
            self._server = None  # what comes back may be another version
            raise StorageUnavailableError(
                f"{self.settings.url} does not answer: {_why(error)}"
            ) from error

    def _translated(self, error: Any) -> StorageUnavailableError | BatchRefusedError:
        status = int(error.status or 0)
        raw = error.body or b""
        body = raw if isinstance(raw, bytes) else str(raw).encode()
        message = message_in(body)
        if status == 404:
            self._server = None
        wish = error.headers.get("Retry-After") if error.headers else None
        return self._refusal(status, message or str(error.reason or ""), wish, refused_lines(body))

    def _refusal(
        self,
        status: int,
        message: str,
        retry_after: str | None = None,
        lines: Mapping[int, str] | None = None,
    ) -> StorageUnavailableError | BatchRefusedError:
        """Return the error that an answer stands for."""
        settings = self.settings
        meaning = meaning_of(status, message) or Meaning.OTHER
        words = sentence(
            meaning,
            status,
            message,
            url=settings.url,
            name=settings.database,
            org=settings.org,
            holds=self._holds,
        )
        if meaning in REFUSED:
            return BatchRefusedError(words, meaning=meaning, items=lines)
        wait = retry_after_s(retry_after, time.time())
        return StorageUnavailableError(words, retry_after_s=wait, meaning=meaning)

    def _opened(self) -> Any:
        client = self._client
        if client is None:
            # imported here as only who uses it pays for it
            with _IMPORTING:
                from influxdb_client.client.influxdb_client import InfluxDBClient  # noqa: PLC0415

            settings = self.settings
            basic = bool(settings.username and settings.secret)
            client = self._client = InfluxDBClient(
                settings.url,
                token=f"{settings.username}:{settings.secret}" if basic else settings.secret,
                auth_basic=basic,
                timeout=_TIMEOUT_MS,
                retries=False,
                ssl_ca_cert=str(settings.ca_file or "") or None,
            )
        return client.api_client


def _header(headers: Sequence[tuple[str, str]], name: str) -> str:
    return next((v for k, v in headers if k.lower() == name.lower()), "")


def _version_in(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return ""
    return str(found.get("version") or "")


def _why(error: Exception) -> str:
    words = str(getattr(error, "reason", None) or error)
    return words.rsplit(": ", 1)[-1][:120] or type(error).__name__
