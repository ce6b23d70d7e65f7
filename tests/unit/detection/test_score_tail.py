import numpy as np
import pytest
from scipy.stats import genpareto

from detection.score_tail import LEAST, SHAPE, STEP, TAIL, expected_above, fit_excesses, survival


@pytest.mark.parametrize("shape", [-0.5, -0.2, 0.0, 1e-9, 0.1, 0.5])
def test_survival_is_that_of_scipy(shape):
    x = np.linspace(0.0, 12.0, 60)
    ours = survival(x, np.array(shape), np.array(0.8))
    assert ours == pytest.approx(genpareto.sf(x, shape, scale=0.8), abs=1e-7)


@pytest.mark.parametrize("shape", [-0.4, -0.1, 0.0, 0.3])
def test_fit_finds_the_distribution_that_the_excesses_came_from(shape):
    rng = np.random.default_rng(7)
    drawn = np.sort(genpareto.rvs(shape, scale=0.7, size=20_000, random_state=rng))
    found, scale = fit_excesses(np.ones((1, drawn.size)), drawn[None, :])
    assert found[0] == pytest.approx(shape, abs=0.03)
    assert scale[0] == pytest.approx(0.7, rel=0.03)


def test_fit_in_bins_is_near_the_fit_of_the_values():
    rng = np.random.default_rng(8)
    drawn = np.sort(genpareto.rvs(-0.1, scale=0.7, size=3_000, random_state=rng))
    exact = fit_excesses(np.ones((1, drawn.size)), drawn[None, :])
    counts = np.bincount((drawn / STEP).astype(int)).astype(float)
    middles = (np.arange(counts.size) + 0.5) * STEP
    binned = fit_excesses(counts[None, :], middles[None, :])
    assert binned[0] == pytest.approx(exact[0], abs=0.02)
    assert binned[1] == pytest.approx(exact[1], rel=0.02)


def test_weights_count_as_repetitions():
    excess = np.array([[0.1, 0.4, 0.9, 1.6]])
    weight = np.array([[5.0, 3.0, 2.0, 1.0]])
    repeated = np.repeat(excess, weight[0].astype(int), axis=1)
    by_weight = fit_excesses(weight, excess)
    by_rows = fit_excesses(np.ones_like(repeated), repeated)
    assert by_weight[0] == pytest.approx(by_rows[0])
    assert by_weight[1] == pytest.approx(by_rows[1])


def test_shape_is_held():
    one_size = fit_excesses(np.full((1, 3), 10.0), np.array([[1.0, 1.0, 1.0]]))
    assert one_size[0] == SHAPE[0]
    wild = fit_excesses(np.array([[100.0, 1.0]]), np.array([[0.01, 100.0]]))
    assert wild[0] == SHAPE[1]


def test_few_excesses_are_counted_not_fitted():
    counts = np.zeros((1, 20))
    counts[0, [2, 9]] = (LEAST - 2.0, 1.0)
    above = expected_above(counts)
    assert above[0, :3].tolist() == [LEAST - 1.0] * 3
    assert above[0, 3:10].tolist() == [1.0] * 7
    assert not above[0, 10:].any()


def test_below_the_threshold_it_is_what_was_counted_above_it_the_tail():
    counts = np.zeros((2, 40))
    counts[1] = 100.0 * np.exp(-0.3 * np.arange(40))
    above = expected_above(counts)
    counted = counts[1][::-1].cumsum()[::-1]
    at = int(np.flatnonzero(counted >= TAIL)[-1])
    assert not above[0].any()
    assert above[1, : at + 1] == pytest.approx(counted[: at + 1])
    # the tail of an exponential is one, and goes on where the bins have little left
    assert above[1, at + 8] == pytest.approx(counted[at] * np.exp(-0.3 * 8), rel=0.1)
    assert (np.diff(above[1]) <= 1e-9).all()


def test_input_is_only_read():
    counts = np.full((1, 30), 3.0)
    counts.flags.writeable = False
    expected_above(counts)
