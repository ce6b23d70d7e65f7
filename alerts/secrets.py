"""Values that must not show: tokens, and addresses of people's phones.

A `Secret` is masked and cannot be pickled; a search for `reveal` finds every use.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path
from typing import Final, NoReturn

from alerts.errors import SecretError

_MASK: Final = "Secret('****')"
_MAX_FILE_BYTES: Final = 65_536


class Secret:
    """One hidden string.

    >>> token = Secret("swordfish")
    >>> token
    Secret('****')
    >>> f"{token} {token:>20}"
    "Secret('****') Secret('****')"
    >>> token.reveal()
    'swordfish'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not value:
            raise SecretError("a secret must not be empty")
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def fingerprint(self) -> str:
        """Return 12 hex digits that name this secret without giving it away."""
        digest = hashlib.blake2b(self._value.encode(), digest_size=6, person=b"plumewatch")
        return digest.hexdigest()

    def matches(self, candidate: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self._value.encode(), candidate.encode())

    def __repr__(self) -> str:
        return _MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return _MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self.matches(other._value)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret does not leave the process")


def load_secret(what: str, *, file: Path | str | None = None, env: str | None = None) -> Secret:
    """Read a secret from a file or the environment; SecretError names `what`, never the value."""
    if bool(file) == bool(env):
        raise SecretError(f"{what}: give either its file or its environment variable")
    if env:
        value = os.environ.get(env, "").strip()
        if not value:
            raise SecretError(f"{what}: environment variable {env} is not set")
        return Secret(value)
    path = Path(str(file))
    try:
        with path.open("rb") as handle:
            text = handle.read(_MAX_FILE_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is not text"
        raise SecretError(f"{what}: cannot read {path}: {why}") from error
    if not text:
        raise SecretError(f"{what}: {path} is empty")
    return Secret(text)
