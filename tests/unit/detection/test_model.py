import io
from importlib import resources

import numpy as np
import pytest

from detection.episodes import FEATURES
from detection.errors import ModelError
from detection.model import KINDS, Model

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


def test_a_model_without_forests_never_speaks():
    model = Model("none")
    features = np.zeros((2, len(FEATURES)))
    assert (model.score_vaping(features, NOTHING)[0] < model.level).all()
    np.testing.assert_allclose(model.predict_kinds(features).sum(axis=1), 1.0)


def test_a_model_of_an_older_format_is_refused():
    with np.load(resources.files("detection") / "model.npz") as stored:
        arrays = {name: stored[name] for name in stored.files if name != "level"}
    body = io.BytesIO()
    np.savez(body, **arrays)
    with pytest.raises(ModelError, match="level"):
        Model.from_bytes(body.getvalue())


@pytest.mark.parametrize("body", [b"", b"no zip", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_model_is_refused(body):
    with pytest.raises(ModelError, match="model"):
        Model.from_bytes(body)
