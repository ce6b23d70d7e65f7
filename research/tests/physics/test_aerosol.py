"""Test particle sizes: conservation, evaporation, deposition, growth."""

from __future__ import annotations

import numpy as np
import pytest

from sensor_sim.physics.aerosol import (
    BIN_MASS_UG,
    Aerosol,
    Mode,
    compute_evaporation_slowdown,
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


def test_humid_air_slows_it():
    aerosol = Aerosol((Mode(0.5, 1.5),), volatile=1.0, efold_s=19.0)
    slow = compute_evaporation_slowdown(90.0)
    assert slow > 2
    dry, humid = mass_mg(aerosol, 19.0), mass_mg(aerosol, 19.0 * slow, evaporation_slowdown=slow)
    assert humid == pytest.approx(dry)
