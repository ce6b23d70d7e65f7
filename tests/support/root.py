"""An overlay of this machine's file system for testing installations; needs root."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}


class CommandError(Exception):
    """A step failed; the message names it."""


class Root:
    """A root file system: an overlay over `below` that is deleted when closed."""

    def __init__(self, below: Path) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="plumewatch-root-"))
        self.path = self._home / "root"
        self.env: dict[str, str] = {}
        self._mounts = ExitStack()
        try:
            upper, work = self._home / "layer/upper", self._home / "layer/work"
            (self._home / "layer").mkdir()
            self.path.mkdir()
            # needs its own file system, because an overlay cannot use another overlay's folder
            self._mount("-t", "tmpfs", "tmpfs", str(self._home / "layer"))
            upper.mkdir()
            upper.chmod(0o755)  # it is the root folder, which every user must be able to enter
            work.mkdir()
            layers = f"lowerdir={below},upperdir={upper},workdir={work}"
            self._mount("-t", "overlay", "overlay", "-o", layers, str(self.path))
            self._mount("-t", "proc", "proc", str(self.path / "proc"))
            self._mount("--rbind", "/dev", str(self.path / "dev"))
            self._mount("--make-rslave", str(self.path / "dev"), undo=False)
        except BaseException:
            self.close()
            raise

    def _mount(self, *arguments: str, undo: bool = True) -> None:
        subprocess.run(["mount", *arguments], check=True)
        if undo:
            undoing = ["umount", "--recursive", "--lazy", arguments[-1]]
            self._mounts.callback(subprocess.run, undoing, check=False)

    def close(self) -> None:
        """Discard all changes."""
        self._mounts.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def run(self, command: str | list[str], *, may_fail: bool = False) -> str:
        """Run a command in it and return its output; raise CommandError if it fails."""
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        done = subprocess.run(
            ["chroot", str(self.path), "env", "--chdir=/", *argv],
            env={**ENVIRONMENT, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode and not may_fail:
            raise CommandError(f"{command} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def copy(self, source: Path, target: str) -> None:
        """Copy a file, or a folder's contents."""
        to = self.path / target.lstrip("/")
        if source.is_dir():
            shutil.copytree(source, to, symlinks=True, dirs_exist_ok=True)
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, to)
