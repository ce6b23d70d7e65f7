import pytest

from tests.support.in_process import one_room


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A configuration of one room, for a service in the test's process; nobody gets notices."""
    monkeypatch.setenv("AP_URL", "json://127.0.0.1:9/push")
    return one_room(tmp_path)
