"""Progress bars on standard error; nothing where that is no terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Iterator


def progress() -> Progress:
    """Return a bar."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Show that something is being done whose length nobody knows."""
    with progress() as bar:
        bar.add_task(what, total=None)
        yield
