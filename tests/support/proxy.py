"""A TCP proxy on loopback that simulates network faults like toxiproxy's, in one thread.

::

    with Proxy(broker.port) as proxy:
        connect("127.0.0.1", proxy.port)
        proxy.fault = Fault(latency_s=0.2, bytes_per_s=1000)
        proxy.fault = Fault(blackhole=True)
        proxy.reset()

A fault applies in both directions as soon as it is set, even to existing connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Fault", "Proxy"]

_CHUNK = 65_536
_TURN_S = 0.02
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Fault:
    """Network faults to simulate.

    Attributes
    ----------
    latency_s, jitter_s : float
        Delay before each piece, and an additional random delay up to this length.
    bytes_per_s : float
        Bandwidth; 0 for no limit.
    blackhole : bool
        Whether to accept connections and bytes, but forward nothing and close nothing.
    slice_bytes : int
        Forward bytes in pieces of this size; 0 to forward them unchanged.
    cut_after : int
        Reset each connection after it has forwarded this many bytes; 0 for never.
    refuse : bool
        Whether to reset each new connection at once.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0
    blackhole: bool = False
    slice_bytes: int = 0
    cut_after: int = 0
    refuse: bool = False


class _Link:
    """One connection through the proxy."""

    def __init__(self, writers: list[asyncio.StreamWriter]) -> None:
        self.writers = writers
        self.passed = 0

    def reset(self) -> None:
        for writer in self.writers:
            raw = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class Proxy:
    """The proxy; see the module.

    Parameters
    ----------
    target : int
        Port of this machine to which connections are forwarded.

    Attributes
    ----------
    fault : Fault
    connections : int
        Number of connections accepted so far.
    """

    def __init__(self, target: int) -> None:
        self.fault = Fault()
        self.connections = 0
        self.port = 0
        self._target = target
        self._rng = random.Random(1)
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self._loop.close()

    def reset(self) -> None:
        """Reset all connections now; clients can reconnect at once."""
        done = threading.Event()

        def run() -> None:
            for link in list(self._links):
                link.reset()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(60)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for link in list(self._links):
            link.reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link([writer])
        self._links.add(link)
        try:
            if self.fault.refuse:
                link.reset()
                return
            there = await asyncio.open_connection("127.0.0.1", self._target)
            link.writers.append(there[1])
            pumps = [
                asyncio.ensure_future(self._pump(link, reader, there[1])),
                asyncio.ensure_future(self._pump(link, there[0], writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            link.reset()
        finally:
            self._links.discard(link)
            for each in link.writers:
                each.close()

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._hand_on(link, data, writer)

    async def _hand_on(self, link: _Link, data: bytes, writer: asyncio.StreamWriter) -> None:
        while data:
            fault = self.fault
            if fault.blackhole:
                await asyncio.sleep(_TURN_S)
                continue
            size = fault.slice_bytes or len(data)
            if fault.bytes_per_s:
                size = max(1, min(size, int(fault.bytes_per_s * _TURN_S)))
            if fault.cut_after:
                size = min(size, fault.cut_after - link.passed)
                if size <= 0:
                    link.reset()
                    return
            pause = fault.latency_s + self._rng.uniform(0.0, fault.jitter_s)
            if fault.bytes_per_s:
                pause += size / fault.bytes_per_s
            if pause or fault.slice_bytes:
                await asyncio.sleep(pause)
            piece, data = data[:size], data[size:]
            link.passed += len(piece)
            writer.write(piece)
            await writer.drain()
