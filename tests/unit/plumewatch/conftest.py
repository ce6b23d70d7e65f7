from __future__ import annotations

import pytest

from plumewatch.config import parse
from tests.support.broker import free_port


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("AP_URL", "json://127.0.0.1:9/push")
    return parse(
        {
            "site": "S",
            "timezone": "UTC",
            "broker": {"port": free_port()},  # nobody answers: readings are put in by the tests
            "web": {"port": free_port()},
            "alerts": {"allow_private_targets": True},
            "room": [{"id": "r", "name": "Boys", "building": "North", "floor": "2"}],
            "sensor": [{"id": "n2-boys-1", "room": "r"}],
            "staff": [{"id": "ap", "name": "AP", "notify": [{"url_env": "AP_URL"}]}],
        },
        base=tmp_path,
    )
