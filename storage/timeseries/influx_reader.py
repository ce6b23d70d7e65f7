"""An account that may read and nothing else, for dashboards."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from storage.errors import BatchRefusedError, StorageUnavailableError
from storage.timeseries.influx_http import InfluxHttp, quoted
from storage.timeseries.influx_setup import bucket_id, organisation
from storage.timeseries.resolution import MINUTE, QUARTER_HOUR

if TYPE_CHECKING:
    from typing import Any

_BYTES: Final = 24


def make_reader(http: InfluxHttp) -> tuple[str, str]:
    """Make it, or give it a new password.

    `http`: with the right to make accounts; database or buckets exist. Returns `secret`, token of
    2.x, password of 1.x; `sentence`, what it is good for. Raises `StorageUnavailableError` with
    the sentence that says what is not possible.
    """
    try:
        major = http.server().major
        if major == 1:
            return _user(http)
        if major == 2:
            return _token(http)
    except BatchRefusedError as error:
        raise StorageUnavailableError(str(error)) from error
    raise StorageUnavailableError(
        "InfluxDB 3 Core has tokens of administrators only; with Enterprise make one by"
        f" `influxdb3 create token --permission 'db:{http.settings.database}:read'`, the same for"
        f" its databases /{MINUTE.name} and /{QUARTER_HOUR.name}"
    )


def _user(http: InfluxHttp) -> tuple[str, str]:
    name, password = f"{http.settings.database}_reader", secrets.token_urlsafe(_BYTES)
    users = {row[0] for s in http.query("SHOW USERS") for row in s.get("values") or ()}
    verb = "SET PASSWORD FOR" if name in users else "CREATE USER"
    word = "=" if name in users else "WITH PASSWORD"
    http.query(f'{verb} "{name}" {word} {quoted(password)}', change=True)
    http.query(f'GRANT READ ON "{http.settings.database}" TO "{name}"', change=True)
    anybody = InfluxHttp(replace(http.settings, username="", secret=""))
    try:
        anybody.query("SHOW DATABASES")
    except StorageUnavailableError:
        return password, f"user {name!r} may read {http.settings.database!r} and nothing else"
    finally:
        anybody.close()
    return password, (
        f"user {name!r} may read {http.settings.database!r}; but this server asks nobody for a"
        " password: set auth-enabled = true in its configuration"
    )


def _token(http: InfluxHttp) -> tuple[str, str]:
    org_id, name = organisation(http), http.settings.database
    permissions: list[dict[str, Any]] = []
    for bucket in (name, f"{name}/{MINUTE.name}", f"{name}/{QUARTER_HOUR.name}"):
        found = bucket_id(http, org_id, bucket)
        if not found:
            raise StorageUnavailableError(
                f"{http.settings.url} has no bucket {bucket!r}; `plumewatch storage setup` makes it"
            )
        resource = {"type": "buckets", "id": found, "orgID": org_id}
        permissions.append({"action": "read", "resource": resource})
    wanted = {
        "orgID": org_id,
        "description": f"plumewatch: dashboards may read {name}",
        "permissions": permissions,
    }
    token = str(http.request("POST", "/api/v2/authorizations", {}, wanted).get("token") or "")
    if not token:
        raise StorageUnavailableError(f"{http.settings.url} made no token")
    return token, f"the token may read bucket {name!r} with its averages and nothing else"
