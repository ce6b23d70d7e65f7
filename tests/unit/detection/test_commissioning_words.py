"""Test what a room test reports about a sensor that missed the puff."""

import pytest

from detection.commissioning import STEPS, conclude


@pytest.mark.parametrize(
    ("has_particles", "sees_puff", "said"),
    [
        (False, False, "s1 sent no valid particle values during the test"),
        (True, False, "mount it closer"),
        (True, True, "cannot tell it from other sources"),
    ],
)
def test_a_missed_puff(has_particles, sees_puff, said):
    missed = {step.name: () for step in STEPS}
    words = conclude("s1", 5.0, missed, has_particles=has_particles, sees_puff=sees_puff)
    assert said in words
