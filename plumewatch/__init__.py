"""The shell: command line, configuration and the composition of all parts."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Read the version when it is used: every command would wait for the packages' metadata."""
    if name != "__version__":
        raise AttributeError(f"module 'plumewatch' has no attribute {name!r}")
    from importlib.metadata import version  # noqa: PLC0415 - see above

    return version("plumewatch")
