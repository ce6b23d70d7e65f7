"""The HTTP ingest with its listener, as the configuration wants it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ingest.http import HttpIngest
from plumewatch.service.web_server import WebServer, is_loopback

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from ingest.commit import GroupCommit
    from ingest.http import OnUnstored
    from ingest.http_sources import HttpSource
    from ingest.intake import Intake
    from plumewatch.config.sections.ingest import HttpConfig

log = logging.getLogger(__name__)


class HttpServer:
    """The HTTP ingest on its own address, apart from the staff page.

    Without sources nothing listens.

    Parameters
    ----------
    clock : callable
        Unix seconds.
    on_unstored : callable
        As in `HttpIngest`.
    """

    def __init__(
        self,
        config: HttpConfig,
        sources: Sequence[HttpSource],
        intake: Intake,
        commits: GroupCommit,
        clock: Callable[[], float],
        on_unstored: OnUnstored,
    ) -> None:
        self._config = config
        self._sources = sources
        self._ingest = HttpIngest(sources, intake, commits, clock=clock, on_unstored=on_unstored)
        self._server: WebServer | None = None

    def open(self) -> None:
        """Take the address.

        Raises
        ------
        PortInUseError
            If it cannot be had.
        """
        if not self._sources:
            return
        config = self._config
        self._server = WebServer(
            self._ingest.app,
            config.host,
            config.port,
            cert_file=config.cert_file,
            key_file=config.key_file,
        )
        scheme = "https" if config.cert_file else "http"
        names = ", ".join(source.name for source in self._sources)
        log.info("HTTP ingest: %s://%s:%d for %s", scheme, config.host, self._server.port, names)
        if config.cert_file is None and not is_loopback(config.host):
            log.warning("the HTTP ingest is open to the network without TLS: tokens can be read")

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, which is set when the service ends."""
        if self._server is None:
            await stop.wait()
        else:
            await self._server.serve()

    def stop(self) -> None:
        """Take no more requests; those under way are answered."""
        if self._server is not None:
            self._server.stop()

    def answers(self) -> dict[str, int]:
        """Count the answers given, by status."""
        counts: dict[str, int] = {}
        for (_, status), count in sorted(self._ingest.answers.items()):
            counts[f"HTTP answers {status}"] = counts.get(f"HTTP answers {status}", 0) + count
        return counts
