"""The grid of cells: the same for the same seed, near published figures, truth kept apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensor_sim.streams import stream
from sensor_sim.worlds.plume_grid import aerosol, grid, plume_grid
from sensor_sim.worlds.plume_grid.simulation import _draw_room, _Simulation
from sensor_sim.worlds.plume_grid.students import ring_bells
from sensor_sim.worlds.world import COLUMNS, EPOCH


@pytest.fixture(scope="module")
def world():
    return plume_grid(3, 12, 0.4, 4.0)


def test_readings_are_in_order_and_plausible(world):
    readings, happenings = world
    assert (np.diff(readings.time) >= 0).all()
    assert readings.time[0] >= EPOCH
    assert readings.values.shape == (len(readings.time), len(COLUMNS))
    of = {name: readings.values[:, i] for i, name in enumerate(COLUMNS)}
    assert 2 < np.nanmedian(of["pm25"]) < 40
    assert 10 < np.nanmedian(of["rh"]) < 80
    assert 14 < np.nanmedian(of["temp"]) < 30
    assert np.nanmin(readings.values) >= 0
    assert {h.sensor for h in happenings} <= set(readings.names)


def test_truth_of_vaping_is_its_own_excess_and_readings_do_not_hold_it(world):
    readings, happenings = world
    sessions = [h for h in happenings if h.kind == "vape"]
    assert len(sessions) > 4
    for session in sessions:
        if session.seen_pm25 > 5:
            assert session.onset <= session.arrival <= session.end + 91
        else:
            assert np.isnan(session.arrival)
    assert all(h.seen_pm25 == 0 for h in happenings if h.kind != "vape")
    truths = np.array([s.seen_pm25 for s in sessions if s.seen_pm25 > 0])
    assert not np.isin(np.round(truths, 6), np.round(readings.values, 6)).any()


def test_transport_creates_no_mass_and_loses_it_only_with_the_air():
    rng = np.random.default_rng(1)
    rooms = [grid.draw_airflow(rng) for _ in range(5)]
    still = np.zeros((1, 5))
    moves = grid.transport(
        rooms,
        rng.normal(0, 0.05, (1, 5, len(grid.SQUARES))),
        still,
        rng.integers(0, 3, (1, 5, grid.COLUMNS)).astype(float),
        np.ones((1, 5)),
        still,
    )
    assert (moves >= 0).all()
    np.testing.assert_allclose(moves.sum(axis=-2), 1.0)
    # Circulations conserve volume: an even room stays even.
    np.testing.assert_allclose(moves.sum(axis=-1), 1.0)


def test_droplets_live_as_long_as_published():
    # 0.5 µm of glycerol at 22 °C: 9.5 s; section 1 of the figures.
    air = np.zeros((1, 1, aerosol.WIDTH))
    air[..., aerosol.VAPE] = aerosol.size_shares(0.5, 1.3)
    speed = np.full((1, aerosol.LIQUIDS), aerosol.GLYCEROL_UM2_S)
    left = []
    for _ in range(40):
        aerosol.evaporate(air, speed, np.array([600.0]), np.array([[0.4]]))
        left.append(air[..., aerosol.VAPE].sum())
    assert 2 < np.argmax(np.array(left) < 1 / np.e) + 1 < 12
    assert left[-1] < 0.05
    assert air[..., aerosol.VAPE].sum() + air[..., aerosol.GLYCEROL].sum() == pytest.approx(1)


def test_a_puff_fades_within_a_minute_or_so():
    bells = ring_bells(stream(1, "bells"), 0.4)
    rooms = [_draw_room(7, n, bells, [], 1.0, 0.4, 12.0, 1.0) for n in range(14)]
    first = {}
    for n, room in enumerate(rooms):
        puffs = [
            a
            for a in room.day.acts
            if a.kind == "vape" and a.style in {"pod", "disposable"} and a.onset < 1000
        ]
        if puffs:
            first[n] = replace(puffs[0], releases=puffs[0].releases[:1])
        room.day.acts[:] = [first[n]] if n in first else []
    records = _Simulation(rooms).run()
    decay = []
    for n in first:
        vaped = np.convolve(records.vaped[n], np.full(3, 1 / 3), "same")
        peak = int(vaped.argmax())
        if vaped[peak] > 2:
            decay.append(int(np.argmax(vaped[peak:] < vaped[peak] / np.e)))
    assert len(decay) > 4
    assert 4 < np.median(decay) < 90
