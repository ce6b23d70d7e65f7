"""The port of the VOC Index against the published original."""

from __future__ import annotations

import numpy as np
import pytest

from sensor_sim.devices.voc_index import VocIndex, VocIndexPort

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
    # Single precision: the last bit may round one index up or down in about one of 50,000.
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


def test_a_pulse_saturates_but_keeps_order():
    # Runs of the original after 24 h of clean air: 150 ticks -> 166, 900 -> 479, 1500 -> 496
    # (tau 180 s), peak 30-42 s after the onset; ten hours of clean air leave it a little lower.
    n, at = 40_000, 36_000
    tail = np.exp(-np.arange(n - at) / 180)
    raw = np.full((3, n), 30_000.0)
    raw += np.random.default_rng(1).normal(0, 3, raw.shape)
    for row, depth in zip(raw, (150, 900, 1500), strict=True):
        row[at:] -= depth * tail
    index = VocIndex(3).process(raw.astype(np.int32))
    clean = index[:, at - 600 : at].mean(axis=1)
    assert clean == pytest.approx([100] * 3, abs=5)
    small, spray, large = index[:, at:].max(axis=1)
    assert 150 < small < 185
    assert 25 <= index[0, at:].argmax() <= 60
    assert 430 < spray < 490
    assert spray < large <= 500
