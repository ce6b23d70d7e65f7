"""Run work in a separate, low-priority process, so that it never delays an alert.

The process reads an `Order` as JSON from its standard input, and prints the result as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pkgutil
import sys
from typing import Any, TypeVar

import msgspec

from plumewatch.config.model import PlumewatchConfig

T = TypeVar("T")


class Order(msgspec.Struct, frozen=True):
    """A function (``module:name``), the configuration that it gets as JSON, and its arguments."""

    work: str
    config: str
    arguments: tuple[Any, ...]


async def run_in_process(
    result: type[T], work: str, config: PlumewatchConfig, *arguments: object
) -> T:
    """Return the result of ``work(config, *arguments)``; raises `OSError` if it fails.

    The process is killed if the caller is canceled. What it logs goes to standard error.
    """
    order = Order(work, config.model_dump_json(by_alias=True), arguments)
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-P", "-m", __name__)  # no code from the working folder
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        out, _ = await process.communicate(msgspec.json.encode(order))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode:
        raise ChildProcessError(f"{work} failed: see the log")
    return msgspec.json.decode(out, type=result)


def main() -> None:
    """Carry out the order on standard input."""
    os.nice(10)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    config = PlumewatchConfig.model_validate_json(order.config)
    with contextlib.redirect_stdout(sys.stderr):
        result = pkgutil.resolve_name(order.work)(config, *order.arguments)
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
