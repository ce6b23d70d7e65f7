"""The first command of the README: a school that is alive within the demo's own process."""

from __future__ import annotations

import sys

import pytest

from tests.support.service import demo_takes_readings

pytest.importorskip("iotcore")


@pytest.mark.timeout(180)
def test_the_demo_accepts_readings_and_ends_on_a_signal():
    demo_takes_readings(sys.executable, "-m", "plumewatch")
