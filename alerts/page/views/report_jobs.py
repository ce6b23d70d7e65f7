"""Reports that are being made for people, and those that lie ready for a while.

Each is made by a program of its own at low priority, so that a long one delays no alert; here is
only what is known of it. Files are the person's who asked, and go after an hour.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_LOG: Final = logging.getLogger(__name__)
KEPT_S: Final = 3600.0
_AT_ONCE: Final = 2
_MOST: Final = 40
_LONGEST_S: Final = 900.0


class TooManyJobsError(Exception):
    """As many reports as may be are being made."""


class Order(msgspec.Struct, frozen=True):
    """What is to be made.

    Attributes
    ----------
    config : str
        The configuration as JSON.
    fields : dict of str to str
        What was asked for, as the command line names it.
    person : str
        For the audit log.
    now : float
        Unix seconds.
    """

    config: str
    fields: dict[str, str]
    path: str
    person: str
    now: float


@dataclass
class Job:
    """One report.

    Attributes
    ----------
    id : str
        Unguessable.
    person : str
        Id of who asked.
    name : str
        Of the file, for people.
    asked_at : float
        Unix seconds.
    done, of : int
        Days read, of how many; 0 of 0 while it begins.
    state : str
        ``"making"``, ``"ready"`` or ``"failed"``.
    """

    id: str
    person: str
    name: str
    path: Path
    asked_at: float
    done: int = 0
    of: int = 0
    state: str = "making"
    error: str = ""
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class ReportJobs:
    """Starts them and remembers them.

    Parameters
    ----------
    folder : Path
        For the files; what is in it is of an earlier run and goes.
    command : sequence of str
        Program that reads an `Order` from its standard input, as JSON, writes the file named there,
        and prints lines ``{"done": 3, "of": 70}`` or ``{"error": "..."}``.
    config : str
        The configuration, for the order.
    clock : callable
        Unix seconds.
    """

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        config: str,
        clock: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._command = tuple(command)
        self._config = config
        self._clock = clock
        self._jobs: dict[str, Job] = {}

    def open(self) -> None:
        """Make the folder, or empty it; nobody else of this machine may look in.

        Where the disk refuses, the page is there all the same, and reports fail.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in self._folder.iterdir():
                path.unlink()
        except OSError as error:
            _LOG.warning("%s: %s", self._folder, error.strerror)

    async def close(self) -> None:
        """Stop what is being made."""
        tasks = [job.task for job in self._jobs.values() if job.task and not job.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def start(self, fields: Mapping[str, str], person: str, name: str) -> Job:
        """Begin a report; returns at once.

        Raises
        ------
        TooManyJobsError
        """
        self._forget()
        running = [job for job in self._jobs.values() if job.state == "making"]
        if len(running) >= _AT_ONCE or len(self._jobs) >= _MOST:
            raise TooManyJobsError
        key = secrets.token_urlsafe(16)
        path = self._folder / f"{key}{os.path.splitext(name)[1]}"  # noqa: PTH122 - a name, no path
        job = Job(key, person, name, path, self._clock())
        self._jobs[key] = job
        order = Order(self._config, dict(fields), str(path), person, job.asked_at)
        job.task = asyncio.create_task(self._make(job, msgspec.json.encode(order)), name="report")
        return job

    def of(self, person: str) -> list[Job]:
        """Jobs of a person, newest first."""
        self._forget()
        return [job for job in reversed(self._jobs.values()) if job.person == person]

    def find(self, key: str, person: str) -> Job | None:
        """Job of a person; None if there is none of this id, or it is another's."""
        self._forget()
        job = self._jobs.get(key)
        return job if job is not None and job.person == person else None

    def _forget(self) -> None:
        old = self._clock() - KEPT_S
        for job in [j for j in self._jobs.values() if j.state != "making" and j.asked_at < old]:
            job.path.unlink(missing_ok=True)
            del self._jobs[job.id]

    async def _make(self, job: Job, order: bytes) -> None:
        try:
            async with asyncio.timeout(_LONGEST_S):
                await self._follow(job, order)
        except TimeoutError:
            job.error = "It took longer than a quarter of an hour."
        except OSError as error:
            job.error = f"It could not be begun: {error.strerror}."
        finally:
            job.state = "ready" if not job.error and job.path.exists() else "failed"
            job.error = job.error or ("" if job.state == "ready" else "It could not be made.")

    async def _follow(self, job: Job, order: bytes) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            if process.stdin is not None and process.stdout is not None:
                process.stdin.write(order)
                process.stdin.close()
                async for line in process.stdout:
                    said = json.loads(line)
                    job.done, job.of = said.get("done", job.done), said.get("of", job.of)
                    job.error = said.get("error", job.error)
                await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
