"""Compare our port of the VOC Index algorithm with the published original."""

from __future__ import annotations

import numpy as np
import pytest

from sensor_sim.devices.voc_index import PortedAlgorithm

needs_original = pytest.mark.needs("sensirion_gas_index_algorithm")


def signal(seed, n=12_000):
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    s = 30_000 + rng.normal(0, 5, n) + 400 * np.sin(t / 3000)
    for _ in range(8):
        at = int(rng.integers(0, n))
        s[at:] -= rng.uniform(100, 3000) * np.exp(-np.arange(n - at) / rng.uniform(30, 900))
    return s.astype(np.int32)


def read(algorithm, raw):
    return np.array([algorithm.process(int(ticks)) for ticks in raw])


@needs_original
@pytest.mark.parametrize("seed", range(4))
def test_every_sample_is_that_of_the_original(seed):
    from sensirion_gas_index_algorithm.voc_algorithm import VocAlgorithm

    raw = signal(seed)
    raw[500:505] = 20_000
    port, want = read(PortedAlgorithm(), raw), read(VocAlgorithm(), raw)
    # in single precision, the last bit changes the rounding of about one index in 50,000
    assert np.abs(port - want).max() <= 1
    assert (port != want).mean() < 2e-4


def test_silent_for_45_s():
    index = read(PortedAlgorithm(), [30_000] * 200)
    assert not index[:46].any()
    assert index[46:].all()
