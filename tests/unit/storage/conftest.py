from __future__ import annotations

import pytest

from storage.reading import Reading

START = 1_790_000_000.0


@pytest.fixture
def make_readings():
    def make(n=3, sensor="n2-boys-1", first=0, **more):
        return [
            Reading(
                sensor, START + i, START + i + 0.25, {"pm25": 4.0 + i, "rh": 40.0}, seq=i, **more
            )
            for i in range(first, first + n)
        ]

    return make
