import numpy as np

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
