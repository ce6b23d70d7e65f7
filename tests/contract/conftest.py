from __future__ import annotations

import email
import email.policy
import time
from functools import partial

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.influx_setup import set_up
from storage.timeseries.resolution import Retention
from tests.support.broker import free_port
from tests.support.influx import Influxd
from tests.support.once import made_once
from tests.support.provider import Provider
from tests.support.school_series import simulated_school


@pytest.fixture(scope="session")
def school(tmp_path_factory):
    """Return six simulated hours at a school that end now."""
    folder, found = made_once(tmp_path_factory, "school", partial(simulated_school, hours=6))
    return found._replace(database=folder / found.database.name)


@pytest.fixture(scope="session")
def url(school, tmp_path_factory):
    """Run a real InfluxDB with these hours in the database ``school``."""
    home = tmp_path_factory.mktemp("influxd-school")
    with Influxd(home) as server:
        settings = InfluxSettings(server.url, "school")
        http = InfluxHttp(settings)
        list(set_up(http, Retention()))
        with InfluxSeries(settings, school.registry, home / "influx.db") as series:
            school.store(series)
            while series.tidy(time.time() + 1_000.0):  # including the current quarter hour
                pass
        yield server.url


class Inbox:
    """Accepts every message, or refuses every recipient."""

    def __init__(self, refuses=False):
        self.refuses = refuses
        self.mails = []

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802
        if self.refuses:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, mail))
        return "250 OK"


@pytest.fixture
def mail_server():
    started = []

    def start(**options):
        inbox = Inbox(**options)
        controller = Controller(
            inbox,
            hostname="127.0.0.1",
            port=free_port(),
            authenticator=lambda *_: AuthResult(success=True),
            auth_require_tls=False,
            ready_timeout=60,
        )
        controller.start()
        started.append(controller)
        return inbox, controller.port

    yield start
    for controller in started:
        controller.stop()


@pytest.fixture(scope="module")
def influxd(tmp_path_factory):
    with Influxd(tmp_path_factory.mktemp("influxd")) as server:
        yield server


@pytest.fixture
def provider():
    server = Provider()
    yield server
    server.close()
