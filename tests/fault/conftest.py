import pytest

from tests.support.broker import Mosquitto
from tests.support.in_process import one_room


@pytest.fixture
def config(tmp_path):
    """Return a one-room configuration, without notices, for a service in the test's process."""
    return one_room(tmp_path)


@pytest.fixture
def broker():
    with Mosquitto("max_inflight_messages 500\nmax_queued_messages 100000") as started:
        yield started
