"""Tables of access; for `storage.sqlite.migrate` as component ``"access"``."""

from __future__ import annotations

from typing import Final

from storage.sqlite import schema_scripts

COMPONENT: Final = "access"
SCRIPTS: Final = schema_scripts(__package__, COMPONENT)
