"""HTTP to an InfluxDB of any generation.

The generation is requested once (``/ping``, then ``/health``) and decides the write path and the
names of its parameters (`Dialect`). 2.x is written to and set up by `influxdb-client`
(`InfluxHttp.on_client`); what that does not know is sent from here: writes of 1.x and 3, the
databases of 3, and InfluxQL on ``/query``, through which everything is read: 1.x and 3 have it, and
2.x answers it for every bucket that is mapped to a database. What answers mean:
`storage.timeseries.influx_answers`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from storage.bounded_call import BoundedCallError, BoundedThreads, retry_after_s
from storage.errors import BatchRefusedError, StorageUnavailableError
from storage.timeseries.influx_answers import (
    REFUSED,
    Meaning,
    code_in,
    meaning_of,
    message_in,
    sentence,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from influxdb_client import InfluxDBClient
    from urllib3 import BaseHTTPResponse, PoolManager

T = TypeVar("T")
_CONNECT_S: Final = 5.0
_READ_S: Final = 30.0
_DEADLINE_S: Final = 60.0
"""For a request up to the last byte of its answer."""
_THREADS: Final = 8
_DATABASES: Final = "/api/v3/configure/database"


@dataclass(frozen=True, slots=True)
class InfluxSettings:
    """Where the series is kept; with a `username` (1.x), `secret` is the password, else a token."""

    url: str
    database: str = "plumewatch"
    org: str = ""
    username: str = ""
    secret: str = field(default="", repr=False)
    ca_file: Path | None = None


class Dialect(NamedTuple):
    """What differs between the generations."""

    name: str
    write_path: str
    holds: str


DIALECTS: Final = {
    1: Dialect("InfluxDB 1.x", "/write", "database"),
    2: Dialect("InfluxDB 2.x", "/api/v2/write", "bucket"),
    3: Dialect("InfluxDB 3", "/api/v3/write_lp", "database"),
}


class Server(NamedTuple):
    """What answered: its version as it reports it, and its generation."""

    version: str
    major: int


def quoted(text: str) -> str:
    r"""Write a string into an InfluxQL statement.

    >>> print(quoted("it's a \\"))
    'it\'s a \\'
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


