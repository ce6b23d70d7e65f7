"""Test every device model and the quirks of each part."""

from __future__ import annotations

import numpy as np
import pytest

from detection.quantities import COLUMNS, QUANTITIES
from sensor_sim.devices.models import MODELS
from sensor_sim.school import draw_school
from sensor_sim.simulate import simulate

START = 1_789_000_000.0


def one_hour(model, interval, seed=4):
    school = draw_school(1, 1, models=[model], intervals=[interval])
    (chunk,) = simulate(school, seed=seed, start=START, duration_s=3600)
    return chunk.traces[0]


@pytest.mark.parametrize("model", list(MODELS))
def test_a_model_reports_its_channels_within_range_and_nothing_else(model):
    trace = one_hour(model, min(MODELS[model].interval_s, 60))
    have = [c for i, c in enumerate(COLUMNS) if not np.isnan(trace.values[:, i]).all()]
    assert have == list(MODELS[model].channels)
    for i, c in enumerate(COLUMNS):
        seen = trace.values[:, i][~np.isnan(trace.values[:, i])]
        assert ((seen >= QUANTITIES[c].low) & (seen <= QUANTITIES[c].high)).all(), c
    assert np.all(np.diff(trace.time) > 0)
    assert np.all(np.diff(trace.sent) >= 0)


def test_gs601_rates_vaping_itself_and_sends_frames_at_once():
    school = draw_school(1, 4, models=["gs601"], intervals=[600])
    named, off_beat = set(), 0
    for chunk in simulate(school, seed=2, start=START, duration_s=14_400, activity="demo"):
        for trace in chunk.traces:
            named |= {name for _, name in trace.events}
            off_beat += int((np.diff(trace.time) < 500).sum())
        if "vendor_vape" in named and off_beat:
            return
    pytest.fail(f"{named}, {off_beat} frames out of turn")
