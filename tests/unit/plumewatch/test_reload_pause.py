"""Test how often a running service takes over a changed configuration."""

import asyncio
from types import SimpleNamespace

import pytest

from plumewatch.service import run


@pytest.mark.parametrize(("takes_s", "pause_s"), [(0.0, 3.0), (20.0, 200.0)])
async def test_changes_restart_a_large_district_rarely(tmp_path, monkeypatch, takes_s, pause_s):
    loop, now, waits = asyncio.get_running_loop(), [1000.0], []
    config = SimpleNamespace(data_dir=tmp_path)

    def read(*_given):
        now[0] += takes_s
        return config

    async def sleep(seconds):
        waits.append(seconds)

    def make_service(config, **_given):
        return SimpleNamespace(
            config=config, monitoring=SimpleNamespace(watchdog=SimpleNamespace())
        )

    monkeypatch.setattr(run, "_read", read)
    running = run.Running(tmp_path / "plumewatch.toml", make_service)
    monkeypatch.setattr(loop, "time", lambda: now[0])
    monkeypatch.setattr(run.asyncio, "sleep", sleep)
    for _ in range(2):
        running._reload()
        await running._reload_task
    assert waits == [0.0, pause_s]
