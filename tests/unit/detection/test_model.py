import io

import numpy as np
import pytest

from detection.episodes import FACTS
from detection.errors import ModelError
from detection.model import KINDS, SETTLED_S, Forest, Model, Network

NOTHING = np.zeros((5, 0))
"""States of models without a network."""


def test_the_shipped_model_fits_the_program():
    model = Model.shipped()
    facts = np.full((3, len(FACTS)), np.nan)
    score, state = model.vape_score(facts, np.zeros((3, model.units)))
    assert (score.shape, state.shape) == ((3,), (3, model.units))
    chances = model.kind_probabilities(facts)
    assert chances.shape == (3, len(KINDS))
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)


def test_the_file_is_the_same_for_the_same_parameters():
    model = Model.shipped()
    body = model.to_bytes()
    assert Model.from_bytes(body).to_bytes() == body


def test_a_model_without_forests_never_speaks():
    model = Model("none")
    facts = np.zeros((2, len(FACTS)))
    assert (model.vape_score(facts, NOTHING)[0] < model.level).all()
    np.testing.assert_allclose(model.kind_probabilities(facts).sum(axis=1), 1.0)


def constant(score):
    """Forest that gives every row the same score."""
    return Forest(np.zeros((1, 1), int), np.full((1, 1), np.inf), np.zeros((1, 2)), score)


def test_what_is_added_goes_by_interval_and_by_sizes():
    table = np.array([[1.0, -0.1, 0.4, 0.0], [10.0, 0.2, 0.7, 0.0], [60.0, 0.0, 0.5, 0.0]])
    model = Model("table", vape=(constant(3.0),), by_interval=table)
    facts = np.full((5, len(FACTS)), np.nan)
    facts[:, FACTS.index("interval_s")] = [np.nan, 1.0, np.sqrt(10.0), 10.0, 90.0]
    np.testing.assert_allclose(
        model.vape_score(facts, NOTHING)[0], [3.4, 3.4, 3.55, 3.7, 3.5], atol=1e-12
    )
    facts[:, FACTS.index("pm1_highest")] = 0.6
    np.testing.assert_allclose(
        model.vape_score(facts, NOTHING)[0], [2.9, 2.9, 3.05, 3.2, 3.0], atol=1e-12
    )


def test_a_plume_without_a_fall_is_less_probable_where_readings_are_few():
    table = np.array([[5.0, 0.0, 0.0, 0.0], [10.0, 0.0, 0.0, -0.8]])
    model = Model("early", vape=(constant(3.0),), by_interval=table)
    facts = np.full((5, len(FACTS)), np.nan)
    facts[:, FACTS.index("since_peak_s")] = [np.nan, 0.0, SETTLED_S - 1.0, SETTLED_S, 0.0]
    facts[:, FACTS.index("interval_s")] = [10.0, 10.0, 10.0, 10.0, 5.0]
    np.testing.assert_allclose(model.vape_score(facts, NOTHING)[0], [2.2, 2.2, 2.2, 3.0, 3.0])


def unmoved(offset):
    """Network that gives every row the same log-odds."""
    n = len(FACTS)
    return Network(
        compressed=np.zeros(n, bool),
        low=np.full(n, -1.0),
        high=np.ones(n),
        mean=np.zeros(n),
        scale=np.ones(n),
        groups=np.zeros(0, np.int64),
        inputs=np.zeros((n, 6)),
        recurrent=np.zeros((2, 6)),
        bias=np.zeros(6),
        recurrent_bias=np.zeros(6),
        output=np.zeros(2),
        offset=offset,
    )


def test_what_is_plainly_something_else_is_left_to_the_small_forest():
    split = Forest(
        np.array([[FACTS.index("log_peak")]]), np.array([[2.0]]), np.array([[-4.0, 1.0]]), 0.0
    )
    facts, state = np.full((2, len(FACTS)), np.nan), np.zeros((2, 2))
    facts[:, FACTS.index("log_peak")] = [1.0, 3.0]
    forests = (constant(3.0), constant(-0.5))
    model = Model("all", vape=forests, network=unmoved(1.0), plain=split, plain_level=-2.0)
    for each in (model, Model.from_bytes(model.to_bytes())):
        np.testing.assert_array_equal(each.vape_score(facts, state)[0], [-4.0, 3.5])


def test_a_model_of_an_older_format_is_refused():
    with np.load(io.BytesIO(Model.shipped().to_bytes())) as stored:
        arrays = {name: stored[name] for name in stored.files if name != "by_interval"}
    body = io.BytesIO()
    np.savez(body, **arrays)
    with pytest.raises(ModelError, match="by_interval"):
        Model.from_bytes(body.getvalue())


@pytest.mark.parametrize("body", [b"", b"no zip", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_model_is_refused(body):
    with pytest.raises(ModelError, match="model"):
        Model.from_bytes(body)
