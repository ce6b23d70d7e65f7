"""Tables of incidents, events and notices: the component ``"alerts"`` of `storage.sqlite.migrate`.

The database enforces these rules even if the program has a bug:

- There is at most one open incident per kind and room.
- There is at most one outbox row per incident, person, target and reason.
- Every silence has an owner, a reason or purpose, and an end.
- History and threshold adjustments cannot be changed or deleted.
"""

from __future__ import annotations

from typing import Final

from storage.sqlite import load_scripts

COMPONENT: Final = "alerts"
SCRIPTS: Final = load_scripts(__package__, COMPONENT)
