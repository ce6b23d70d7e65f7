"""Read the secrets that a configuration names, from their files.

The path ``metrics.token``, for example, refers to the secret that ``token_file`` in ``[metrics]``
names. No message contains a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alerts.errors import SecretError
from alerts.secrets import load_secret
from plumewatch.config.faults import ConfigError, ConfigFault, suggest_access

if TYPE_CHECKING:
    from pathlib import Path

    from alerts.secrets import Secret
    from plumewatch.config.model import PlumewatchConfig


def read_secret(config: PlumewatchConfig, path: str) -> Secret | None:
    """Read the secret at a path, or return None if it is not configured; raises `ConfigError`."""
    reader = SecretReader(config)
    secret = reader.read(path)
    reader.check()
    return secret


def load_secret_at(path: str, file: Path) -> Secret:
    """Read a secret from its file; raises `ConfigError` if it is unreadable."""
    try:
        return load_secret(path, file)
    except SecretError as error:
        reason = str(error).removeprefix(f"{path}: ")
        remedy = suggest_access(file, error.__cause__)
        raise ConfigError([ConfigFault(f"{path}_file", "unreadable", reason, remedy)]) from error


class SecretReader:
    """Reads several secrets and collects all faults."""

    def __init__(self, config: PlumewatchConfig) -> None:
        self.faults: list[ConfigFault] = []
        self._config = config

    def read(self, path: str) -> Secret | None:
        """Return the secret at a path; None if it is not configured or unreadable."""
        section: Any = self._config
        *tables, name = path.split(".")
        for key in tables:
            section = section[int(key)] if key.isdigit() else getattr(section, key)
        file = getattr(section, f"{name}_file")
        if file is None:
            return None
        try:
            return load_secret_at(path, file)
        except ConfigError as error:
            self.faults += error.faults
            return None

    def require(self, path: str) -> Secret | None:
        """Return the secret at a path; record a fault if it is not configured."""
        before, secret = len(self.faults), self.read(path)
        if secret is None and len(self.faults) == before:
            self.faults.append(ConfigFault(f"{path}_file", "missing", "must name a file"))
        return secret

    def check(self) -> None:
        """Raise `ConfigError` with the faults, if there are any."""
        if self.faults:
            raise ConfigError(self.faults, self._config.tree)
