"""`plumewatch setup`: from a broker on which sensors publish to a service that runs.

Answers, from a person or a file, and the messages on the broker become a configuration, an account
with rights of its own for every device, a test notice to everybody, and a check.
"""

import tomllib
from pathlib import Path
from typing import Any, Final

TEXTS: Final[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("texts.toml").read_text(encoding="utf-8")
)
"""Texts of the files it writes, and of `plumewatch device`."""
