from __future__ import annotations

import functools
import shutil
from contextlib import closing
from pathlib import Path

import pytest
import starlette.routing

from alerts import sensor_tests
from alerts.access import schema as access
from alerts.engine import AlertEngine
from alerts.incidents import schema
from alerts.policy import AlertPolicy, StaffMember
from alerts.secrets import Secret
from storage import audit, sqlite
from storage.journal import STATE_SCRIPTS
from storage.registry import Registry, Room, Sensor
from tests.support import events
from tests.support.consumer_site import ConsumerSite

# each test creates the page anew, with the same routes
starlette.routing.compile_path = functools.cache(starlette.routing.compile_path)
ROOMS = (
    Room("n2-boys", "Boys N2", "2", "North", "Lincoln High"),
    Room("n1-girls", "Girls N1", "1", "North", "Lincoln High"),
)
SENSORS = (Sensor("s1", "n2-boys"), Sensor("s2", "n2-boys"), Sensor("s3", "n1-girls"))


@pytest.fixture
def registry():
    return Registry.build(ROOMS, SENSORS)


@pytest.fixture
def policy():
    return AlertPolicy(
        staff=(
            StaffMember("ap", "A. Principal", "staff", (Secret("json://127.0.0.1:9/ap"),)),
            StaffMember("fm", "F. Manager", "facilities", (Secret("json://127.0.0.1:9/fm"),)),
            StaffMember("an", "An Analyst", "analyst"),
            StaffMember("ad", "Ad Min", "admin"),
        ),
        zone="America/New_York",
        page_url="https://plumewatch.example",
    )


@pytest.fixture
def engine(registry, policy):
    return AlertEngine(registry, policy)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "state.db"
    connection = sqlite.connect(path)
    sqlite.migrate(connection, schema.COMPONENT, schema.SCRIPTS)
    sqlite.migrate(connection, access.COMPONENT, access.SCRIPTS)
    sqlite.migrate(connection, audit.COMPONENT, audit.SCRIPTS)
    sqlite.migrate(connection, "state", STATE_SCRIPTS)
    sqlite.migrate(connection, sensor_tests.COMPONENT, sensor_tests.SCRIPTS)
    connection.close()
    return path


@pytest.fixture
def database(empty_database, tmp_path):
    """Return a copy of a prepared state database; creating one takes longer than most tests."""
    return Path(shutil.copy(empty_database, tmp_path))


@pytest.fixture
def disk(database):
    with closing(sqlite.connect(database)) as connection:
        yield connection


@pytest.fixture
def tx(database):
    connection = sqlite.connect(database)
    yield connection
    connection.close()


@pytest.fixture
def make_site(tmp_path, registry, policy):
    """Return a function that makes a `ConsumerSite`; all of them are closed at the end."""
    made = []

    def make(policy=policy, **options):
        made.append(ConsumerSite(tmp_path / f"site{len(made)}", registry, policy, **options))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def make_event():
    return events.make_event


@pytest.fixture
def opened(open_page, make_event):
    """Open the staff page, and an incident."""
    page = open_page()
    return page, page.incident(make_event)


@pytest.fixture
async def open_page(database, registry, policy):
    """Return a function that opens the staff page in a new browser each time."""
    from tests.unit.alerts.test_page import Page

    pages = []

    def start(policy=policy, registry=registry, **options):
        pages.append(Page(database, registry, policy, **options))
        return pages[-1]

    yield start
    for page in pages:
        await page.client.aclose()
        page.db.close()
