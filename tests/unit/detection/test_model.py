import numpy as np
import pytest

from detection.episodes import FACTS
from detection.model import KINDS, Model, ModelError


def test_the_shipped_model_fits_the_program():
    model = Model.shipped()
    facts = np.full((3, len(FACTS)), np.nan)
    assert model.vape_score(facts).shape == (3,)
    chances = model.kind_probabilities(facts)
    assert chances.shape == (3, len(KINDS))
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    assert model.withdraw_level < model.level


def test_the_file_is_the_same_for_the_same_parameters():
    model = Model.shipped()
    body = model.to_bytes()
    assert Model.from_bytes(body).to_bytes() == body


def test_a_model_without_forests_never_speaks():
    model = Model("none")
    facts = np.zeros((2, len(FACTS)))
    assert (model.vape_score(facts) < model.level).all()
    np.testing.assert_allclose(model.kind_probabilities(facts).sum(axis=1), 1.0)


@pytest.mark.parametrize("body", [b"", b"no zip", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_model_is_refused(body):
    with pytest.raises(ModelError, match="model"):
        Model.from_bytes(body)