class InfluxHttp:
    """Requests to one server; safe from many threads."""

    def __init__(self, settings: InfluxSettings) -> None:
        self.settings = settings
        parts = urlsplit(settings.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError("the URL of InfluxDB must be http[s]://host[:port], without a user")
        self._pool: PoolManager | None = None
        self._client: InfluxDBClient | None = None
        self._server: Server | None = None
        self._holds = "database"
        self._threads = BoundedThreads("influx", _THREADS)

    def abandon(self) -> None:
        """Let requests under way and later ones fail at once."""
        self._threads.abandon()

    def close(self) -> None:
        """Let go of the connections; safe to call twice."""
        self._pool = self._client = None

    def server(self) -> Server:
        """Return what the server is, asked once; raises `StorageUnavailableError`."""
        server = self._server  # another thread may forget it meanwhile
        if server is None:
            self._server = server = self._probe()
            self._holds = DIALECTS[server.major].holds
        return server

    def check_connection(self) -> str:
        """Check version, database and rights without writing; raises `StorageUnavailableError`."""
        self._server = None
        server = self.server()
        self.check_write()
        self.query('SELECT "received" FROM "reading" LIMIT 1')
        dialect, name = DIALECTS[server.major], self.settings.database
        return (
            f"{self.settings.url} is {dialect.name} ({server.version}); {dialect.holds} {name!r}"
            " accepts readings and answers queries"
        )

    def write(self, lines: bytes, policy: str = "") -> None:
        """Send lines to a retention policy (1.x), or to the database ``NAME/policy`` (2.x, 3)."""
        server, name = self.server(), self.settings.database
        if policy and server.major > 1:
            name = f"{name}/{policy}"
        if server.major == 2:
            self.on_client(partial(_write_2, name, self.settings.org, lines))
            return
        query = {"db": name, "precision": "ns"}
        if policy and server.major == 1:
            query["rp"] = policy
        if server.major == 3:
            query |= {"precision": "nanosecond", "accept_partial": "true"}
        self._call(
            "POST", DIALECTS[server.major].write_path, query, lines, "text/plain; charset=utf-8"
        )

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
                answer = self._call("POST", "/query", query, form, kind)
            else:
                answer = self._call("GET", "/query", {**query, "q": statement})
        except BatchRefusedError as error:
            raise StorageUnavailableError(str(error), meaning=error.meaning) from error
        status = answer.status
        try:
            results = [dict(result) for result in msgspec.json.decode(answer.data)["results"]]
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise StorageUnavailableError(
                f"{self.settings.url}: /query does not answer as InfluxDB does ({status})"
            ) from error
        if message := message_in(answer.data):
            self.server()  # its generation says what a refusal means
            raise self._refusal(status, message, meaning_of(status, message))
        return [series for result in results for series in result.get("series", ())]

    def configure(self, method: str, wanted: Mapping[str, str]) -> None:
        """Make (POST), change (PUT) or delete (DELETE) a database of an InfluxDB 3."""
        body = msgspec.json.encode(wanted)
        self._call(method, _DATABASES, {}, body, "application/json")

    def on_client(self, work: Callable[[InfluxDBClient], T]) -> T:
        """Return the result of `work` on the client library, which serves 2.x. Raises as `write`.

        Everything is imported from the package itself first: two threads that import parts of it
        at once find others missing.
        """
        from influxdb_client import InfluxDBClient  # noqa: PLC0415 - only who uses it pays for it
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
            return self._bounded(partial(work, self._client))
        except ApiException as error:
            if not error.status:  # its word for a certificate that is not trusted
                raise self._silent(error) from error
            body = error.body if isinstance(error.body, bytes) else str(error.body or "").encode()
            raise self._refused(error.status, error.headers or {}, body, error.reason) from error
        except (AttributeError, TypeError, ValueError) as error:  # of what it cannot parse
            raise StorageUnavailableError(
                f"{settings.url} does not answer as an InfluxDB 2.x does"
            ) from error

    def databases(self) -> list[str]:
        """Return the names of the databases of an InfluxDB 3."""
        query = {"format": "json", "show_deleted": "false"}
        answer = self._call("GET", _DATABASES, query)
        try:
            found = msgspec.json.decode(answer.data, type=list[dict[str, str]])
        except msgspec.MsgspecError as error:
            raise StorageUnavailableError(
                f"{self.settings.url} does not say which databases it has"
            ) from error
        return [name for row in found for name in row.values()]

    def check_write(self, policy: str = "") -> None:
        """Check that writing would be allowed, as to `write`, without writing anything.

        An InfluxDB 3 makes the database for an empty write too, and without retention, so it is
        asked first which ones there are.
        """
        name = self.settings.database
        if self.server().major == 3 and name not in self.databases():
            raise self._refusal(404, "", Meaning.NO_DATABASE)
        try:
            self.write(b"\n", policy)
        except BatchRefusedError as error:
            if error.meaning != Meaning.EMPTY:
                raise StorageUnavailableError(str(error)) from error

    def _probe(self) -> Server:
        answer = self._call("GET", "/ping", {})
        version = answer.headers.get("X-Influxdb-Version", "") or _version_in(answer.data)
        if not version:
            version = _version_in(self._call("GET", "/health", {}).data)
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
        body: bytes = b"",
        content_type: str = "application/octet-stream",
    ) -> BaseHTTPResponse:
        from urllib3 import Timeout, make_headers  # noqa: PLC0415 - only who uses it pays for it

        settings = self.settings
        headers = {"Content-Type": content_type}
        if settings.username and settings.secret:
            basic = make_headers(basic_auth=f"{settings.username}:{settings.secret}")
            headers["Authorization"] = basic["authorization"]
        elif settings.secret:
            headers["Authorization"] = f"Token {settings.secret}"
        exchange = partial(
            self._opened().request,
            method,
            f"{settings.url}{path}?{urlencode(query)}",
            body=body,
            headers=headers,
            timeout=Timeout(connect=_CONNECT_S, read=_READ_S),
        )
        answer = self._bounded(exchange)
        if not 200 <= answer.status < 300:
            raise self._refused(answer.status, answer.headers, answer.data, answer.reason)
        return answer

    def _bounded(self, work: Callable[[], T]) -> T:
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        try:
            return self._threads.call(work, _DEADLINE_S)
        except (HTTPError, BoundedCallError) as error:
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> StorageUnavailableError:
        self._server = None  # what comes back may be another version
        return StorageUnavailableError(f"{self.settings.url} does not answer: {_why(error)}")

    def _refused(
        self, status: int, headers: Mapping[str, str], body: bytes, reason: str | None
    ) -> StorageUnavailableError | BatchRefusedError:
        if status == 404:
            self._server = None
        message = message_in(body) or reason or ""
        meaning = meaning_of(status, message, code_in(body))
        return self._refusal(status, message, meaning, headers.get("Retry-After"))

    def _refusal(
        self,
        status: int,
        message: str,
        meaning: Meaning | None,
        retry_after: str | None = None,
    ) -> StorageUnavailableError | BatchRefusedError:
        settings = self.settings
        meaning = meaning or Meaning.OTHER
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
            return BatchRefusedError(words, meaning=meaning)
        wait = retry_after_s(retry_after, time.time())
        return StorageUnavailableError(words, retry_after_s=wait, meaning=meaning)

    def _opened(self) -> PoolManager:
        from urllib3 import PoolManager  # noqa: PLC0415

        if self._pool is None:
            certificates = str(self.settings.ca_file or "") or None
            self._pool = PoolManager(maxsize=_THREADS, retries=False, ca_certs=certificates)
        return self._pool


def _write_2(bucket: str, org: str, lines: bytes, client: InfluxDBClient) -> None:
    from influxdb_client import WritePrecision  # noqa: PLC0415
    from influxdb_client.client.write_api import SYNCHRONOUS  # noqa: PLC0415

    api = client.write_api(write_options=SYNCHRONOUS)
    api.write(bucket, org, record=lines, write_precision=WritePrecision.NS)


def _version_in(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return ""
    return str(found.get("version") or "")


def _why(error: Exception) -> str:
    words = str(getattr(error, "reason", None) or error)
    return words.rsplit(": ", 1)[-1][:120] or type(error).__name__
