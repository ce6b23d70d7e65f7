"""Tables of incidents, events and notices: the component ``"alerts"`` of `storage.sqlite.migrate`.

The database enforces these rules even if the program has a bug: one open incident per kind and
room; one outbox row per incident, person, target and reason; no silence without an owner, a reason
and an end; and history and threshold adjustments that cannot be changed or deleted.
"""

from __future__ import annotations

from typing import Final

from storage.sqlite import load_scripts

COMPONENT: Final = "alerts"
SCRIPTS: Final = load_scripts(__package__, COMPONENT)
