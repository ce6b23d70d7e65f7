"""``plumewatch timeline``: what the settings lead to after an alert, moment by moment."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from alerts.escalation.preview import timeline
from detection.events import EventKind
from plumewatch.cli.exit_codes import DONE, told
from plumewatch.config.faults import ConfigError, ConfigFault
from plumewatch.config.settings import alert_policy
from plumewatch.config.sharding import load_shard

if TYPE_CHECKING:
    from pathlib import Path

    from alerts.policy import AlertPolicy
    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig
    from storage.registry import Room


@told()
def run_timeline(config_path: Path, printer: Printer, *, room: str, kind: str, at: str) -> int:
    """Print the timeline of an alert.

    Parameters
    ----------
    room : str
        Its id; empty for the first of the configuration.
    kind : str
        Such as ``"vape"``.
    at : str
        Local time, ISO 8601; empty for now. Decides who is on duty.

    Returns
    -------
    int
        0 done, 2 bad configuration, or no such room, kind or time.
    """
    config = load_shard(config_path)
    policy = alert_policy(config)
    where, moment = _asked(config, policy, room, kind, at)
    for line in timeline(policy, where, EventKind(kind), moment):
        printer.say(line, room=where.id, kind=kind, at=moment, says=line)
    return DONE


def _asked(
    config: PlumewatchConfig, policy: AlertPolicy, room: str, kind: str, at: str
) -> tuple[Room, float]:
    rooms = config.registry().rooms
    kinds = sorted(k.value for k in policy.pages)
    faults = []
    if room and room not in rooms:
        allowed = "one of " + ", ".join(sorted(rooms)[:20])
        faults.append(ConfigFault("--room", repr(room), allowed))
    if kind not in kinds:
        faults.append(ConfigFault("--kind", repr(kind), f"one of {', '.join(kinds)}"))
    moment = time.time()
    try:
        if at:
            local = datetime.fromisoformat(at)
            moment = (local if local.tzinfo else local.replace(tzinfo=config.zone())).timestamp()
    except ValueError:
        faults.append(ConfigFault("--at", repr(at), "such as 2026-09-07T10:05"))
    if faults:
        raise ConfigError(faults)
    return rooms[room] if room else next(iter(rooms.values())), moment
