"""A disk for the time of a test: an ext4 image whose content can be copied at any moment."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.needs import need

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ImageDisk"]


class ImageDisk:
    """An ext4 file system in a file, mounted; skips the test where that cannot be done.

    What the file holds is what reached the disk. What programs wrote and nobody synced is in the
    memory of the mounted file system and not in a copy of the file, as after a power cut: the
    file system itself writes back no sooner than after minutes.

    Parameters
    ----------
    folder : Path
        Where the image is made.
    mount_point : Path
        An empty folder.
    megabytes : int
    """

    def __init__(self, folder: Path, mount_point: Path, megabytes: int = 48) -> None:
        self.mount_point = mount_point
        self._image = folder / "disk.img"
        self._copies = 0
        need("mkfs.ext4")
        if os.geteuid() != 0:
            pytest.skip("needs the right to mount")
        with self._image.open("wb") as file:
            file.truncate(megabytes * 1_000_000)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self._image)], check=True)
        mounted = _mount(self._image, mount_point)
        if not mounted:
            pytest.skip("an image cannot be mounted here")
        subprocess.run(["sync", "-f", str(mount_point)], check=True)

    def cut_power(self) -> Path:
        """Copy what is on the disk at this moment."""
        self._copies += 1
        copy = self._image.with_name(f"copy-{self._copies}.img")
        shutil.copyfile(self._image, copy)
        return copy

    @contextlib.contextmanager
    def after(self, copy: Path) -> Iterator[Path]:
        """Mount a copy, as the machine does when power is back."""
        point = copy.with_suffix("")
        point.mkdir()
        assert _mount(copy, point)
        try:
            yield point
        finally:
            subprocess.run(["umount", "-l", str(point)], check=True)

    def close(self) -> None:
        """Unmount."""
        subprocess.run(["umount", "-l", str(self.mount_point)], check=True)


def _mount(image: Path, point: Path) -> bool:
    command = ["mount", "-o", "loop,commit=300", str(image), str(point)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
