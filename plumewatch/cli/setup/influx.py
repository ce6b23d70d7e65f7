"""Find a site's InfluxDB for `plumewatch setup`, set it up once, and create its accounts."""

from __future__ import annotations

from typing import Final

from plumewatch.cli.printer import ask_person, echo
from plumewatch.cli.setup.answers import InfluxAnswer, ask_until_valid
from plumewatch.config.secrets import load_secret_at
from plumewatch.config.sections.storage import TimeseriesConfig
from storage.errors import StorageUnavailableError
from storage.timeseries.influx_answers import Meaning
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.influx_setup import check_administrator, requires_no_password, set_up_server
from storage.timeseries.resolution import Retention

TOKEN: Final = "secrets/influx-token"  # noqa: S105 - a path
READER: Final = "secrets/influx-reader"
_USUAL: Final = ("http://127.0.0.1:8086", "http://127.0.0.1:8181")


class PreparedInflux:
    """The InfluxDB that `plumewatch setup` prepares: its configuration section and secrets."""

    def __init__(self, answer: InfluxAnswer) -> None:
        """Ask the server for its version and our permissions, without changing anything."""
        TimeseriesConfig(url=answer.url, database=answer.database, org=answer.org)
        secret = answer.token
        if answer.token_file:
            secret = load_secret_at("influx.token", answer.token_file).reveal()
        self.admin = InfluxSettings(
            answer.url.rstrip("/"),
            answer.database,
            org=answer.org,
            username=answer.username,
            secret=secret,
            ca_file=answer.ca_file,
        )
        http = InfluxHttp(self.admin)
        try:
            self.major = http.get_server().major
            open_to_all = self.major == 1 and requires_no_password(self.admin)
            if self.major == 1 and not open_to_all and not (answer.username and secret):
                raise ValueError(f"{answer.url} needs the name and password of an administrator")
            check_administrator(http)
        finally:
            http.close()
        self.wanted = [] if open_to_all or self.major == 3 else [True, False]

    @property
    def note(self) -> str:
        """A note for the person; empty if accounts are created."""
        if self.wanted:
            return ""
        if self.major == 3:
            return "InfluxDB 3 Core has only administrator tokens, so the service keeps this one"
        return (
            f"{self.admin.url} requires no password: anyone who can reach it can delete"
            " readings; set auth-enabled = true there, then `plumewatch storage setup` with"
            " --service-file and --reader-file"
        )

    def build_settings(self) -> dict[str, object]:
        """Return the keys of ``[timeseries]``."""
        admin = self.admin
        return {
            "url": admin.url,
            "database": admin.database,
            "org": admin.org if self.major == 2 else "",
            "username": f"{admin.database}_service" if self.wanted and self.major == 1 else "",
            "token_file": TOKEN if self.wanted or admin.secret else "",
            "ca_file": admin.ca_file and str(admin.ca_file),
        }

    def set_up(self) -> dict[str, str]:
        """Set up the server; return the secrets by file."""
        if self.note:
            echo(self.note)
        accounts = set_up_server(
            self.admin, Retention(), self.wanted, lambda step: echo(f"InfluxDB: {step}")
        )
        secrets = [account.secret for account in accounts.values()] or [self.admin.secret]
        pairs = zip((TOKEN, READER), filter(None, secrets), strict=False)
        return {name: f"{secret}\n" for name, secret in pairs}


def _find_major(url: str) -> int:
    """Return a server's major version; 3 if it requires a token, 0 if it is not InfluxDB."""
    http = InfluxHttp(InfluxSettings(url))
    try:
        return http.get_server().major
    except StorageUnavailableError as error:
        return 3 if error.meaning == Meaning.TOKEN else 0
    finally:
        http.close()


def ask_influx() -> PreparedInflux | None:
    """Return the InfluxDB that a person names; None for a file on this machine."""

    def ask_once() -> InfluxAnswer | None:
        url = ask_person(
            "InfluxDB for the readings (Grafana needs one), http[s]://host[:port];"
            " - for a file on this machine",
            next(filter(_find_major, _USUAL), "-"),
        )
        if url in ("", "-"):
            return None
        TimeseriesConfig(url=url)
        major = _find_major(url)
        if major == 1 and not requires_no_password(InfluxSettings(url)):
            username = ask_person("Name of an InfluxDB administrator", "admin")
            password = ask_person(f"Password of {username}; used once, not kept", hidden=True)
            return InfluxAnswer(url=url, username=username, token=password)
        if major == 2:
            org = ask_person("InfluxDB organization; created if missing", "school")
            token = ask_person("Token of an administrator; used once, not kept", hidden=True)
            return InfluxAnswer(url=url, org=org, token=token)
        if major == 3:
            text = "Administrator's token (this server has no other kind); the service keeps it"
            return InfluxAnswer(url=url, token=ask_person(text, hidden=True))
        return InfluxAnswer(url=url)

    return ask_until_valid(ask_once, lambda given: PreparedInflux(given) if given else None)
