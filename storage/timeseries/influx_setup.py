"""Retention on the server, set up once and again after every change.

1.x: the default retention policy gets the length of readings, two more keep the averages. 2.x:
three buckets (``NAME``, ``NAME/m1``, ``NAME/m15``), mapped so that InfluxQL sees them as policies
of one database. 3: three databases of these names. The service makes the averages
(`storage.timeseries.rollup`); here those of existing readings are made, and the continuous queries
and tasks are removed that made them in earlier versions. A database with data of others is left
alone: a shorter retention would delete it.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from storage.errors import BatchRefusedError, StorageUnavailableError
from storage.timeseries.influx_answers import Meaning
from storage.timeseries.influx_http import InfluxHttp, quoted
from storage.timeseries.line_protocol import QUARANTINE, READING
from storage.timeseries.records import MEASUREMENTS
from storage.timeseries.resolution import MINUTE, QUARTER_HOUR
from storage.timeseries.rollup import LEVELS, filled_quarters, fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage.timeseries.resolution import Retention

_DAY_S: Final = 86_400
_OURS: Final = frozenset(
    {READING, QUARANTINE, *MEASUREMENTS, *(level.measurement for level in LEVELS)}
)
_SECRET_BYTES: Final = 24
_MAY: Final = ("may read", "may read and write")


def set_up(http: InfluxHttp, retention: Retention, now: float) -> Iterator[tuple[str, float]]:
    """Make database, retention and averages, as far as they are missing.

    Yields what was done, and the progress from 0 to 1. Needs the right to change things. Raises
    `StorageUnavailableError` with what is not possible.
    """
    try:
        major = http.server().major
        yield from (_set_up_1, _set_up_2, _set_up_3)[major - 1](http, retention)
        yield from _fold_existing(http, retention, now)
    except BatchRefusedError as error:
        raise StorageUnavailableError(str(error)) from error


def _fold_existing(
    http: InfluxHttp, retention: Retention, now: float
) -> Iterator[tuple[str, float]]:
    """Make the averages of the readings that are there, a day at a time."""
    days = min(retention.raw_days, math.ceil((now - _oldest(http, now)) / _DAY_S))
    yield "averages of what is there already", float(days <= 0)
    for k in range(days):
        start = now - (days - k) * _DAY_S
        for quarter in filled_quarters(http, start, start + _DAY_S):
            if quarter >= now - retention.keep_s(None):  # of an older one a part is deleted
                for level in LEVELS:
                    fold(http, level, quarter, quarter + QUARTER_HOUR.step_s)
        yield "averages of what is there already", (k + 1) / days


def _oldest(http: InfluxHttp, now: float) -> float:
    """Return the event time of the oldest reading; now without one, and 0 if it cannot be had.

    An InfluxDB 3 Core refuses questions that concern many files.
    """
    try:
        found = http.query(f'SELECT "received" FROM "{READING}" ORDER BY time ASC LIMIT 1')  # noqa: S608 - a constant
    except StorageUnavailableError:
        return 0.0
    return min((row[0] / 1e9 for series in found for row in series["values"]), default=now)


def server_averages(http: InfluxHttp) -> list[str]:
    """Name the continuous queries or tasks of earlier versions, as far as the account sees them."""
    try:
        return [*_continuous_queries(http), *(task["name"] for task in _tasks(http))]
    except StorageUnavailableError:
        return []


def _continuous_queries(http: InfluxHttp) -> list[str]:
    if http.server().major != 1:
        return []
    name = http.settings.database
    return [
        str(row[0])
        for series in http.query("SHOW CONTINUOUS QUERIES")
        if series["name"] == name
        for row in series.get("values") or ()
        if row[0] in {f"plumewatch_{level.name}" for level in LEVELS}
    ]


def _tasks(http: InfluxHttp) -> list[dict[str, Any]]:
    if http.server().major != 2:
        return []
    org_id = organization(http)
    names = [f"plumewatch_{http.settings.database}_{level.name}" for level in LEVELS]
    return [
        task
        for name in names
        for task in http.found("/api/v2/tasks", {"orgID": org_id, "name": name}, "tasks")
    ]


def _set_up_1(http: InfluxHttp, retention: Retention) -> Iterator[tuple[str, float]]:
    name = http.settings.database
    http.query(f'CREATE DATABASE "{name}"', change=True)
    yield f"database {name!r}", 0.0
    found = {row[0] for s in http.query("SHOW MEASUREMENTS") for row in s["values"]}
    if found - _OURS:
        strange = ", ".join(sorted(map(str, found - _OURS))[:3])
        raise StorageUnavailableError(
            f"database {name!r} holds {strange} beside our readings; its retention is left alone:"
            " use a database of its own"
        )
    policies = [
        row for s in http.query(f'SHOW RETENTION POLICIES ON "{name}"') for row in s["values"]
    ]
    default = next(row[0] for row in policies if row[-1])
    _policy(http, "ALTER", str(default), retention.raw_days)
    yield f"readings are kept for {retention.raw_days} days", 0.0
    there = {row[0] for row in policies}
    for level in LEVELS:
        days = round(retention.keep_s(level) / _DAY_S)
        _policy(http, "ALTER" if level.name in there else "CREATE", level.name, days)
        yield f"averages of {level.step_s // 60} min are kept for {days} days", 0.0
    for query in _continuous_queries(http):
        http.query(f'DROP CONTINUOUS QUERY "{query}" ON "{name}"', change=True)
        yield f"continuous query {query!r} of an earlier version is removed", 0.0


def _policy(http: InfluxHttp, verb: str, policy: str, days: int) -> None:
    shard = max(1, min(7, days // 30))
    http.query(
        f'{verb} RETENTION POLICY "{policy}" ON "{http.settings.database}" DURATION {days}d'
        f" REPLICATION 1 SHARD DURATION {shard}d",
        change=True,
    )


def _set_up_2(http: InfluxHttp, retention: Retention) -> Iterator[tuple[str, float]]:
    name = http.settings.database
    org_id = organization(http)
    bucket = _bucket(http, org_id, name, retention.raw_days)
    _map(http, org_id, bucket, "autogen")
    yield f"bucket {name!r}, readings are kept for {retention.raw_days} days", 0.0
    for level in LEVELS:
        days = round(retention.keep_s(level) / _DAY_S)
        bucket = _bucket(http, org_id, f"{name}/{level.name}", days)
        _map(http, org_id, bucket, level.name)
        yield f"averages of {level.step_s // 60} min are kept for {days} days", 0.0
    for task in _tasks(http):
        http.request("DELETE", f"/api/v2/tasks/{task['id']}", {})
        yield f"task {task['name']!r} of an earlier version is removed", 0.0


def organization(http: InfluxHttp) -> str:
    """Return the id of the organization in the settings, or raise `StorageUnavailableError`."""
    settings = http.settings
    if not settings.org:
        raise StorageUnavailableError(
            f"timeseries.org is missing: name the organization of bucket {settings.database!r} at"
            f" {settings.url}"
        )
    found = http.found("/api/v2/orgs", {"org": settings.org}, "orgs")
    if not found:
        raise StorageUnavailableError(
            f"{settings.url} has no organization {settings.org!r}, or does not show it to this"
            " token: setup needs one that may read organizations"
        )
    return str(found[0]["id"])


def bucket_id(http: InfluxHttp, org_id: str, name: str) -> str:
    """Return the id of a bucket; empty if there is none of this name."""
    try:
        found = http.found("/api/v2/buckets", {"orgID": org_id, "name": name}, "buckets")
    except StorageUnavailableError as error:
        if error.meaning != Meaning.NO_BUCKET:
            raise
        return ""
    return str(found[0]["id"]) if found else ""


def _bucket(http: InfluxHttp, org_id: str, name: str, days: int) -> str:
    rules = [{"type": "expire", "everySeconds": days * _DAY_S}]
    found = bucket_id(http, org_id, name)
    if found:
        http.request("PATCH", f"/api/v2/buckets/{found}", {}, {"retentionRules": rules})
        return found
    wanted = {"orgID": org_id, "name": name, "retentionRules": rules}
    return str(http.request("POST", "/api/v2/buckets", {}, wanted).get("id", ""))


def _map(http: InfluxHttp, org_id: str, bucket: str, policy: str) -> None:
    """Let InfluxQL find a bucket as a policy of the database; by name alone not every 2.x does."""
    name = http.settings.database
    query = {"orgID": org_id, "db": name, "rp": policy}
    found = http.found("/api/v2/dbrps", query, "content")
    if any(mapping.get("bucketID") == bucket for mapping in found):
        return
    if any(not mapping.get("virtual") for mapping in found):
        raise StorageUnavailableError(
            f"InfluxQL of {http.settings.url} knows another bucket as {name}.{policy}: remove that"
            f" mapping (`influx v1 dbrp list --db {name}`)"
        )
    wanted = {
        "orgID": org_id,
        "bucketID": bucket,
        "database": name,
        "retention_policy": policy,
        "default": policy == "autogen",
    }
    http.request("POST", "/api/v2/dbrps", {}, wanted)


def _set_up_3(http: InfluxHttp, retention: Retention) -> Iterator[tuple[str, float]]:
    name = http.settings.database
    for level in (None, *LEVELS):
        days = round(retention.keep_s(level) / _DAY_S)
        database = f"{name}/{level.name}" if level else name
        wanted = {"db": database, "retention_period": f"{days}d"}
        try:
            http.request("POST", "/api/v3/configure/database", {}, wanted)
            outcome = f"kept for {days} days"
        except BatchRefusedError:
            if level is None:
                raise
            outcome = "made by the first write, kept for ever"
        except StorageUnavailableError as error:
            if error.meaning != Meaning.EXISTS:
                raise
            outcome = f"there already, kept for {days} days from now on"
            try:
                http.request("PUT", "/api/v3/configure/database", {}, wanted)
            except (BatchRefusedError, StorageUnavailableError) as older:
                outcome = f"there already, kept as it was made; this needs a 3.2 or newer ({older})"
        yield f"database {database!r}: {outcome}", 0.0


def make_account(http: InfluxHttp, *, writes: bool) -> tuple[str, str]:
    """Make an account for dashboards, which may only read, or for the service; or renew its secret.

    Returns the token of 2.x or the password of 1.x, and what it is good for. Raises
    `StorageUnavailableError` with what is not possible.
    """
    try:
        major = http.server().major
        if major == 1:
            return _user(http, writes=writes)
        if major == 2:
            return _token(http, writes=writes)
    except BatchRefusedError as error:
        raise StorageUnavailableError(str(error)) from error
    raise StorageUnavailableError(
        "InfluxDB 3 Core has tokens of administrators only; with Enterprise make one by"
        f" `influxdb3 create token --permission 'db:{http.settings.database}:{_right(writes)}'`,"
        f" the same for its databases /{MINUTE.name} and /{QUARTER_HOUR.name}"
    )


def _right(writes: bool) -> str:  # noqa: FBT001
    return "read,write" if writes else "read"


def _user(http: InfluxHttp, *, writes: bool) -> tuple[str, str]:
    name = f"{http.settings.database}_{'service' if writes else 'reader'}"
    right = "ALL" if writes else "READ"
    may = _MAY[writes]
    password = secrets.token_urlsafe(_SECRET_BYTES)
    users = {row[0] for s in http.query("SHOW USERS") for row in s.get("values") or ()}
    verb = "SET PASSWORD FOR" if name in users else "CREATE USER"
    word = "=" if name in users else "WITH PASSWORD"
    http.query(f'{verb} "{name}" {word} {quoted(password)}', change=True)
    http.query(f'GRANT {right} ON "{http.settings.database}" TO "{name}"', change=True)
    anybody = InfluxHttp(replace(http.settings, username="", secret=""))
    try:
        anybody.query("SHOW DATABASES")
    except StorageUnavailableError:
        return password, f"user {name!r} {may} {http.settings.database!r} and nothing else"
    finally:
        anybody.close()
    return password, (
        f"user {name!r} {may} {http.settings.database!r}; but this server asks nobody for a"
        " password: set auth-enabled = true in its configuration"
    )


def _token(http: InfluxHttp, *, writes: bool) -> tuple[str, str]:
    org_id, name = organization(http), http.settings.database
    permissions: list[dict[str, Any]] = []
    for bucket in (name, f"{name}/{MINUTE.name}", f"{name}/{QUARTER_HOUR.name}"):
        found = bucket_id(http, org_id, bucket)
        if not found:
            raise StorageUnavailableError(
                f"{http.settings.url} has no bucket {bucket!r}; `plumewatch storage setup` makes it"
            )
        resource = {"type": "buckets", "id": found, "orgID": org_id}
        permissions += [
            {"action": action, "resource": resource} for action in _right(writes).split(",")
        ]
    who, may = "the service" if writes else "dashboards", _MAY[writes]
    about = f"plumewatch: {who} {may} {name}"
    wanted = {"orgID": org_id, "description": about, "permissions": permissions}
    token = str(http.request("POST", "/api/v2/authorizations", {}, wanted).get("token") or "")
    if not token:
        raise StorageUnavailableError(f"{http.settings.url} made no token")
    return token, f"the token {may} bucket {name!r} with its averages and nothing else"
