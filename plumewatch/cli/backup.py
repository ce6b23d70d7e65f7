"""`plumewatch backup` and `restore`: databases in a folder with a manifest.

`restore` deletes nothing: it moves the files that it replaces into a folder ``before-restore-...``.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ingest.errors import RefusedError
from language.plain_text import pluralize
from plumewatch.cli.options import (
    CONFIG,
    DONE,
    REFUSED,
    ConfigOption,
    Site,
    add_config,
    describe_unwritable,
    list_examples,
)
from plumewatch.cli.printer import echo, show_progress
from plumewatch.errors import UnreachableError

app = typer.Typer()


@app.command(rich_help_panel="Storage", epilog=list_examples("plumewatch backup /backups"))
def backup(
    target: Annotated[
        Path, typer.Argument(help="Folder for the new backup, which is named after the time.")
    ],
    *,
    config: ConfigOption = CONFIG,
) -> int:
    """Copy journal, incidents and series while the service runs, and verify the copy."""
    from plumewatch.service.data_folder import OPENERS
    from storage.backup import back_up

    site = Site.load(config)
    now = time.time()
    path = target / f"plumewatch-{_format_stamp(now)}"
    if path.exists():
        raise RefusedError(f"{path}: exists already; nothing was written")
    if not site.paths.journal.exists():
        raise UnreachableError(f"{site.paths.root}: no service data here")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnreachableError(f"{path}: {error.strerror or error}") from error
    if not os.access(target, os.W_OK):
        raise UnreachableError(describe_unwritable(target))
    with show_progress("copying"):
        damage = back_up(site.paths.root, path, _format_stamp(now), openers=OPENERS)
    sound = _verify(path) and not _name_damage(path)
    for name, why in damage.items():
        echo(f"DAMAGED {name}: {why}; restart the service, which repairs it")
    echo(f"wrote {path}")
    return DONE if sound and not damage else REFUSED


@app.command(
    rich_help_panel="Storage",
    epilog=list_examples(
        "plumewatch restore --verify /backups/plumewatch-20260907T100500Z",
        "plumewatch restore /backups/plumewatch-20260907T100500Z --force",
    ),
)
def restore(
    source: Annotated[Path, typer.Argument(help="Folder that `plumewatch backup` wrote.")],
    *,
    config: ConfigOption = CONFIG,
    verify: Annotated[bool, typer.Option("--verify", help="Only verify the backup.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Move existing databases aside.")] = False,
) -> int:
    """Verify a backup and put it in place; stop the service first."""
    sound = _verify(source)
    damaged = sound and _name_damage(source)
    if verify or not sound:
        sound = sound and not damaged
        echo(f"{source} is {'sound' if sound else 'not sound'}; nothing was changed")
        return DONE if sound else REFUSED
    site = Site.load(config)
    try:
        _restore(source, site, force=force)
    except OSError as error:
        raise UnreachableError(f"data folder {site.paths.root}: {error}") from error
    echo(
        f"restored into {site.paths.root}. Data from after the backup is missing, and staff"
        " passwords are as they were then.\n"
        f"next: `{add_config('plumewatch check', config)}`, then start the service"
        f" (`systemctl start plumewatch`, or `{add_config('plumewatch run', config)}`)"
    )
    return DONE


def _format_stamp(now: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


def _verify(folder: Path) -> bool:
    from plumewatch.service.data_folder import DATABASES
    from storage.backup import verify

    sound = True
    for proof in verify(folder, DATABASES):
        echo(f"{'ok   ' if proof.ok else 'FAULT'} {proof.part}: {proof.sentence}")
        sound = sound and proof.ok
    return sound


def _name_damage(folder: Path) -> bool:
    """Print the damaged values of a sound backup; restoring it is still possible."""
    from plumewatch.service.stored_values import describe_damage

    if found := describe_damage(folder / "state.db"):
        echo(f"FAULT state.db: damaged values, set aside at the next start: {found}")
    return bool(found)


def _restore(folder: Path, site: Site, *, force: bool) -> None:
    from storage.files import FolderLock, make_private_folder

    root = site.paths.root
    aside = root / f"before-restore-{_format_stamp(time.time())}"
    make_private_folder(root)
    lock = FolderLock(site.paths.lock, work="restore")
    lock.take()
    try:
        present = sorted(p for p in root.glob("*.db*") if p.is_file())
        if present and not force:
            raise RefusedError(
                f"data folder {root} contains {', '.join(p.name for p in present)}; with --force"
                f" these move to {aside} and the backup takes their place"
            )
        if present:
            echo(f"moving {pluralize(len(present), 'file')} of {root} to {aside}")
        with show_progress("copying"):
            _put_in_place(folder, root, present, aside)
    finally:
        lock.release()


def _put_in_place(folder: Path, root: Path, present: list[Path], aside: Path) -> None:
    """Copy first, so a full disk changes nothing; then move old files aside and rename copies."""
    import shutil
    import tempfile

    from plumewatch.service.data_folder import DATABASES
    from storage.backup import refuse_other_schema
    from storage.sqlite import connect

    with tempfile.TemporaryDirectory(dir=root, prefix=".restoring-") as scratch:
        copies = [Path(scratch) / name for name in DATABASES if (folder / name).exists()]
        for copy in copies:
            shutil.copyfile(folder / copy.name, copy)
            copy.chmod(0o600)
            with closing(connect(copy, read_only=True)) as copied:
                refuse_other_schema(copied, DATABASES[copy.name], copy)
        if present:
            aside.mkdir(mode=0o700)
        for path in present:
            path.rename(aside / path.name)
        for copy in copies:
            copy.rename(root / copy.name)
