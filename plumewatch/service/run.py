"""`plumewatch run`: run one service after another on one data folder.

SIGHUP, or a change on the staff page, reloads the configuration. If it has no faults, the service
shuts down and the next one starts in the same process, which keeps the lock and the socket.
Meanwhile, messages wait in the broker. If the new service cannot run, for example because the
broker refuses its password, the old configuration is used again.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Final

from alerts.errors import AlertError
from language.plain_text import PlainFormatter
from plumewatch.config.editor import ConfigEditor
from plumewatch.config.faults import ConfigError, ConfigFault
from plumewatch.config.load import load
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import check_settings
from plumewatch.service.app import Service
from plumewatch.service.resources import ServiceError
from plumewatch.service.web_server import Listening
from storage.files import FolderLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from plumewatch.config.model import PlumewatchConfig

log = logging.getLogger(__name__)

LOG_LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message).2000s"
"""A message may contain what a client sent, so its length is limited."""
_STOP: Final = (signal.SIGINT, signal.SIGTERM)
_ENDS_S: Final = 20.0
"""Time for the service to stop, less than `TimeoutStopSec` of the systemd unit."""
_STAYS: Final = "the configuration stays as it was:"
_MIN_BETWEEN_S: Final = 3.0
_PAUSE_FACTOR: Final = 10.0
"""After a reload, the next one waits `_MIN_BETWEEN_S`, or `_PAUSE_FACTOR` times the duration of the
last, whichever is longer. Changes made meanwhile are applied together, so that many changes on the
page do not delay alerts."""

_YOUNG_OBJECTS: Final = 20_000
"""Number of new objects between searches for reference cycles. Python's default of 700 is reached
after twenty readings, which have no cycles."""


def serve(path: Path) -> None:
    """Run services until SIGINT or SIGTERM; raises `ConfigError` or `ServiceError`."""
    os.umask(0o077)  # also for what SQLite and libraries create
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter(LOG_LINE))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
    try:
        asyncio.run(Running(path).serve())
    except AlertError as error:
        raise ServiceError(str(error)) from error
    log.info("stopped")


class Running:
    """Runs services of the configuration at `path`, one after another.

    `service` is the current one. `make_service` gets a configuration and, by name, what services
    pass on to each other.
    """

    def __init__(self, path: Path, make_service: Callable[..., Service] = Service) -> None:
        self._path, self._make_service = path, make_service
        config = _read(path)
        self._lock = FolderLock(DataPaths(config.data_dir).lock)
        self._listening = Listening()
        history = DataPaths(config.data_dir).config_history
        self._config_file = ConfigEditor(path, history, self._reload)
        self.service = self._build_service(config)
        self._next: Service | None = None
        self._over = asyncio.Event()
        self._reload_task: asyncio.Task[None] | None = None
        self._again = False
        self._next_reload_at = float("-inf")
        self._ending = False

    async def serve(self) -> None:
        """Serve until SIGINT or SIGTERM; reload the configuration on SIGHUP."""
        loop = asyncio.get_running_loop()
        for number in _STOP:
            loop.add_signal_handler(number, self.end)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        try:
            await self._serve()
        finally:
            self._lock.release()
            self._listening.close()

    async def _serve(self) -> None:
        before: PlumewatchConfig | None = None
        while True:
            try:
                await self.service.run(self._over)
            except (ServiceError, AlertError) as error:
                if (
                    before is None
                    or self._ending
                    or self.service.ingestion.source.state.connections
                ):
                    raise
                log.error("cannot run with the new configuration; using the old one: %s", error)  # noqa: TRY400 - one line
                self._next, before = self._build_service(before), None
            else:
                before = self.service.config
            if self._next is None or self._ending:
                return
            self.service, self._next = self._next, None
            self._over.clear()

    def _build_service(self, config: PlumewatchConfig) -> Service:
        return self._make_service(
            config, lock=self._lock, config_file=self._config_file, listening=self._listening
        )

    def end(self) -> None:
        """End the service, and `serve`; if that takes too long, kill the process."""
        self._ending = True
        self._over.set()
        abandon = threading.Timer(_ENDS_S, _kill_process)
        abandon.daemon = True
        abandon.start()

    def _reload(self) -> None:
        self._again = True  # the running task may have read the file before it changed
        if self._reload_task is None or self._reload_task.done():
            self._reload_task = asyncio.get_running_loop().create_task(self._read_and_replace())

    async def _read_and_replace(self) -> None:
        loop, now = asyncio.get_running_loop(), self.service.config
        await asyncio.sleep(max(0.0, self._next_reload_at - loop.time()))
        begun, service = loop.time(), None
        while self._again:
            self._again = False
            try:
                fresh = await asyncio.to_thread(_read, self._path, now.data_dir)
                service = self._build_service(fresh)
            except ConfigError as error:
                log.error("%s %s", _STAYS, "; ".join(str(error).splitlines()))  # noqa: TRY400 - one line
                service = None
        if service is None:
            return
        took_s = loop.time() - begun
        self._next_reload_at = loop.time() + max(_MIN_BETWEEN_S, _PAUSE_FACTOR * took_s)
        log.info("restarting with the configuration of %s", self._path)
        self.service.monitoring.watchdog.reloading = True
        self._next = service
        self._over.set()


def _kill_process() -> None:
    """Kill the process if its threads hang on a disk; this is as safe as any other kill."""
    log.critical(
        "still running after %.0f s, probably because a disk hangs: killing the process", _ENDS_S
    )
    os._exit(3)


def _read(path: Path, data_dir: Path | None = None) -> PlumewatchConfig:
    """Read a configuration and check its secrets; if `data_dir` is given, it must not differ."""
    config = load(path)
    if data_dir not in (None, config.data_dir):
        allowed = f"must stay {data_dir} while the service runs"
        raise ConfigError([ConfigFault("data_dir", str(config.data_dir), allowed)])
    check_settings(config)
    return config
