"""``plumewatch backup`` and ``plumewatch restore``.

A backup is a folder of databases with a manifest, or the same in one ``.tar`` or ``.tar.gz`` file.
Restoring never deletes: what it replaces moves into a folder ``before-restore-...`` beside it.
"""

from __future__ import annotations

import gzip
import shutil
import sys
import tarfile
import tempfile
import time
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest.errors import RefusedError
from plumewatch.cli.exit_codes import DONE, REFUSED, UNREACHABLE, USAGE, told
from plumewatch.cli.progress import busy
from plumewatch.config.paths import DataPaths
from plumewatch.config.sharding import load_shard
from plumewatch.config.timeseries_settings import series_kept_from
from storage.backup import MANIFEST, back_up, verify
from storage.errors import StorageError
from storage.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plumewatch.cli.printer import Printer

_ARCHIVES: Final = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz"}


@told()
def run_backup(config_path: Path, target: Path, printer: Printer, now: float) -> int:
    """Copy all databases of a service, running or not, and prove the copy.

    Parameters
    ----------
    target : Path
        A file that ends in ``.tar``, ``.tar.gz`` or ``.tgz``; or a folder, in which a folder with
        the time as its name is made.
    now : float
        Unix seconds.

    Returns
    -------
    int
        0 done, 1 the target exists or the copy is not sound, 2 bad configuration, 3 there is no
        data folder or it cannot be copied.
    """
    config = load_shard(config_path)
    root = config.data_dir
    series_from = series_kept_from(config, now)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    mode = _ARCHIVES.get(target.suffix)
    wanted = target if mode else target / f"plumewatch-{stamp}"
    if wanted.exists():
        sys.stderr.write(f"{wanted}: exists already; nothing was written\n")
        return REFUSED
    if not DataPaths(root).journal.exists():
        sys.stderr.write(f"{root}: no data of a service here\n")
        return UNREACHABLE
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        if not mode:
            with busy("copying"):
                back_up(root, wanted, stamp, series_from)
            sound = _prove(wanted, printer)
        else:
            with tempfile.TemporaryDirectory(dir=wanted.parent, prefix=".plumewatch-") as within:
                folder = Path(within) / f"plumewatch-{stamp}"
                with busy("copying"):
                    back_up(root, folder, stamp, series_from)
                sound = _prove(folder, printer)
                partial = Path(within) / "archive"
                with busy("packing"), tarfile.open(partial, mode) as archive:  # type: ignore[call-overload]
                    archive.add(folder, arcname=folder.name)
                partial.chmod(0o600)
                partial.rename(wanted)
    except OSError as error:
        sys.stderr.write(f"{wanted}: {error.strerror or error}\n")
        return UNREACHABLE
    printer.say(f"wrote {wanted}", wrote=wanted, sound=sound)
    return DONE if sound else REFUSED


@told()
def run_restore(
    config_path: Path, source: Path, printer: Printer, now: float, *, only_verify: bool, force: bool
) -> int:
    """Prove a backup and put it in place.

    Parameters
    ----------
    config_path : Path
        Whose data folder is meant.
    source : Path
        What `run_backup` wrote.
    now : float
        Unix seconds.
    only_verify : bool
        Prove it and change nothing.
    force : bool
        Replace a data folder that has databases already; take a backup that is not sound.

    Returns
    -------
    int
        0 done, 1 the backup is not sound or cannot be unpacked, or there are databases already,
        2 bad configuration or no such backup, 3 a service runs on the data folder or it cannot be
        written.
    """
    try:
        with _unpacked(source) as folder:
            sound = _prove(folder, printer)
            if only_verify or not (sound or force):
                word = "sound" if sound else "not sound"
                printer.say(f"{source} is {word}; nothing was changed", sound=sound, restored=None)
                return DONE if sound else REFUSED
            root = load_shard(config_path).data_dir
            return _restore(folder, root, printer, now, force=force)
    except OSError as error:
        sys.stderr.write(f"{source}: {error.strerror or error}\n")
        return USAGE


def _prove(folder: Path, printer: Printer) -> bool:
    sound = True
    for proof in verify(folder):
        printer.say(
            f"{'ok   ' if proof.ok else 'FAULT'} {proof.part}: {proof.sentence}",
            part=proof.part,
            ok=proof.ok,
            finding=proof.sentence,
        )
        sound = sound and proof.ok
    return sound


def _restore(folder: Path, root: Path, printer: Printer, now: float, *, force: bool) -> int:
    aside = root / f"before-restore-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        lease = Lease(DataPaths(root).lock)
        holder = lease.take()
        if holder is not None:
            sys.stderr.write(f"data folder {root} is in use by {holder}: stop that first\n")
            return UNREACHABLE
        try:
            present = sorted(p for p in root.glob("*.db*") if p.is_file())
            if present and not force:
                sys.stderr.write(
                    f"data folder {root} holds {', '.join(p.name for p in present)}; with --force"
                    f" these move to {aside} and the backup takes their place\n"
                )
                return REFUSED
            if present:
                printer.say(
                    f"moving {len(present)} files of {root} to {aside}",
                    moved=len(present),
                    to=aside,
                )
            with busy("copying"):
                _put_in_place(folder, root, present, aside)
        finally:
            lease.release()
    except (StorageError, OSError) as error:
        sys.stderr.write(f"data folder {root}: {error}\n")
        return UNREACHABLE
    printer.say(
        f"restored into {root}. What was accepted after the backup was made is not in it;"
        " passwords of staff are those of then",
        restored=root,
    )
    return DONE


def _put_in_place(folder: Path, root: Path, present: list[Path], aside: Path) -> None:
    """Copy first, so that a full disk changes nothing; then move aside, then rename."""
    with tempfile.TemporaryDirectory(dir=root, prefix=".restoring-") as within:
        copies = Path(within)
        names = [p.name for p in sorted(folder.glob("*.db"))]
        for name in names:
            shutil.copyfile(folder / name, copies / name)
            (copies / name).chmod(0o600)
        if present:
            aside.mkdir(mode=0o700)
        for path in present:
            path.rename(aside / path.name)
        for name in names:
            (copies / name).rename(root / name)


class _UnreadableError(RefusedError):
    """What should be an archive cannot be unpacked."""


@contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    """Give the folder of a backup, whatever form it has."""
    if source.is_dir():
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="plumewatch-restore-") as within:
        try:
            with busy("unpacking"), tarfile.open(source) as archive:
                archive.extractall(within, filter="data")
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
            why = str(error).partition("\n")[0].rstrip(":")
            raise _UnreadableError(
                f"{source} is damaged or no archive of a backup ({why}); nothing was changed"
            ) from error
        found = [p.parent for p in Path(within).glob(f"*/{MANIFEST}")]
        yield found[0] if found else Path(within)
