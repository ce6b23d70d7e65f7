"""Set up databases, retention and accounts on InfluxDB; run again after settings change.

- 1.x: the default retention policy keeps readings, and two more keep the averages.
- 2.x: three buckets (``NAME``, ``NAME/m1``, ``NAME/m15``) are mapped so that InfluxQL sees them as
  policies of one database. The organization is created if it does not exist.
- 3: three databases with these names.

The service keeps the averages up to date (`storage.timeseries.rollup`). On 1.x, a database that
contains other measurements is not changed, because a shorter retention period would delete them.

`set_up_server` does all of this with an administrator's permissions. It also creates the accounts
and tests them. It can be run again after a failure: existing databases and users are kept. Users
(1.x) get new passwords. On 2.x, it creates new tokens and does not revoke the old ones.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from language.plain_text import pluralize
from storage.errors import StorageUnavailableError
from storage.timeseries.influx_answers import Meaning
from storage.timeseries.influx_http import InfluxHttp, quote_string
from storage.timeseries.line_protocol import QUARANTINE, READING
from storage.timeseries.records import MEASUREMENTS
from storage.timeseries.rollup import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from influxdb_client import Bucket

    from storage.timeseries.influx_http import InfluxSettings
    from storage.timeseries.resolution import Retention

_DAY_S: Final = 86_400
_OURS: Final = frozenset(
    {READING, QUARANTINE, *MEASUREMENTS, *(level.measurement for level in LEVELS)}
)
_SECRET_BYTES: Final = 24
_CAN: Final = ("can read", "can read and write")


class Account(NamedTuple):
    """Name (1.x), token or password, and permissions of an account."""

    username: str
    secret: str
    about: str


def set_up_server(
    admin: InfluxSettings,
    retention: Retention,
    wanted: Sequence[bool],
    on_step: Callable[[str], None],
) -> dict[bool, Account]:
    """Set up the server as an administrator, and return the accounts that were created.

    `wanted`: the accounts to create. True stands for the service's account, which can write, and
    False for the dashboards' account, which can only read. The result has these values as keys.

    Raises `StorageUnavailableError`.
    """
    with closing(InfluxHttp(admin)) as http:
        for step in set_up(http, retention):
            on_step(step)
        made = {writes: make_account(http, writes=writes) for writes in wanted}
        for account in made.values():
            on_step(account.about)
        for writes, account in made.items():
            own = replace(admin, username=account.username, secret=account.secret)
            _try_account(own, writes=writes, reads=True)
        # 2.x runs InfluxQL in the organization of the token, not in ours
        reads = bool(made) or http.get_server().major != 2
        if not made:
            _try_account(admin, writes=True, reads=reads)
        on_step("checked: everything can be written" + (" and read" if reads else ""))
    return made


def _try_account(settings: InfluxSettings, *, writes: bool, reads: bool) -> None:
    """Check the permissions of an account for each policy or database."""
    with closing(InfluxHttp(settings)) as http:
        for policy in ("", *(level.name for level in LEVELS)):
            if writes:
                http.check_write(policy)
            if reads:
                place = http.name_measurement(READING, policy)
                http.query(f'SELECT "received" FROM {place} LIMIT 1', policy)  # noqa: S608 - our own names


def _list_places(http: InfluxHttp) -> list[str]:
    name = http.settings.database
    return [name, *(f"{name}/{level.name}" for level in LEVELS)]


def set_up(http: InfluxHttp, retention: Retention) -> Iterator[str]:
    """Create what is missing and set retention; yield a description of each step."""
    return (_set_up_1, _set_up_2, _set_up_3)[http.get_server().major - 1](http, retention)


def _set_up_1(http: InfluxHttp, retention: Retention) -> Iterator[str]:
    name = http.settings.database
    http.query(f'CREATE DATABASE "{name}"', change=True)
    yield f"database {name!r}"
    found = {row[0] for s in http.query("SHOW MEASUREMENTS") for row in s["values"]}
    if found - _OURS:
        others = ", ".join(sorted(map(str, found - _OURS))[:3])
        raise StorageUnavailableError(
            f"database {name!r} also contains {others}, so its retention was not changed: use"
            " a separate database"
        )
    policies = [
        row for s in http.query(f'SHOW RETENTION POLICIES ON "{name}"') for row in s["values"]
    ]
    default = next(row[0] for row in policies if row[-1])
    _set_policy(http, "ALTER", str(default), retention.raw_days)
    yield f"readings are kept for {pluralize(retention.raw_days, 'day')}"
    existing = {row[0] for row in policies}
    for level in LEVELS:
        days = round(retention.keep_s(level) / _DAY_S)
        _set_policy(http, "ALTER" if level.name in existing else "CREATE", level.name, days)
        yield f"{level.step_s // 60}-minute averages are kept for {pluralize(days, 'day')}"


def _set_policy(http: InfluxHttp, verb: str, policy: str, days: int) -> None:
    shard = max(1, min(7, days // 30))
    http.query(
        f'{verb} RETENTION POLICY "{policy}" ON "{http.settings.database}" DURATION {days}d'
        f" REPLICATION 1 SHARD DURATION {shard}d",
        change=True,
    )


def _set_up_2(http: InfluxHttp, retention: Retention) -> Iterator[str]:
    name, org = http.settings.database, http.settings.org
    try:
        org_id = find_organization(http)
    except StorageUnavailableError as error:
        if error.meaning != Meaning.NO_ORG:
            raise
        org_id = http.call_client(
            lambda client: client.organizations_api().create_organization(org).id
        )
        yield f"organization {org!r} created"
    bucket = _make_bucket(http, org_id, name, retention.raw_days)
    _map(http, org_id, bucket, "autogen")
    yield f"bucket {name!r}: readings are kept for {pluralize(retention.raw_days, 'day')}"
    for level in LEVELS:
        days = round(retention.keep_s(level) / _DAY_S)
        bucket = _make_bucket(http, org_id, f"{name}/{level.name}", days)
        _map(http, org_id, bucket, level.name)
        yield f"{level.step_s // 60}-minute averages are kept for {pluralize(days, 'day')}"


def find_organization(http: InfluxHttp) -> str:
    """Return the id of the configured organization; raises `StorageUnavailableError`."""
    settings = http.settings
    if not settings.org:
        raise StorageUnavailableError(
            f"timeseries.org is missing: name the organization of bucket {settings.database!r} at"
            f" {settings.url}"
        )
    found = http.call_client(
        lambda client: client.organizations_api().find_organizations(org=settings.org)
    )
    if not found:
        raise StorageUnavailableError(
            f"{settings.url} has no organization {settings.org!r}, or does not show it to this"
            " token: setup needs a token that can read organizations"
        )
    return str(found[0].id)


def find_bucket(http: InfluxHttp, org_id: str, name: str) -> Bucket | None:
    """Return the bucket with this name, or None."""
    try:
        found = http.call_client(
            lambda client: client.buckets_api().find_buckets(org_id=org_id, name=name)
        )
    except StorageUnavailableError as error:
        if error.meaning != Meaning.NO_BUCKET:
            raise
        return None
    return found.buckets[0] if found.buckets else None


def _make_bucket(http: InfluxHttp, org_id: str, name: str, days: int) -> Bucket:
    from influxdb_client import BucketRetentionRules, PostBucketRequest  # noqa: PLC0415

    rules = [BucketRetentionRules(type="expire", every_seconds=days * _DAY_S)]
    if found := find_bucket(http, org_id, name):
        found.retention_rules = rules
        return http.call_client(lambda client: client.buckets_api().update_bucket(found))
    wanted = PostBucketRequest(name=name, org_id=org_id, retention_rules=rules)
    return http.call_client(lambda client: client.buckets_api().create_bucket(bucket=wanted))


def _map(http: InfluxHttp, org_id: str, bucket: Bucket, policy: str) -> None:
    """Map a bucket to a policy; some 2.x versions don't infer this from the bucket's name."""
    from influxdb_client import DBRPCreate, DBRPsService  # noqa: PLC0415

    name = http.settings.database
    found = http.call_client(
        lambda client: DBRPsService(client.api_client).get_dbr_ps(org_id=org_id, db=name, rp=policy)
    ).content
    if any(mapping.bucket_id == bucket.id for mapping in found or ()):
        return
    if any(not mapping.virtual for mapping in found or ()):
        raise StorageUnavailableError(
            f"{http.settings.url} maps {name}.{policy} to another bucket: remove that mapping"
            f" (`influx v1 dbrp list --db {name}`)"
        )
    wanted = DBRPCreate(
        org_id=org_id,
        bucket_id=bucket.id,
        database=name,
        retention_policy=policy,
        default=policy == "autogen",
    )
    http.call_client(lambda client: DBRPsService(client.api_client).post_dbrp(wanted))


def _set_up_3(http: InfluxHttp, retention: Retention) -> Iterator[str]:
    name = http.settings.database
    for level in (None, *LEVELS):
        days = round(retention.keep_s(level) / _DAY_S)
        database = f"{name}/{level.name}" if level else name
        wanted = {"db": database, "retention_period": f"{days}d"}
        try:
            http.configure("POST", wanted)
            outcome = f"kept for {pluralize(days, 'day')}"
        except StorageUnavailableError as error:
            if error.meaning != Meaning.EXISTS:
                raise
            outcome = f"already exists, kept for {pluralize(days, 'day')} from now on"
            http.configure("PUT", wanted)
        yield f"database {database!r}: {outcome}"


def make_account(http: InfluxHttp, *, writes: bool) -> Account:
    """Create an account for the service (`writes`) or for dashboards.

    On 1.x, a user that exists gets a new password.
    """
    major = http.get_server().major
    if major < 3:
        return (_make_user, _make_token)[major - 1](http, writes=writes)
    database, *others = _list_places(http)
    raise StorageUnavailableError(
        "InfluxDB 3 Core has only administrator tokens. With Enterprise, create a token with"
        f" `influxdb3 create token --permission 'db:{database}:{_list_permissions(writes)}'`,"
        f" and give it the same permission for {' and '.join(others)}"
    )


def _list_permissions(writes: bool) -> str:  # noqa: FBT001
    return "read,write" if writes else "read"


def check_administrator(http: InfluxHttp) -> None:
    """Check that the account is an administrator's; raises `StorageUnavailableError`."""
    major = http.get_server().major
    if major == 1:
        http.query("SHOW USERS")
    elif major == 3:
        http.list_databases()
    elif not http.call_client(lambda client: client.organizations_api().find_organizations()):
        raise StorageUnavailableError(
            f"{http.settings.url} shows no organization to this token: setup needs an"
            " administrator's token"
        )
    elif not http.settings.org:
        raise StorageUnavailableError(f"{http.settings.url} needs the name of an organization")


