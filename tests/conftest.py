"""What all tests share: examples, their order, one history of the morning."""

import functools
import gc
import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import typer.testing
from hypothesis import settings

from scale.history import HistoryWriter, build_frame, place_reading
from tests.support.needs import need
from tests.support.once import made_once
from tests.support.recorded import recorded, registry

# Folders of tests are in memory where that has room and may run programs: no test asks a real disk
# what it keeps (`tests.support.disk_shim` does), and thousands of them would wait for its syncs.
MEMORY = Path("/dev/shm")  # noqa: S108
if "TMPDIR" not in os.environ and MEMORY.is_dir():
    there = os.statvfs(MEMORY)
    if there.f_bavail * there.f_frsize > 2**31 and not there.f_flag & os.ST_NOEXEC:
        tempfile.tempdir = os.environ["TMPDIR"] = str(MEMORY)
# Debian keeps servers where the path of root alone leads.
if "/usr/bin" in os.environ["PATH"].split(":"):
    os.environ["PATH"] += ":/usr/sbin"
# The same examples in each run, however long a loaded machine takes; `make fault` looks for others.
settings.load_profile("ci")
settings.register_profile("others", derandomize=False)
# each `invoke` builds all commands again, which takes longer than most of them
typer.testing._get_command = functools.cache(typer.testing._get_command)


def pytest_collection_modifyitems(items):
    """Start each worker with long tests, two of them with those of processes, which mostly wait.

    pytest-xdist deals out the list in equal parts. Of the processes, the longest time-out comes
    first: that of the tests of Java, one after the other, as they share a virtual machine. The
    tests of plug-ins begin the other parts. What is left at the end are short tests, which the
    workers share evenly. The tests of a folder stay together, as they share what takes seconds to
    make. Apart from that the order is random.
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
    """Skip a test, before its fixtures are made, without what its marker names."""
    for marker in item.iter_markers("needs"):
        need(*marker.args)


def pytest_addoption(parser):
    parser.addoption("--skipped-to", type=Path, help="a file for the ids of skipped tests")


def pytest_terminal_summary(terminalreporter, config):
    """List why tests were skipped."""
    skipped = terminalreporter.stats.get("skipped", ())
    if path := config.getoption("--skipped-to"):
        path.write_text("".join(f"{report.nodeid}\n" for report in skipped))
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("skipped", cyan=True)
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"{count:5}  {reason}")


def pytest_collection_finish():
    """Modules and tests stay to the end: no collection of garbage looks at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def same_umask():
    """`plumewatch run` narrows the umask of its process: here that is the one of all tests."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def landed_history(folder, readings, buckets):
    rows = [place_reading(reading, registry()) for reading in readings]
    with HistoryWriter(folder, buckets) as writer:
        writer.commit(build_frame(rows), b"")


@pytest.fixture(scope="session")
def history(tmp_path_factory):
    """Two buckets; never written to."""
    return made_once(
        tmp_path_factory,
        "history",
        functools.partial(landed_history, readings=recorded(), buckets=2),
    )[0]


@pytest.fixture(scope="session")
def gym_history(tmp_path_factory):
    """The smallest of the buildings, in one bucket; never written to."""
    rooms, sensors = registry().rooms, registry().sensors
    readings = [r for r in recorded() if rooms[sensors[r.sensor].room].building == "Gym"]
    land = functools.partial(landed_history, readings=readings, buckets=1)
    return made_once(tmp_path_factory, "gym-history", land)[0]
