"""Options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ConfigOption"]

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="Configuration file (see `plumewatch init`).")
]
