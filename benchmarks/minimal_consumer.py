"""A minimal Python consumer, similar to Telegraf's, for comparison.

Usage: python benchmarks/minimal_consumer.py PORT FILE

It uses aiomqtt as its documentation shows, and appends line protocol to a file once a second. It
has no registry, duplicate detection, dead letters, fsync, detector or rules.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiomqtt
import load_rig as rig

if TYPE_CHECKING:
    from collections.abc import Iterator

_FLUSH_S = 1.0


@contextlib.contextmanager
def consumer(folder: Path, port: int) -> Iterator[tuple[int, Path]]:
    """Start a consumer and wait until it is subscribed; yield its process id and file."""
    file = folder / "minimal.lines"
    process = subprocess.Popen([sys.executable, __file__, str(port), str(file)])
    try:
        rig.wait_for(file.exists, "the minimal consumer", 30)
        yield process.pid, file
    finally:
        process.kill()
        process.wait(10)


def stored(file: Path) -> int:
    """Return the number of readings in a consumer's file."""
    return file.read_bytes().count(b"\n")


async def _consume(port: int, file: Path) -> None:
    client = aiomqtt.Client(
        "127.0.0.1",
        port,
        username=rig.NAME,
        password=rig.PASSWORD,
        identifier="minimal-consumer",
        clean_session=False,
    )
    lines: list[str] = []
    async with client, asyncio.TaskGroup() as group:
        await client.subscribe("plumewatch/v1/+/reading", qos=1)
        group.create_task(_flush(lines, file))
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            content = json.loads(message.payload)
            stamp = content.pop("time")
            sensor = message.topic.value.split("/")[2]
            fields = ",".join(f"{key}={value}" for key, value in content.items())
            lines.append(f"reading,sensor={sensor} {fields} {int(stamp * 1e9)}\n")


async def _flush(lines: list[str], file: Path) -> None:
    with file.open("a") as out:
        while True:
            out.writelines(lines)
            out.flush()
            lines.clear()
            await asyncio.sleep(_FLUSH_S)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    asyncio.run(_consume(options.port, options.file))
