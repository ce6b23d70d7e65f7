"""HTTP to an InfluxDB of any generation, and what its answers mean.

The generation is requested once (``/ping``, then ``/health``) and decides the write path, the names
of its parameters, and how the secret is sent (`Dialect`). Everything is read through InfluxQL on
``/query``, which 1.x and 3 have and 2.x answers for every bucket of a name by virtual mapping.

=====================  =========================================================================
answer to a write      meaning
=====================  =========================================================================
2xx                    stored (by default on the server's disk before it answers)
400, 413, 422          refused for its content, perhaps in part: `BatchRefusedError`. What was
                       stored is stored again, onto itself
429, 503               not now: `StorageUnavailableError` with ``Retry-After``
401, 403, 404          token, right, database: readings are kept (`StorageUnavailableError`) until
                       somebody corrects it
all else, no answer    `StorageUnavailableError`
=====================  =========================================================================
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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TIMEOUT_MS: Final = (5_000, 30_000)
_DEADLINE_S: Final = 60.0
"""For a request up to the last byte of its answer."""
_THREADS: Final = 8
_IMPORTING: Final = threading.Lock()
"""Two threads that import the client library at once find parts of it missing."""
_REFUSED: Final = frozenset({400, 413, 422})
_SKEW_S: Final = 60.0
_UNITS: Final = ((86_400, "days"), (3600, "h"), (60, "min"))
_NOTHING_TO_WRITE: Final = ("requires points", "no points", "empty", "missing line", "no data")


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
    3: Dialect("InfluxDB 3", "/api/v2/write", "bucket", "database"),
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
        self._call("POST", dialect.write_path, query, lines, "text/plain; charset=utf-8")

    def query(self, statement: str, *, change: bool = False) -> list[dict[str, Any]]:
        """Return the series that an InfluxQL statement finds; times are nanoseconds."""
        query = {"db": self.settings.database, "epoch": "ns"}
        try:
            if change:  # in the body, as it may hold a password
                form = urlencode({"q": statement}).encode()
                kind = "application/x-www-form-urlencoded; charset=utf-8"
                status, _, body = self._call("POST", "/query", query, form, kind)
            else:
                status, _, body = self._call("GET", "/query", {**query, "q": statement})
        except BatchRefusedError as error:
            raise StorageUnavailableError(str(error)) from error
        try:
            answer = msgspec.json.decode(body)
            results = answer["results"]
            message = answer.get("error") or next((r["error"] for r in results if "error" in r), "")
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
            raise StorageUnavailableError(
                f"{self.settings.url}: /query does not answer as InfluxDB does ({status})"
            ) from error
        if message:
            raise StorageUnavailableError(self._sentence(status, str(message)))
        return [series for result in results for series in result.get("series", ())]

    def request(
        self, method: str, path: str, query: Mapping[str, str], body: object = None
    ) -> dict[str, Any]:
        """Call the JSON interface of 2.x and 3."""
        content = msgspec.json.encode(body) if body is not None else b""
        _, _, answer = self._call(method, path, query, content, "application/vnd.influx; utf-8")
        return msgspec.json.decode(answer, type=dict[str, Any]) if answer.strip() else {}

    def found(self, path: str, query: Mapping[str, str], key: str) -> list[dict[str, Any]]:
        """Return the items that the JSON interface of 2.x finds."""
        items: list[dict[str, Any]] = self.request("GET", path, query).get(key) or []
        return items

    def check_write(self) -> None:
        """Check that writing would be allowed, without writing anything."""
        try:
            self.write(b"\n")
        except BatchRefusedError as error:
            if not any(words in str(error).lower() for words in _NOTHING_TO_WRITE):
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
        body: bytes = b"",
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
                body=body or None if method == "GET" else body or b"\n",
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
        message = _message(raw if isinstance(raw, bytes) else str(raw).encode())
        sentence = self._sentence(status, message or str(error.reason or ""))
        if status == 404:
            self._server = None
        if status in _REFUSED and "database not found" not in message:
            return BatchRefusedError(sentence)
        wish = error.headers.get("Retry-After") if error.headers else None
        return StorageUnavailableError(sentence, retry_after_s=retry_after_s(wish, time.time()))

    def _sentence(self, status: int, message: str) -> str:
        url, name = self.settings.url, self.settings.database
        holds = self._server.dialect.holds if self._server else "database"
        detail = f" ({message[:200]})" if message else ""
        if status in (401, 403):
            what = f"{url} does not accept the token or password"
            if status == 403:
                what = f"{url}: the token or user has no right to {holds} {name!r}"
            return f"{what}{detail}"
        if "retention policy not found" in message:
            return f"{url}: {holds} {name!r} is not set up{detail}; run `plumewatch storage setup`"
        if status == 404 or "not found" in message:
            return f"{url} has no {holds} {name!r}{detail}; `plumewatch storage setup` makes it"
        message = message.lower()
        words = f"answers {status}"
        if any(sign in message for sign in ("read-only", "read only", "readonly")):
            words = "accepts no writes at the moment"
        elif "no space left" in message:
            words = "has a full disk"
        return f"{url} {words}{detail}"

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


def _message(body: bytes) -> str:
    """Return the server's own words, in one line."""
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
        text = str(found.get("error") or found.get("message") or "")
    except msgspec.MsgspecError:
        text = body[:1000].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _why(error: Exception) -> str:
    words = str(getattr(error, "reason", None) or error)
    return words.rsplit(": ", 1)[-1][:120] or type(error).__name__
