"""Sizes: conservation, evaporation, deposition, growth."""

from __future__ import annotations

import numpy as np
import pytest

from sensor_sim.physics.aerosol import (
    BIN_MASS_UG,
    Aerosol,
    Mode,
    deposition_per_h,
    growth_factor,
    humidity_slows_evaporation,
)


def mass_mg(aerosol, age, **kwargs):
    numbers = aerosol.numbers_per_mg(np.atleast_1d(np.asarray(age, float)), **kwargs)
    return BIN_MASS_UG @ numbers / 1000 * aerosol.density_g_cm3


@pytest.mark.parametrize(("mmd", "gsd"), [(0.4, 1.4), (0.6, 1.8), (1.0, 2.0), (4.0, 1.5)])
def test_a_mg_in_the_bins_is_a_mg(mmd, gsd):
    assert mass_mg(Aerosol((Mode(mmd, gsd),)), 0.0)[0] == pytest.approx(1, abs=0.055)


@pytest.mark.parametrize("gsd", [1.4, 1.6, 2.0])
@pytest.mark.parametrize("efold", [8.0, 19.0, 60.0])
def test_volatile_mass_falls_to_1_over_e_in_the_stated_time(gsd, efold):
    aerosol = Aerosol((Mode(0.8, gsd),), volatile=1.0, efold_s=efold)
    start, later = mass_mg(aerosol, [0.0, efold])
    assert later / start == pytest.approx(np.exp(-1), abs=0.05)


def test_particles_never_appear_by_ageing():
    aerosol = Aerosol((Mode(0.5, 1.6), Mode(3.0, 2.0)), volatile=0.9, efold_s=20.0)
    numbers = aerosol.numbers_per_mg(np.linspace(0, 200, 50)).sum(axis=0)
    assert np.all(np.diff(numbers) <= 1e-9 * numbers[0])
    mass = mass_mg(aerosol, np.linspace(0, 200, 50))
    assert np.all(np.diff(mass) <= 0)


def test_humid_air_slows_it():
    aerosol = Aerosol((Mode(0.5, 1.5),), volatile=1.0, efold_s=19.0)
    slow = humidity_slows_evaporation(90.0)
    assert slow > 2
    dry, humid = mass_mg(aerosol, 19.0), mass_mg(aerosol, 19.0 * slow, evaporation_slowdown=slow)
    assert humid == pytest.approx(dry)


def test_deposition_is_that_of_howard_reed_and_wallace():
    fine, coarse = deposition_per_h(np.array([0.4, 10.0]))
    assert fine == pytest.approx(0.3)
    assert coarse == pytest.approx(5.2)
    assert deposition_per_h(np.array([0.4]), 2.0)[0] == pytest.approx(0.6)


def test_growth_matters_only_in_humid_air():
    # Mass x1.5-2 at 85 %, x3-5 at 95 % for kappa 0.1-0.4; none in dry air.
    assert growth_factor(0.0, 0.25) == 1
    assert 1.5 <= growth_factor(85.0, 0.15) ** 3 <= 2.0
    assert 2.5 <= growth_factor(95.0, 0.15) ** 3 <= 5.0
