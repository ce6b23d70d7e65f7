"""Unpacking the archive of a backup that anybody may have written.

Python's filters of `tarfile` can be bypassed, and it reads extension headers of any size into
memory. So the blocks are read here, one at a time:

- Only regular files become files: the manifest and the databases that it names, each once, in one
  folder of ours under their last name. Folders and the extension headers of earlier versions are
  skipped. Anything else (links, devices, sparse files, other names, a path upward) is refused.
- Before a byte is written, the size in the header must be that in the manifest, and the sum within
  the limit: `_RATIO` times the size of the archive, at least `_FREE`, and what the disk has left.
- The stream is read to its end, because the checksum of gzip is there.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tarfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from storage.backup import MANIFEST
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK: Final = 512
_PIECE: Final = 1 << 20
_MAX_MANIFEST: Final = 1 << 20
_MAX_EXTENSION: Final = 1 << 16
_MAX_MEMBERS: Final = 100
_MAX_PADDING: Final = 1 << 20
_RATIO: Final = 100
_FREE: Final = 64 << 20
_DISK_SHARE: Final = 0.9
_DATABASE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\.db")
_SIZE_RECORD: Final = re.compile(rb"(?:\A|\n)\d{1,6} size=(\d{1,18})\n")


class ArchiveRefusedError(StorageError):
    """An archive that is damaged, or is not one that `plumewatch backup` wrote."""


def unpack(source: Path, folder: Path) -> None:
    """Write manifest and databases of an archive into an empty folder.

    Raises `ArchiveRefusedError`; what was written until then is incomplete. Raises `OSError` if the
    archive cannot be read or the folder cannot be written.
    """
    try:
        sizes = _sizes(source)
        room = shutil.disk_usage(folder).free * _DISK_SHARE
        limit = min(room, max(_FREE, _RATIO * source.stat().st_size))
        with _opened(source) as stream:
            for name, size in _files(stream):
                if name not in sizes:
                    raise ArchiveRefusedError(f"{name} is there twice or not in the manifest")
                expected = sizes.pop(name)
                if expected not in (None, size):
                    raise ArchiveRefusedError(f"{name} has not the size that the manifest says")
                limit -= size
                if limit < 0:
                    raise ArchiveRefusedError(
                        "it unpacks to more than the disk has or 100 times its size; if you trust"
                        " it, unpack it with tar and restore the folder"
                    )
                with (folder / name).open("xb") as file:
                    for piece in _contents(stream, size):
                        file.write(piece)
    except (gzip.BadGzipFile, zlib.error, EOFError, tarfile.TarError) as error:
        why = str(error).partition("\n")[0].rstrip(":")
        raise ArchiveRefusedError(why or "it is cut off") from error


def _sizes(source: Path) -> dict[str, int | None]:
    """Read the manifest: the files of the archive with their sizes, None if it does not say."""
    with _opened(source) as stream:
        for name, size in _files(stream):
            if name != MANIFEST:
                for _ in _contents(stream, size):
                    pass
                continue
            if size > _MAX_MANIFEST:
                break
            sizes: dict[str, int | None] = {MANIFEST: size}
            try:
                files = json.loads(b"".join(_contents(stream, size)))["files"]
                sizes |= {str(file): _stated_size(described) for file, described in files.items()}
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise ArchiveRefusedError("its manifest cannot be read") from error
            return sizes
    raise ArchiveRefusedError("it has no manifest")


def _stated_size(described: dict[str, Any]) -> int | None:
    size = described.get("bytes")
    if size is not None and not isinstance(size, int):
        raise TypeError
    return size


def _opened(source: Path) -> BinaryIO:
    with source.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(source) if packed else source.open("rb")  # type: ignore[return-value]


def _files(stream: BinaryIO) -> Iterator[tuple[str, int]]:
    """Yield name and size of each file; the caller reads its contents before the next."""
    extended: int | None = None
    for _ in range(_MAX_MEMBERS):
        block = _read(stream, _BLOCK)
        if not any(block):
            _finish(stream)
            return
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if header.type == tarfile.XHDTYPE:
            if not 0 <= header.size <= _MAX_EXTENSION:
                raise ArchiveRefusedError("an extension header is too long")
            found = _SIZE_RECORD.search(b"".join(_contents(stream, header.size)))
            extended = int(found[1]) if found else None
            continue
        size, extended = header.size if extended is None else extended, None
        path = PurePosixPath(header.name)
        outside = path.is_absolute() or ".." in path.parts or len(path.parts) > 2
        if header.type == tarfile.DIRTYPE and size == 0 and not outside:
            continue
        named = path.name == MANIFEST or _DATABASE.fullmatch(path.name)
        if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or outside or not named:
            raise ArchiveRefusedError(f"{header.name[:100]!r} belongs to no backup")
        if size < 0:
            raise ArchiveRefusedError(f"{path.name} has a negative size")
        yield path.name, size
    raise ArchiveRefusedError("it has too many members")


def _contents(stream: BinaryIO, size: int) -> Iterator[bytes]:
    left = size
    while left:
        piece = _read(stream, min(left, _PIECE))
        left -= len(piece)
        yield piece
    _read(stream, -size % _BLOCK)


def _read(stream: BinaryIO, size: int) -> bytes:
    piece = stream.read(size)
    if len(piece) != size:
        raise ArchiveRefusedError("it is cut off")
    return piece


def _finish(stream: BinaryIO) -> None:
    """Read the padding, so that gzip checks its checksum."""
    if any(stream.read(_MAX_PADDING)) or stream.read(1):
        raise ArchiveRefusedError("something follows its end")
