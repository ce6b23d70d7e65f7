"""Tables for access control: the component ``"access"`` of `storage.sqlite.migrate`."""

from __future__ import annotations

from typing import Final

from storage.sqlite import load_scripts

COMPONENT: Final = "access"
SCRIPTS: Final = load_scripts(__package__, COMPONENT)
