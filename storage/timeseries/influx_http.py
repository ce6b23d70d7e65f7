"""HTTP requests to InfluxDB 1.x, 2.x or 3.

The server's version (``/ping``, then ``/health``) decides how data is written (`Dialect`).
`influxdb-client` writes to 2.x and sets it up (`InfluxHttp.call_client`). This module makes the
requests that the library does not support: writes
to 1.x and 3, setup of databases in 3, and InfluxQL on ``/query``. All queries are InfluxQL: 1.x and
3 support it, and 2.x supports it for every bucket that is mapped to a database.
`storage.timeseries.influx_answers` classifies the answers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
from urllib3 import PoolManager, Timeout, make_headers
from urllib3.exceptions import HTTPError

from storage.bounded_call import BoundedCallError, BoundedThreads, parse_retry_after
from storage.errors import BatchRefusedError, StorageUnavailableError
from storage.timeseries.influx_answers import (
    REFUSED,
    Meaning,
    classify_answer,
    explain_answer,
    find_code,
    find_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from influxdb_client import InfluxDBClient
    from urllib3 import BaseHTTPResponse

T = TypeVar("T")
_CONNECT_S: Final = 5.0
_READ_S: Final = 30.0
_DEADLINE_S: Final = 60.0
"""Time limit for a request, until the last byte of its answer."""
_THREADS: Final = 8
_DATABASES: Final = "/api/v3/configure/database"


@dataclass(frozen=True, slots=True)
class InfluxSettings:
    """Address and account of InfluxDB.

    `secret`: the password if there is a `username` (1.x), otherwise a token.
    """

    url: str
    database: str = "plumewatch"
    org: str = ""
    username: str = ""
    secret: str = field(default="", repr=False)
    ca_file: Path | None = None


class Dialect(NamedTuple):
    """Differences between the major versions."""

    name: str
    write_path: str
    container: str


DIALECTS: Final = {
    1: Dialect("InfluxDB 1.x", "/write", "database"),
    2: Dialect("InfluxDB 2.x", "/api/v2/write", "bucket"),
    3: Dialect("InfluxDB 3", "/api/v3/write_lp", "database"),
}


class Server(NamedTuple):
    """Version that a server reports, and the major version."""

    version: str
    major: int


def quote_string(text: str) -> str:
    r"""Return a string as an InfluxQL literal.

    >>> print(quote_string("it's a \\"))
    'it\'s a \\'
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


