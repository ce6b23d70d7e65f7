"""Run report jobs, and keep reports until an hour after they were requested.

Only the person who requested a report can get it, and only while they can see its schools. At most
one report of a person is in progress, `_PER_SITES` of the same schools and `_IN_TOTAL` of all, so
that neither a person nor a school keeps others waiting. A person's last `_KEPT` reports are kept.

Each job runs in its own low-priority process, so that a long report never delays an alert.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

_LOG: Final = logging.getLogger(__name__)
KEPT_S: Final = 3600.0
_PER_SITES: Final = 2
_IN_TOTAL: Final = 4
_KEPT: Final = 10
_LONGEST_S: Final = 900.0


class TooManyJobsError(Exception):
    """Too many reports are in progress."""


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
    report: str = ""
    """The report's name in `reports.text.ABOUT`."""
    state: str = "making"
    error: str = ""
    task: asyncio.Task[None] | None = field(default=None, repr=False)


@dataclass(eq=False, repr=False)
class ReportJobs:
    """Creates each report in a separate process, and keeps its file.

    `make` gets the fields of a report, the path of its file, the person and the time; it returns
    why the report failed, or an empty string.
    """

    folder: Path
    make: Callable[[Mapping[str, str], str, str, float], Awaitable[str]]
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
        """Start a report; raise `TooManyJobsError` if too many are in progress."""
        self._delete_expired()
        running = [job for job in self._jobs.values() if job.state == "making"]
        if (
            any(job.person == person for job in running)
            or sum(job.sites == sites for job in running) >= _PER_SITES
            or len(running) >= _IN_TOTAL
        ):
            raise TooManyJobsError
        for job in [job for job in self._jobs.values() if job.person == person][: 1 - _KEPT]:
            self._delete(job)
        key = secrets.token_urlsafe(16)
        path = self.folder / f"{key}{os.path.splitext(name)[1]}"  # noqa: PTH122 - a name, no path
        job = Job(key, person, name, path, self.clock(), sites, fields.get("name", ""))
        self._jobs[key] = job
        job.task = asyncio.create_task(self._make(job, fields), name="report")
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
            self._delete(job)

    def _delete(self, job: Job) -> None:
        job.path.unlink(missing_ok=True)
        del self._jobs[job.id]

    async def _make(self, job: Job, fields: Mapping[str, str]) -> None:
        try:
            async with asyncio.timeout(_LONGEST_S):
                job.error = await self.make(fields, str(job.path), job.person, job.asked_at)
        except TimeoutError:
            job.error = "The report took longer than 15 minutes."
        except OSError as error:
            _LOG.warning("a report was not created: %s", error)
        finally:
            job.state = "ready" if not job.error and job.path.exists() else "failed"
            job.error = job.error or (
                "" if job.state == "ready" else "The report could not be created."
            )
