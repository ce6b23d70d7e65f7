"""The outer layer: command line, configuration, and the composition of the service."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Read the version only when it is used, because reading package metadata is slow."""
    if name != "__version__":
        raise AttributeError(f"module 'plumewatch' has no attribute {name!r}")
    from importlib.metadata import version  # noqa: PLC0415 - see above

    return version("plumewatch")