class InfluxHttp:
    """Makes requests to one server. Thread-safe."""

    def __init__(self, settings: InfluxSettings) -> None:
        self.settings = settings
        parts = urlsplit(settings.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError("the URL of InfluxDB must be http[s]://host[:port], without a user")
        certificates = str(settings.ca_file or "") or None
        self._pool = PoolManager(maxsize=_THREADS, retries=False, ca_certs=certificates)
        self._client: InfluxDBClient | None = None
        self._server: Server | None = None
        self._container = "database"
        self._threads = BoundedThreads("influx", _THREADS)

    def abandon(self) -> None:
        """Make current and later requests fail immediately."""
        self._threads.abandon()

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        self._pool.clear()
        self._client = None

    def get_server(self) -> Server:
        """Return the server's version, cached; raises `StorageUnavailableError`."""
        server = self._server  # another thread may reset it
        if server is None:
            self._server = server = self._probe()
            self._container = DIALECTS[server.major].container
        return server

    def check_connection(self) -> str:
        """Check version, database and permissions without writing any data.

        Raises `StorageUnavailableError`.
        """
        self._server = None
        server = self.get_server()
        self.check_write()
        self.query('SELECT "received" FROM "reading" LIMIT 1')
        dialect, name = DIALECTS[server.major], self.settings.database
        return (
            f"{self.settings.url} is {dialect.name} ({server.version});"
            f" {dialect.container} {name!r} accepts readings and answers queries"
        )

    def write(self, lines: bytes, policy: str = "") -> None:
        """Write lines to a retention policy (1.x), or to the database ``NAME/policy`` (2.x, 3).

        Raises `BatchRefusedError` if the server would refuse the lines again, and
        `StorageUnavailableError` for everything else.
        """
        server, name = self.get_server(), self.settings.database
        if policy and server.major > 1:
            name = f"{name}/{policy}"
        query = {"db": name, "precision": "ns"}
        if policy and server.major == 1:
            query["rp"] = policy
        if server.major == 3:
            query |= {"precision": "nanosecond", "accept_partial": "true"}
        path = DIALECTS[server.major].write_path
        try:
            if server.major == 2:
                self.call_client(partial(_write_2, name, self.settings.org, lines))
            else:
                self._call("POST", path, query, lines, "text/plain; charset=utf-8")
        except StorageUnavailableError as error:
            if error.meaning in REFUSED:
                raise BatchRefusedError(str(error), meaning=error.meaning) from error
            raise

    def name_measurement(self, measurement: str, policy: str) -> str:
        """Return the name of a measurement for a statement; also pass the policy to `query`."""
        if not policy or self.get_server().major == 3:
            return f'"{measurement}"'
        return f'"{self.settings.database}"."{policy}"."{measurement}"'

    def query(
        self, statement: str, policy: str = "", *, change: bool = False
    ) -> list[dict[str, Any]]:
        """Return the series that an InfluxQL statement finds; times are in nanoseconds.

        InfluxDB 3 does not support ``"policy"."measurement"``, so `policy` selects the database.
        """
        name = self.settings.database
        if policy and self.get_server().major == 3:
            name = f"{name}/{policy}"
        query = {"db": name, "epoch": "ns"}
        if change:  # in the body, because it may contain a password
            form = urlencode({"q": statement}).encode()
            kind = "application/x-www-form-urlencoded; charset=utf-8"
            answer = self._call("POST", "/query", query, form, kind)
        else:
            answer = self._call("GET", "/query", {**query, "q": statement})
        status = answer.status
        try:
            results = [dict(result) for result in msgspec.json.decode(answer.data)["results"]]
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise StorageUnavailableError(
                f"{self.settings.url}: the answer from /query is not InfluxDB's (status {status})"
            ) from error
        if message := find_message(answer.data):
            self.get_server()  # the meaning of a refusal depends on the major version
            raise self._make_error(status, message, classify_answer(status, message))
        return [series for result in results for series in result.get("series", ())]

    def configure(self, method: str, wanted: Mapping[str, str]) -> None:
        """Create (POST), change (PUT) or delete (DELETE) a database of an InfluxDB 3."""
        body = msgspec.json.encode(wanted)
        self._call(method, _DATABASES, {}, body, "application/json")

    def call_client(self, work: Callable[[InfluxDBClient], T]) -> T:
        """Return the result of `work` with the client library of 2.x.

        Raises `StorageUnavailableError`. The whole package is imported first, because an import
        fails if two threads import different parts of the package at the same time.
        """
        from influxdb_client import InfluxDBClient  # noqa: PLC0415 - takes a second, and only 2.x needs it
        from influxdb_client.rest import ApiException  # noqa: PLC0415

        settings = self.settings
        if self._client is None:
            self._client = InfluxDBClient(
                settings.url,
                token=settings.secret,
                timeout=(int(_CONNECT_S * 1000), int(_READ_S * 1000)),
                retries=False,
                ssl_ca_cert=str(settings.ca_file or "") or None,
            )
        try:
            return self._call_bounded(partial(work, self._client))
        except ApiException as error:
            if not error.status:  # the certificate is not trusted
                raise self._report_silence(error) from error
            body = error.body if isinstance(error.body, bytes) else str(error.body or "").encode()
            raise self._explain_answer(
                error.status, error.headers or {}, body, error.reason
            ) from error
        except (AttributeError, TypeError, ValueError) as error:  # it cannot parse the answer
            raise StorageUnavailableError(
                f"{settings.url} sent an answer that is not InfluxDB 2.x's"
            ) from error

    def list_databases(self) -> list[str]:
        """Return the names of the databases of an InfluxDB 3."""
        query = {"format": "json", "show_deleted": "false"}
        answer = self._call("GET", _DATABASES, query)
        try:
            found = msgspec.json.decode(answer.data, type=list[dict[str, str]])
        except msgspec.MsgspecError as error:
            raise StorageUnavailableError(
                f"{self.settings.url} returned no list of databases"
            ) from error
        return [name for row in found for name in row.values()]

    def check_write(self, policy: str = "") -> None:
        """Check the permission to write, without writing any data.

        Even for an empty write, InfluxDB 3 would create a missing database, without a retention
        period. So its databases are listed first.
        """
        name = self.settings.database
        if self.get_server().major == 3 and name not in self.list_databases():
            raise self._make_error(404, "", Meaning.NO_DATABASE)
        try:
            self.write(b"\n", policy)
        except BatchRefusedError as error:
            if error.meaning != Meaning.EMPTY:
                raise StorageUnavailableError(str(error)) from error

    def _probe(self) -> Server:
        answer = self._call("GET", "/ping", {})
        version = answer.headers.get("X-Influxdb-Version", "") or _find_version(answer.data)
        if not version:
            version = _find_version(self._call("GET", "/health", {}).data)
        number = version.lstrip("v").split(".", 1)[0]
        if not number.isdecimal() or int(number) not in DIALECTS:
            raise StorageUnavailableError(
                f"{self.settings.url} answers, but is not an InfluxDB 1, 2 or 3"
                + (f" (it reports version {version[:40]!r})" if version else "")
            )
        return Server(version[:40], int(number))

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes = b"",
        content_type: str = "application/octet-stream",
    ) -> BaseHTTPResponse:
        settings = self.settings
        headers = {"Content-Type": content_type}
        if settings.username and settings.secret:
            basic = make_headers(basic_auth=f"{settings.username}:{settings.secret}")
            headers["Authorization"] = basic["authorization"]
        elif settings.secret:
            headers["Authorization"] = f"Token {settings.secret}"
        exchange = partial(
            self._pool.request,
            method,
            f"{settings.url}{path}?{urlencode(query)}",
            body=body,
            headers=headers,
            timeout=Timeout(connect=_CONNECT_S, read=_READ_S),
        )
        answer = self._call_bounded(exchange)
        if not 200 <= answer.status < 300:
            raise self._explain_answer(answer.status, answer.headers, answer.data, answer.reason)
        return answer

    def _call_bounded(self, work: Callable[[], T]) -> T:
        try:
            return self._threads.call(work, _DEADLINE_S)
        except (HTTPError, BoundedCallError) as error:
            raise self._report_silence(error) from error

    def _report_silence(self, error: Exception) -> StorageUnavailableError:
        self._server = None  # its version may be different when it is back
        return StorageUnavailableError(f"{self.settings.url} does not answer: {_shorten(error)}")

    def _explain_answer(
        self, status: int, headers: Mapping[str, str], body: bytes, reason: str | None
    ) -> StorageUnavailableError:
        if status == 404:
            self._server = None
        message = find_message(body) or reason or ""
        meaning = classify_answer(status, message, find_code(body))
        return self._make_error(status, message, meaning, headers.get("Retry-After"))

    def _make_error(
        self,
        status: int,
        message: str,
        meaning: Meaning | None,
        retry_after: str | None = None,
    ) -> StorageUnavailableError:
        settings = self.settings
        meaning = meaning or Meaning.OTHER
        words = explain_answer(
            meaning,
            status,
            message,
            url=settings.url,
            name=settings.database,
            org=settings.org,
            container=self._container,
        )
        wait = parse_retry_after(retry_after, time.time())
        return StorageUnavailableError(words, retry_after_s=wait, meaning=meaning)


def _write_2(bucket: str, org: str, lines: bytes, client: InfluxDBClient) -> None:
    from influxdb_client import WritePrecision  # noqa: PLC0415
    from influxdb_client.client.write_api import SYNCHRONOUS  # noqa: PLC0415

    api = client.write_api(write_options=SYNCHRONOUS)
    api.write(bucket, org, record=lines, write_precision=WritePrecision.NS)


def _find_version(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return ""
    return str(found.get("version") or "")


def _shorten(error: Exception) -> str:
    words = str(getattr(error, "reason", None) or error)
    return words.rsplit(": ", 1)[-1][:120] or type(error).__name__
