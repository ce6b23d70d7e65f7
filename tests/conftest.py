"""Shared setup: Hypothesis examples, the order of tests, and a history of the recorded morning."""

import functools
import gc
import os
import tempfile
from collections import Counter
from pathlib import Path

import httpx
import pytest
import typer.testing
from hypothesis import settings

from scale.history import HistoryWriter, build_frame, place_reading
from tests.support.needs import need
from tests.support.once import made_once
from tests.support.recorded import recorded, registry

# Temporary folders are in memory if it has room and can run programs. No test depends on a real
# disk (`tests.support.disk_shim` simulates one), and thousands of tests would wait for its syncs.
MEMORY = Path("/dev/shm")  # noqa: S108
if "TMPDIR" not in os.environ and MEMORY.is_dir():
    there = os.statvfs(MEMORY)
    if there.f_bavail * there.f_frsize > 2**31 and not there.f_flag & os.ST_NOEXEC:
        tempfile.tempdir = os.environ["TMPDIR"] = str(MEMORY)
# on Debian, servers are only on root's path
if "/usr/bin" in os.environ["PATH"].split(":"):
    os.environ["PATH"] += ":/usr/sbin"
# the same examples in each run, without deadlines; `make fault` searches for others
settings.load_profile("ci")
settings.register_profile("others", derandomize=False)
# each `invoke` would rebuild all commands, which takes longer than most of them
typer.testing._get_command = functools.cache(typer.testing._get_command)
# each client would load all certificates, which takes longer than most requests
httpx._transports.default.create_ssl_context = functools.cache(httpx.create_ssl_context)


def pytest_collection_modifyitems(items):
    """Give each worker long tests first; two workers start with process tests, which mostly wait.

    pytest-xdist splits the list into equal parts. Among process tests, the longest time-out comes
    first: the Java tests, one after another, because they share a virtual machine. Plug-in tests
    begin the other parts. Short tests come last, and the workers share them evenly. A folder's
    tests stay together, because they share expensive fixtures. Otherwise, the order is random.
    """
    folders = list(dict.fromkeys(item.path.parent for item in items))
    limits = {}
    for item in items:
        marker = item.get_closest_marker("timeout")
        limits[item.path] = max(limits.get(item.path, 0), marker.args[0] if marker else 0)
    waiting, others = [], []
    for item in items:
        is_waiting = not {"fault", "e2e"}.isdisjoint(item.path.parts)
        (waiting if is_waiting else others).append(item)
    waiting.sort(key=lambda item: -limits[item.path])
    modules = list(dict.fromkeys(item.path for item in waiting))
    parts = [], []
    for item in waiting:
        number = modules.index(item.path)
        parts[not (number < 2 or number % 3 == 2)].append(item)
    others.sort(key=lambda item: ("unit" in item.path.parts, folders.index(item.path.parent)))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    part = len(items) // workers
    rest = part * max(workers - 2, 0)
    between = rest + max(part - len(parts[0]), 0)
    items[:] = [*parts[0], *others[rest:between], *parts[1], *others[between:], *others[:rest]]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip a test before its fixtures are created, if something that its marker names is
    missing."""
    for marker in item.iter_markers("needs"):
        need(*marker.args)


def pytest_addoption(parser):
    parser.addoption("--skipped-to", type=Path, help="a file for the ids of skipped tests")


def pytest_terminal_summary(terminalreporter, config):
    """List the reasons for skipped tests."""
    skipped = terminalreporter.stats.get("skipped", ())
    if path := config.getoption("--skipped-to"):
        path.write_text("".join(f"{report.nodeid}\n" for report in skipped))
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("skipped", cyan=True)
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"{count:5}  {reason}")


def pytest_collection_finish():
    """Exclude modules and tests from garbage collection, because they stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def same_umask():
    """Restore the umask, because `plumewatch run` restricts it for the whole test process."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def landed_history(folder, readings, buckets):
    rows = [place_reading(reading, registry()) for reading in readings]
    with HistoryWriter(folder, buckets) as writer:
        writer.commit(build_frame(rows), b"")


@pytest.fixture(scope="session")
def history(tmp_path_factory):
    """Return a history with two buckets; never written to."""
    return made_once(
        tmp_path_factory,
        "history",
        functools.partial(landed_history, readings=recorded(), buckets=2),
    )[0]


@pytest.fixture(scope="session")
def gym_history(tmp_path_factory):
    """Return the smallest building's history, in one bucket; never written to."""
    rooms, sensors = registry().rooms, registry().sensors
    readings = [r for r in recorded() if rooms[sensors[r.sensor].room].building == "Gym"]
    land = functools.partial(landed_history, readings=readings, buckets=1)
    return made_once(tmp_path_factory, "gym-history", land)[0]
