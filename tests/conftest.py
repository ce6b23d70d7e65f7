"""What all tests share: no deadline for examples, their order, one history of the morning."""

import functools
import os

import pytest
import typer.testing
from hypothesis import settings

from detection.model import Model
from scale.history import HistoryWriter
from scale.landing import land_recordings
from tests.support.once import made_once
from tests.support.recorded import recorded, registry

# a loaded machine takes its time
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
# each `invoke` builds all commands again, which takes longer than most of them
typer.testing._get_command = functools.cache(typer.testing._get_command)


def pytest_collection_modifyitems(items):
    """Start with the tests of processes: they are the longest and wait, while others calculate.

    Within each half the order stays random.
    """
    items.sort(key=lambda item: {"fault", "e2e"}.isdisjoint(item.path.parts))


@pytest.fixture(autouse=True)
def same_umask():
    """`plumewatch run` narrows the umask of its process: here that is the one of all tests."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def history(tmp_path_factory):
    """Two buckets; never written to."""

    def land(folder):
        with HistoryWriter(folder) as writer:
            land_recordings(recorded(), registry(), writer)

    return made_once(tmp_path_factory, "history", land)[0]


@pytest.fixture(scope="session")
def gym_history(tmp_path_factory):
    """The smallest of the buildings, in one bucket; never written to."""
    rooms, sensors = registry().rooms, registry().sensors
    readings = [r for r in recorded() if rooms[sensors[r.sensor].room].building == "Gym"]

    def land(folder):
        with HistoryWriter(folder, 1) as writer:
            land_recordings(readings, registry(), writer)

    return made_once(tmp_path_factory, "gym-history", land)[0]


@pytest.fixture(scope="session")
def unlike(tmp_path_factory):
    """A model file that alerts far sooner than the shipped one."""
    shipped = Model.shipped()
    path = tmp_path_factory.mktemp("model") / "eager.npz"
    eager = Model("eager", shipped.level - 3.0, shipped.vape, shipped.kinds)
    path.write_bytes(eager.to_bytes())
    return path
