"""Build a staff page's settings for tests: fields of all groups by name, with defaults."""

import asyncio
from dataclasses import dataclass, fields
from types import SimpleNamespace
from zoneinfo import ZoneInfo

from alerts.page.report_jobs import TooManyJobsError
from alerts.page.settings import (
    AccessSettings,
    NoticeSettings,
    PipelineStatus,
    StaffPageSettings,
)
from reports.school import School, SchoolTimes

_GROUPS = {
    "access": AccessSettings,
    "notices": NoticeSettings,
}


@dataclass(frozen=True)
class _School(School):
    on_duty: object = lambda _start, _end: ()

    def duty(self, start, end, _places=()):
        return self.on_duty(start, end)


async def _send_nothing(_member):
    return ()


def _read_from(thresholds):
    async def read(sensors):
        return {name: report for name, report in thresholds.items() if name in sensors}

    return read


async def _evaluate_nothing(_room, _starts, _person):
    return "tests are not evaluated here"


class _BusyReports:
    def start(self, *_):
        raise TooManyJobsError

    def list_jobs(self, *_):
        return []

    def open(self):
        pass

    async def close(self):
        pass


class CountedWakes(asyncio.Event):
    """An event that counts how often it is set."""

    count = 0

    def set(self):
        self.count += 1


def page_settings(*, engine, school="Plumewatch", times=None, **given):
    """Return a page's settings; `pipeline` and similar arguments are functions."""
    given = {
        "send_test": _send_nothing,
        "read_channels": lambda: None,
        "evaluate_room": _evaluate_nothing,
        "reports": _BusyReports(),
        "one_click": True,
        **given,
    }
    pipeline = SimpleNamespace(
        get_status=given.pop("pipeline", PipelineStatus),
        get_intervals=given.pop("intervals", dict),
        read_thresholds=_read_from(given.pop("thresholds", {})),
    )
    own = {"on_duty": given.pop("on_duty")} if "on_duty" in given else {}
    zone = ZoneInfo(engine.policy.zone)
    known = _School(school, zone, engine.registry, times or SchoolTimes(), **own)
    groups = {}
    for name, group in _GROUPS.items():
        names = {field.name for field in fields(group)} & set(given)
        groups[name] = group(**{key: given.pop(key) for key in names})
    return StaffPageSettings(engine=engine, school=known, pipeline=pipeline, **groups, **given)
