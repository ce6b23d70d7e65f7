"""Whether damaged files are recovered here as they are where `sqlite3` can."""

import pytest

from storage.repair import recovery_program

__all__ = ["needs_recovery"]

needs_recovery = pytest.mark.skipif(
    recovery_program() is None, reason="the program sqlite3 is missing, or its .recover fails"
)
