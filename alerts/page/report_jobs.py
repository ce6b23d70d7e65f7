"""Run report jobs, and keep finished reports for an hour.

Only the person who requested a report can get it, and only while they can see its schools.

Each job runs in its own low-priority process, so that a long report never delays an alert.
"""

from __future__ import annotations

import asyncio
import contextlib
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
_MAX_JOBS: Final = 40
_FOR_OTHERS: Final = 2
"""Limits for all schools, as a multiple of one school's: one school cannot use them up."""
_LONGEST_S: Final = 900.0


class TooManyJobsError(Exception):
    """Too many reports are in progress or kept."""


class Order(msgspec.Struct, frozen=True):
    """Input of the report process: `config` is JSON; `fields` have the command line's names."""

    config: str
    fields: dict[str, str]
    path: str
    person: str
    now: float


@dataclass
class Job:
    """A report job; its id cannot be guessed.

    `sites` contains the names of the sites that the report covers; None means all.
    """

    id: str
    person: str
    name: str
    path: Path
    asked_at: float
    sites: frozenset[str] | None = None
    state: str = "making"
    error: str = ""
    task: asyncio.Task[None] | None = field(default=None, repr=False)


@dataclass(eq=False, repr=False)
class ReportJobs:
    """Starts report processes and follows them.

    `command` reads an `Order` as JSON from its standard input, and writes the file that it names or
    prints why it cannot. `folder` is emptied by `open`.
    """

    folder: Path
    command: Sequence[str]
    config: str
    clock: Callable[[], float]
    _jobs: dict[str, Job] = field(init=False, default_factory=dict)

    def open(self) -> None:
        """Create or empty the folder, private to this user; disk errors are only logged."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in self.folder.iterdir():
                path.unlink()
        except OSError as error:
            _LOG.warning("%s: %s", self.folder, error.strerror)

    async def close(self) -> None:
        """Stop the reports in progress."""
        tasks = [job.task for job in self._jobs.values() if job.task and not job.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def start(
        self,
        fields: Mapping[str, str],
        person: str,
        name: str,
        sites: frozenset[str] | None = None,
    ) -> Job:
        """Start a report; raise `TooManyJobsError` at the limit for its sites or in total."""
        self._delete_expired()
        for jobs, times in (
            ([job for job in self._jobs.values() if job.sites == sites], 1),
            ([*self._jobs.values()], _FOR_OTHERS),
        ):
            running = sum(job.state == "making" for job in jobs)
            if running >= times * _AT_ONCE or len(jobs) >= times * _MAX_JOBS:
                raise TooManyJobsError
        key = secrets.token_urlsafe(16)
        path = self.folder / f"{key}{os.path.splitext(name)[1]}"  # noqa: PTH122 - a name, no path
        job = Job(key, person, name, path, self.clock(), sites)
        self._jobs[key] = job
        order = Order(self.config, dict(fields), str(path), person, job.asked_at)
        job.task = asyncio.create_task(self._make(job, msgspec.json.encode(order)), name="report")
        return job

    def list_jobs(self, person: str, sites: frozenset[str] | None = None) -> list[Job]:
        """Return a person's jobs, newest first, that cover only `sites`; None means all sites."""
        self._delete_expired()
        return [
            job
            for job in reversed(self._jobs.values())
            if job.person == person
            and (sites is None or (job.sites is not None and job.sites <= sites))
        ]

    def _delete_expired(self) -> None:
        old = self.clock() - KEPT_S
        for job in [j for j in self._jobs.values() if j.state != "making" and j.asked_at < old]:
            job.path.unlink(missing_ok=True)
            del self._jobs[job.id]

    async def _make(self, job: Job, order: bytes) -> None:
        try:
            async with asyncio.timeout(_LONGEST_S):
                await self._follow(job, order)
        except TimeoutError:
            job.error = "The report took longer than 15 minutes."
        except OSError as error:
            job.error = f"The report could not be started: {error.strerror}."
        finally:
            job.state = "ready" if not job.error and job.path.exists() else "failed"
            job.error = job.error or (
                "" if job.state == "ready" else "The report could not be created."
            )

    async def _follow(self, job: Job, order: bytes) -> None:
        process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            said, _nothing = await process.communicate(order)
            job.error = said.decode()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
