"""Commissioning tests for the staff page: evaluated in a process of their own, and read back."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from language.messages import _

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plumewatch.config.model import PlumewatchConfig

log = logging.getLogger(__name__)

_LONGEST_S: Final = 300.0


def latest_results(root: Path) -> dict[str, dict[str, Any]]:
    """Return the newest ``result.json`` of each room below a data folder."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((root / "commissioning").glob("*/result.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            at = result["steps"][0]["start"]
            if at >= found.get(result["room"], result)["steps"][0]["start"]:
                found[result["room"]] = result
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            continue
    return found


async def evaluate_in_process(
    config: PlumewatchConfig, room: str, starts: Sequence[float], person: str
) -> str:
    """Evaluate a test whose steps began at `starts`; return why it could not be, or nothing."""
    order = {
        "config": config.model_dump_json(by_alias=True),
        "room": room,
        "starts": list(starts),
        "person": person,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "plumewatch.room_test"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_LONGEST_S):
            _out, said = await process.communicate(json.dumps(order).encode())
    except TimeoutError:
        return _("The test was not evaluated: it took too long.")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        log.error("a room test was not evaluated: %s", said.decode("utf-8", "replace")[-2000:])
        return _("The test was not evaluated. The log of the service says why.")
    return ""
