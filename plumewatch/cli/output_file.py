"""The file that a command writes: checked before the work begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumewatch.cli.exit_codes import UsageError

if TYPE_CHECKING:
    from pathlib import Path


class OutputFileError(UsageError):
    """Nothing may be written there; the message says why."""


def check_output(path: Path, *, force: bool, endings: tuple[str, ...] = ()) -> None:
    """Refuse what is no name for a file, or one that is taken.

    A device, a pipe or a socket is never replaced, whatever `force` says.

    Parameters
    ----------
    force : bool
        Whether a file that is there may be replaced.
    endings : tuple of str
        What its name must end in, one of them; empty for any.

    Raises
    ------
    OutputFileError
    """
    if endings and path.suffix.lower() not in endings:
        raise OutputFileError(f"{path}: must end in {' or '.join(endings)}")
    if path.is_dir() or not path.parent.is_dir():
        raise OutputFileError(f"{path}: not a file in a folder that is there")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OutputFileError(f"{path}: not a plain file, which alone is replaced")
    if path.exists() and not force:
        raise OutputFileError(f"{path}: exists already; choose another name, or --force")
