import numpy as np

from detection.episodes import FEATURES
from detection.model import Network, round_to_step

UNITS = 8


def drawn(seed=0):
    draw = np.random.default_rng(seed)
    n = len(FEATURES)
    return Network(
        compressed=draw.random(n) < 0.3,
        low=np.full(n, -6.0),
        high=np.full(n, 6.0),
        mean=draw.normal(size=n),
        scale=draw.uniform(0.5, 2.0, n),
        groups=np.array([3, 7]),
        inputs=round_to_step(draw.normal(scale=0.3, size=(n + 2, 3 * UNITS))),
        recurrent=round_to_step(draw.normal(scale=0.3, size=(UNITS, 3 * UNITS))),
        bias=round_to_step(draw.normal(size=3 * UNITS)),
        recurrent_bias=round_to_step(draw.normal(size=3 * UNITS)),
        output=round_to_step(draw.normal(size=UNITS)),
        offset=-1.0,
    )


def rows(n, seed=1):
    draw = np.random.default_rng(seed)
    features = draw.normal(scale=3.0, size=(n, len(FEATURES)))
    features[draw.random(features.shape) < 0.2] = np.nan
    return features, round_to_step(draw.uniform(-1.0, 1.0, (n, UNITS)))


def by_definition(network, features, state):
    """Compute one row by the equations of a gated recurrent unit (Cho 2014, torch's version)."""
    x = np.where(network.compressed, np.sign(features) * np.log1p(np.abs(features)), features)
    x = (np.clip(x, network.low, network.high) - network.mean) / network.scale
    x = np.r_[np.where(np.isnan(x), 0.0, x), np.isnan(features)[network.groups]]
    a, b, c = np.split(x @ network.inputs + network.bias, 3)
    d, e, f = np.split(state @ network.recurrent + network.recurrent_bias, 3)
    reset, update = 1.0 / (1.0 + np.exp(-a - d)), 1.0 / (1.0 + np.exp(-b - e))
    state = (1.0 - update) * np.tanh(c + reset * f) + update * state
    return state @ network.output + network.offset, state


def test_a_step_is_that_of_a_gated_recurrent_unit():
    network = drawn()
    features, state = rows(5)
    score, after = network.step(features, state)
    for k in range(5):
        expected, state_after = by_definition(network, features[k], state[k])
        np.testing.assert_allclose(after[k], state_after, atol=0.01)
        np.testing.assert_allclose(score[k], expected, atol=0.05)


def test_a_row_does_not_depend_on_the_rows_beside_it():
    network = drawn()
    features, state = rows(97)
    score, after = network.step(features, state)
    for part in (slice(0, 1), slice(5, 8), slice(40, 97)):
        some, states = network.step(features[part], state[part])
        np.testing.assert_array_equal(some, score[part])
        np.testing.assert_array_equal(states, after[part])
