from __future__ import annotations

import pytest

from tests.support.in_process import one_room


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("AP_URL", "json://127.0.0.1:9/push")
    return one_room(tmp_path)
