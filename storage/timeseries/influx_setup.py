"""Retention and averages on the server, set up once and again after every change.

1.x: the default retention policy gets the length of readings, two more keep the averages, and
continuous queries make them; existing readings are averaged at once. 2.x: three buckets (``NAME``,
``NAME/m1``, ``NAME/m15``), mapped so that InfluxQL sees them as policies of one database, and two
tasks. 3: three databases of these names; the service makes the averages (`storage.timeseries.
rollup`). A database with data of others is left alone: a shorter retention would delete it.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final

from detection.quantities import COLUMNS
from storage.errors import BatchRefusedError, StorageError, StorageUnavailableError
from storage.timeseries.influx_http import InfluxHttp, quoted
from storage.timeseries.line_protocol import QUARANTINE, READING, TAGS
from storage.timeseries.records import MEASUREMENTS
from storage.timeseries.resolution import MINUTE, QUARTER_HOUR
from storage.timeseries.rollup import FOLDED, LEVELS
from storage.timeseries.rollup import fold as fold_from_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage.timeseries.resolution import Level, Retention

LAG_S: Final = 3600.0
"""Averages older than this are complete; the server makes those of two hours again and again."""
_DAY_S: Final = 86_400
_OURS: Final = frozenset(
    {READING, QUARANTINE, *MEASUREMENTS, *(level.measurement for level in LEVELS)}
)
_HOUR_S: Final = 3600
_SECRET_BYTES: Final = 24
_MAY: Final = ("may read", "may read and write")
_TASK: Final = Template(Path(__file__).with_name("averages.flux").read_text(encoding="utf-8"))


def set_up(http: InfluxHttp, retention: Retention, now: float) -> Iterator[tuple[str, float]]:
    """Make database, retention and averages, as far as they are missing.

    Yields what was done, and the progress from 0 to 1. Needs the right to change things. Raises
    `StorageUnavailableError` with what is not possible.
    """
    try:
        major = http.server().major
        yield from (_set_up_1, _set_up_2, _set_up_3)[major - 1](http, retention, now)
    except BatchRefusedError as error:
        raise StorageUnavailableError(str(error)) from error


def fold(http: InfluxHttp, level: Level, start: float, end: float) -> None:
    """Make the averages of a span of 1.x again."""
    first = math.floor(start / level.step_s) * level.step_s
    last = math.ceil(end / level.step_s) * level.step_s
    http.query(
        f"{_folding(http, level)} WHERE time >= {first}s AND time < {last}s"
        f" GROUP BY time({level.step_s}s), *",
        change=True,
    )


def _folding(http: InfluxHttp, level: Level) -> str:
    name = http.settings.database
    return (
        f'SELECT {FOLDED}, count("received") AS "n"'  # noqa: S608 - names from tables and the configuration
        f' INTO "{name}"."{level.name}"."{level.measurement}" FROM "{READING}"'
    )


def _set_up_1(http: InfluxHttp, retention: Retention, now: float) -> Iterator[tuple[str, float]]:
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
        query = f"plumewatch_{level.name}"
        http.query(f'DROP CONTINUOUS QUERY "{query}" ON "{name}"', change=True)
        http.query(
            f'CREATE CONTINUOUS QUERY "{query}" ON "{name}" RESAMPLE EVERY 1m FOR 2h BEGIN'
            f" {_folding(http, level)} GROUP BY time({level.step_s}s), * END",
            change=True,
        )
        yield f"averages of {level.step_s // 60} min are made and kept for {days} days", 0.0
    days = retention.raw_days
    for k in range(days):
        for level in LEVELS:
            fold(http, level, now - (days - k) * _DAY_S, now - (days - k - 1) * _DAY_S)
        yield "averages of what is there already", (k + 1) / days


def _policy(http: InfluxHttp, verb: str, policy: str, days: int) -> None:
    shard = max(1, min(7, days // 30))
    http.query(
        f'{verb} RETENTION POLICY "{policy}" ON "{http.settings.database}" DURATION {days}d'
        f" REPLICATION 1 SHARD DURATION {shard}d",
        change=True,
    )


def _set_up_2(http: InfluxHttp, retention: Retention, _now: float) -> Iterator[tuple[str, float]]:
    name = http.settings.database
    org_id = organisation(http)
    bucket = _bucket(http, org_id, name, retention.raw_days)
    _map(http, org_id, bucket, "autogen")
    yield f"bucket {name!r}, readings are kept for {retention.raw_days} days", 0.0
    for k, level in enumerate(LEVELS):
        days = round(retention.keep_s(level) / _DAY_S)
        bucket = _bucket(http, org_id, f"{name}/{level.name}", days)
        _map(http, org_id, bucket, level.name)
        _task(http, org_id, level)
        yield (
            f"averages of {level.step_s // 60} min are made and kept for {days} days",
            (k + 1) / len(LEVELS),
        )


def organisation(http: InfluxHttp) -> str:
    """Return the id of the organisation in the settings, or raise `StorageUnavailableError`."""
    org = http.settings.org
    found = http.found("/api/v2/orgs", {"org": org}, "orgs")
    if not found:
        raise StorageUnavailableError(f"{http.settings.url} has no organisation {org!r}")
    return str(found[0]["id"])


def bucket_id(http: InfluxHttp, org_id: str, name: str) -> str:
    """Return the id of a bucket; empty if there is none of this name."""
    try:
        found = http.found("/api/v2/buckets", {"orgID": org_id, "name": name}, "buckets")
    except StorageUnavailableError as error:
        if "not found" not in str(error):
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


def _task(http: InfluxHttp, org_id: str, level: Level) -> None:
    name = f"plumewatch_{http.settings.database}_{level.name}"
    flux = task_flux(name, http.settings.database, level)
    query = {"orgID": org_id, "name": name}
    found = http.found("/api/v2/tasks", query, "tasks")
    if found:
        http.request("PATCH", f"/api/v2/tasks/{found[0]['id']}", {}, {"flux": flux})
    else:
        wanted = {"orgID": org_id, "flux": flux, "status": "active"}
        http.request("POST", "/api/v2/tasks", {}, wanted)


def task_flux(name: str, bucket: str, level: Level) -> str:
    """Return the task that makes averages on 2.x: of the last two hours, every minute."""
    return _TASK.substitute(
        name=name,
        bucket=bucket,
        level=level.name,
        step=level.step_s,
        reading=READING,
        measurement=level.measurement,
        fields=" or ".join(f'r._field == "{key}"' for key in COLUMNS),
        tags=", ".join(f'"{tag}"' for tag in TAGS),
    )


def _set_up_3(http: InfluxHttp, retention: Retention, now: float) -> Iterator[tuple[str, float]]:
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
        except StorageError as error:
            if "exist" not in str(error).lower() and "409" not in str(error):
                raise
            outcome = "there already, kept as it was made"
        yield f"database {database!r}: {outcome}", 0.0
    if http.query(f'SELECT "received" FROM "{READING}" LIMIT 1'):  # noqa: S608 - a constant
        hours = retention.raw_days * 24
        first = now // _HOUR_S * _HOUR_S - hours * _HOUR_S
        for k in range(hours + 1):
            start = first + k * _HOUR_S
            for level in LEVELS:
                fold_from_here(http, level, start, start + _HOUR_S)
            yield "averages of what is there already", k / hours
    yield "the service makes the averages", 1.0


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
    org_id, name = organisation(http), http.settings.database
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
