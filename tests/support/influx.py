"""Run a real InfluxDB 1.x on a free loopback port, or use a server that the environment names."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import httpx

from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.influx_setup import find_bucket, find_organization, set_up
from storage.timeseries.resolution import Retention
from tests.support.broker import free_port
from tests.support.needs import need

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self


DATABASE = "air"
NAMED = ["named"] if "PLUMEWATCH_TEST_INFLUX" in os.environ else []
"""A real server that the environment names, in addition to the others (`own_database`)."""
_START_WITHIN_S = 60.0
_CONFIG = """
reporting-enabled = false
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{home}/meta"
[data]
  dir = "{home}/data"
  wal-dir = "{home}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
  auth-enabled = {auth}
[continuous_queries]
  run-interval = "1s"
  log-enabled = false
"""


def influxql(url: str, statement: str, database: str = "", **more: str) -> bytes:
    """Run a statement."""
    asked = {"q": statement, "db": database, **more}
    return httpx.post(f"{url}/query", params=asked, timeout=30).raise_for_status().content


@contextmanager
def own_database():
    """Create a test's database on the server named in the environment; yield its settings.

    The database is removed afterwards. ``PLUMEWATCH_TEST_INFLUX`` is the server's address,
    ``PLUMEWATCH_TEST_INFLUX_TOKEN`` an administrator's token or password,
    ``PLUMEWATCH_TEST_INFLUX_USERNAME`` the administrator's name (1.x with users), and
    ``PLUMEWATCH_TEST_INFLUX_ORG`` the organization (2.x).
    """
    settings = InfluxSettings(
        os.environ["PLUMEWATCH_TEST_INFLUX"],
        name := f"test{random.getrandbits(40)}",
        org=os.environ.get("PLUMEWATCH_TEST_INFLUX_ORG", ""),
        username=os.environ.get("PLUMEWATCH_TEST_INFLUX_USERNAME", ""),
        secret=os.environ.get("PLUMEWATCH_TEST_INFLUX_TOKEN", ""),
    )
    http = InfluxHttp(settings)
    list(set_up(http, Retention(raw_days=3_650)))  # for readings from any time
    try:
        yield settings
    finally:
        major = http.get_server().major
        if major == 1:
            http.query(f'DROP DATABASE "{name}"', change=True)
        for database in (name, f"{name}/m1", f"{name}/m15"):
            if major == 2 and (found := find_bucket(http, find_organization(http), database)):
                http.call_client(partial(_delete_bucket, found))
            elif major == 3 and database in http.list_databases():
                http.configure("DELETE", {"db": database})


def _delete_bucket(bucket, client):
    client.buckets_api().delete_bucket(bucket)


def readings_by_sensor(url: str) -> Counter[str]:
    """Count the stored readings of each sensor."""
    statement = 'SELECT count("received") FROM "reading" GROUP BY "sensor"'
    answer = json.loads(influxql(url, statement, DATABASE))
    series = answer["results"][0].get("series", ())
    return Counter({found["tags"]["sensor"]: found["values"][0][1] for found in series})


class Influxd:
    """An InfluxDB 1.x that can be killed and restarted with the same files."""

    def __init__(self, home: Path, *, auth: bool = False) -> None:
        need("influxd")
        self.home = home
        self._auth = auth
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._config = home / "influxdb.conf"
        self._config.write_text(
            _CONFIG.format(home=home, port=self.port, rpc=free_port(), auth=str(auth).lower())
        )

    def start(self) -> None:
        """Start and wait until it answers; without accounts, create the service's database."""
        command = ["influxd", "-config", str(self._config)]
        with (self.home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_WITHIN_S
        while True:
            try:
                httpx.get(f"{self.url}/ping", timeout=1)
            except httpx.TransportError:
                ended = self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise RuntimeError((self.home / "server.log").read_text()[-2000:]) from None
                time.sleep(0.02)
            else:
                break
        if not self._auth:
            influxql(self.url, f'CREATE DATABASE "{DATABASE}"')

    def end(self, number: int = signal.SIGKILL) -> None:
        """Send a signal, by default SIGKILL, and wait for the exit."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=30)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
