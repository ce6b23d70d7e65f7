import numpy as np
import pytest

from detection.model import Forest


def stump(column, threshold, left, right, n_features, *, unknown_left):
    column += 0 if unknown_left else n_features
    return (
        np.array([[column]]),
        np.array([[threshold]]),
        np.array([[left, right]]),
    )


def test_a_fact_above_the_threshold_goes_right_and_an_unknown_one_where_it_was_learned():
    for unknown_left, expected in ((True, -1.0), (False, 2.0)):
        parts = stump(1, 0.5, -1.0, 2.0, 3, unknown_left=unknown_left)
        forest = Forest(*parts, offset=np.array([10.0]))
        features = np.array([[9.0, 0.5, 9.0], [9.0, 0.51, 9.0], [9.0, np.nan, 9.0]])
        assert forest.score(features).tolist() == [[9.0, 12.0, 10.0 + expected]]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_several_scores_are_the_same_together_as_each_alone(depth):
    rng = np.random.default_rng(7)
    column = rng.integers(0, 8, (15, 2**depth - 1))
    threshold, value = rng.normal(size=column.shape), rng.normal(size=(15, 2**depth))
    offset = rng.normal(size=3)
    features = rng.normal(size=(40, 4))
    features[rng.random(features.shape) < 0.2] = np.nan
    together = Forest(column, threshold, value, offset).score(features)
    for k in range(3):
        mine = slice(5 * k, 5 * k + 5)
        alone = Forest(column[mine], threshold[mine], value[mine], offset[[k]])
        np.testing.assert_array_equal(alone.score(features)[0], together[k])
