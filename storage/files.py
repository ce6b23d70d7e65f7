"""Files on disk: written completely or not at all, and closed to all but their owner.

A data folder and its files may be entered, read or locked by their owner alone, whatever the umask.
A database that exists is never opened here: closing it would release the locks that SQLite has in
this process.
"""

from __future__ import annotations

import csv
import os
from contextlib import contextmanager, suppress
from errno import ENOTDIR
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700


def sync(path: Path) -> None:
    """Return when a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a draft beside `path`, renamed to it if nothing fails, once it is on the disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        sync(draft)
        draft.replace(path)
        sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Replace a file with a CSV, completely or not at all."""
    with atomic_write(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file with `content` on the disk, for its owner alone."""
    with atomic_write(path) as draft:
        draft.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(draft, flags, FILE_MODE), "wb") as file:
            file.write(content)


def make_private_folder(folder: Path) -> None:
    """Make a data folder, or close an empty one to others; raises `OSError`."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), str(folder.parent)) from error
    try:
        folder.mkdir(mode=_FOLDER_MODE)
    except FileExistsError:
        if not folder.is_dir():
            raise
    if not any(folder.iterdir()):
        with suppress(PermissionError):  # it is another user's
            folder.chmod(_FOLDER_MODE)


def make_private_database(path: Path) -> None:
    """Make an empty file for a database, if there is none."""
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
