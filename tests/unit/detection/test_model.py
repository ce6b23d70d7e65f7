import io

import numpy as np
import pytest

from detection.episodes import FEATURES
from detection.errors import ModelError
from detection.model import KINDS, Forest, Model, Network

NOTHING = np.zeros((5, 0))
"""States for models without a network."""


def test_the_shipped_model_fits_the_program():
    model = Model.load_shipped()
    features = np.full((3, len(FEATURES)), np.nan)
    score, state = model.score_vaping(features, np.zeros((3, model.units)))
    assert (score.shape, state.shape) == ((3,), (3, model.units))
    chances = model.predict_kinds(features)
    assert chances.shape == (3, len(KINDS))
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)


def test_the_file_is_the_same_for_the_same_parameters():
    model = Model.load_shipped()
    body = model.to_bytes()
    assert Model.from_bytes(body).to_bytes() == body


def test_a_model_without_forests_never_speaks():
    model = Model("none")
    features = np.zeros((2, len(FEATURES)))
    assert (model.score_vaping(features, NOTHING)[0] < model.level).all()
    np.testing.assert_allclose(model.predict_kinds(features).sum(axis=1), 1.0)


def unmoved(offset):
    """Return a network that gives every row the same log-odds."""
    n = len(FEATURES)
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


def test_the_network_adds_to_what_the_trees_say():
    split = Forest(
        np.array([[FEATURES.index("log_peak")]]),
        np.array([[2.0]]),
        np.array([[-4.0, 1.0]]),
        np.array([0.5]),
    )
    features, state = np.full((2, len(FEATURES)), np.nan), np.zeros((2, 2))
    features[:, FEATURES.index("log_peak")] = [1.0, 3.0]
    model = Model("both", vape=split, network=unmoved(1.0))
    for each in (model, Model.from_bytes(model.to_bytes())):
        np.testing.assert_array_equal(each.score_vaping(features, state)[0], [-2.5, 2.5])


def test_a_model_of_an_older_format_is_refused():
    with np.load(io.BytesIO(Model.load_shipped().to_bytes())) as stored:
        arrays = {name: stored[name] for name in stored.files if name != "level"}
    body = io.BytesIO()
    np.savez(body, **arrays)
    with pytest.raises(ModelError, match="level"):
        Model.from_bytes(body.getvalue())


@pytest.mark.parametrize("body", [b"", b"no zip", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_model_is_refused(body):
    with pytest.raises(ModelError, match="model"):
        Model.from_bytes(body)
