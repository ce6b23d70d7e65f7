import numpy as np

from detection.model import Forest, Trees


def stump(column, threshold, left, right, n_facts, *, unknown_left):
    column += 0 if unknown_left else n_facts
    return (
        np.array([[column]]),
        np.array([[threshold]]),
        np.array([[left, right]]),
    )


def test_a_fact_above_the_threshold_goes_right_and_an_unknown_one_where_it_was_learned():
    for unknown_left, expected in ((True, -1.0), (False, 2.0)):
        parts = stump(1, 0.5, -1.0, 2.0, 3, unknown_left=unknown_left)
        forest = Forest(*parts, offset=10.0)
        facts = np.array([[9.0, 0.5, 9.0], [9.0, 0.51, 9.0], [9.0, np.nan, 9.0]])
        assert forest.score(facts).tolist() == [9.0, 12.0, 10.0 + expected]


def test_forests_of_any_depth_score_the_same_together_as_each_alone():
    rng = np.random.default_rng(7)
    forests = [
        Forest(
            rng.integers(0, 8, (n, 2**depth - 1)),
            rng.normal(size=(n, 2**depth - 1)),
            rng.normal(size=(n, 2**depth)),
            float(depth),
        )
        for n, depth in ((3, 2), (7, 4), (1, 1), (5, 2))
    ]
    facts = rng.normal(size=(40, 4))
    facts[rng.random(facts.shape) < 0.2] = np.nan
    alone = [forest.score(facts) for forest in forests]
    np.testing.assert_array_equal(Trees(forests).score(facts), alone)
