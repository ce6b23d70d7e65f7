"""Tables of incidents, events, notices; for `storage.sqlite.migrate` as component ``"alerts"``.

The database promises, even if the program is wrong: one open incident per (kind, room), one outbox
row per (incident, person, target, reason), no silence without owner, reason and end, and history
and threshold adjustments that nobody can change or delete.
"""

from __future__ import annotations

from typing import Final

from storage.sqlite import schema_scripts

COMPONENT: Final = "alerts"
SCRIPTS: Final = schema_scripts(__package__, COMPONENT)
