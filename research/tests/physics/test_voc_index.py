"""Compare our port of the VOC Index algorithm with the published original."""

from __future__ import annotations

import numpy as np
import pytest

from sensor_sim.devices.voc_index import VocIndexPort

needs_original = pytest.mark.needs("sensirion_gas_index_algorithm")


def signal(seed, n=12_000):
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    s = 30_000 + rng.normal(0, 5, n) + 400 * np.sin(t / 3000)
    for _ in range(8):
        at = int(rng.integers(0, n))
        s[at:] -= rng.uniform(100, 3000) * np.exp(-np.arange(n - at) / rng.uniform(30, 900))
    return s.astype(np.int32)


@needs_original
def test_every_sample_is_that_of_the_original():
    from sensirion_gas_index_algorithm.voc_algorithm import VocAlgorithm

    raw = np.stack([signal(s) for s in range(4)])
    raw[1, 500:505] = 20_000
    port = VocIndexPort(4).process(raw)
    want = np.empty_like(port)
    for i in range(4):
        algorithm = VocAlgorithm()
        want[i] = [algorithm.process(int(x)) for x in raw[i]]
    # in single precision, the last bit changes the rounding of about one index in 50,000
    assert np.abs(port - want).max() <= 1
    assert (port != want).mean() < 2e-4


def test_splitting_the_stream_changes_nothing():
    raw = np.stack([signal(7, 3000), signal(8, 3000)])
    whole = VocIndexPort(2).process(raw)
    port = VocIndexPort(2)
    parts = [port.process(raw[:, a:b]) for a, b in ((0, 1), (1, 1700), (1700, 3000))]
    assert (np.concatenate(parts, axis=1) == whole).all()


def test_silent_for_45_s_then_again_after_a_reset():
    raw = np.full((2, 200), 30_000, np.int32)
    port = VocIndexPort(2)
    first = port.process(raw)
    assert not first[:, :46].any()
    assert first[:, 46:].all()
    port.reset(1)
    again = port.process(raw)
    assert again[0].all()
    assert not again[1, :46].any()