def requires_no_password(settings: InfluxSettings) -> bool:
    """Return whether a 1.x server works without a password; raises `StorageUnavailableError`."""
    with closing(InfluxHttp(replace(settings, username="", secret=""))) as anybody:
        try:
            anybody.query("SHOW DATABASES")
        except StorageUnavailableError as error:
            if error.meaning in (Meaning.TOKEN, Meaning.NO_RIGHT):
                return False
            raise
    return True


def _make_user(http: InfluxHttp, *, writes: bool) -> Account:
    name = f"{http.settings.database}_{'service' if writes else 'reader'}"
    right = "ALL" if writes else "READ"
    can = _CAN[writes]
    password = secrets.token_urlsafe(_SECRET_BYTES)
    users = {row[0] for s in http.query("SHOW USERS") for row in s.get("values") or ()}
    verb = "SET PASSWORD FOR" if name in users else "CREATE USER"
    word = "=" if name in users else "WITH PASSWORD"
    http.query(f'{verb} "{name}" {word} {quote_string(password)}', change=True)
    http.query(f'GRANT {right} ON "{http.settings.database}" TO "{name}"', change=True)
    about = f"user {name!r} {can} {http.settings.database!r} and nothing else"
    if requires_no_password(http.settings):
        about = (
            f"user {name!r} {can} {http.settings.database!r}, but this server requires no"
            " password: set auth-enabled = true in its configuration"
        )
    return Account(name, password, about)


def _make_token(http: InfluxHttp, *, writes: bool) -> Account:
    from influxdb_client import Authorization, Permission, PermissionResource  # noqa: PLC0415

    org_id, name = find_organization(http), http.settings.database
    permissions = []
    for bucket in _list_places(http):
        found = find_bucket(http, org_id, bucket)
        if not found:
            raise StorageUnavailableError(
                f"{http.settings.url} has no bucket {bucket!r}; create it with"
                " `plumewatch storage setup`"
            )
        resource = PermissionResource(type="buckets", id=found.id, org_id=org_id)
        permissions += [
            Permission(action, resource) for action in _list_permissions(writes).split(",")
        ]
    who, can = "the service" if writes else "dashboards", _CAN[writes]
    wanted = Authorization(
        org_id=org_id,
        description=f"plumewatch: {who} {can} {name}",
        permissions=permissions,
    )
    made = http.call_client(
        lambda client: client.authorizations_api().create_authorization(authorization=wanted)
    )
    if not made.token:
        raise StorageUnavailableError(f"{http.settings.url} returned no token")
    about = f"the token for {who} {can} bucket {name!r} and its averages, and nothing else"
    return Account("", made.token, about)
