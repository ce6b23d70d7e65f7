import io

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


def test_the_same_facts_say_more_where_readings_are_few_or_without_sizes():
    shipped = Model.shipped()
    facts = np.full((7, len(FACTS)), np.nan)
    facts[:, FACTS.index("interval_s")] = [np.nan, 1.0, np.sqrt(50.0), 10.0, 30.0, 60.0, 90.0]

    def added():
        return shipped.vape_score(facts) - shipped.vape.score(facts)

    without = [0.4, 0.4, 0.75, 0.7, 1.0, 0.5, 0.5]
    np.testing.assert_allclose(added(), without, atol=1e-12)
    facts[:, FACTS.index("pm1_highest")] = 0.6
    np.testing.assert_allclose(added(), [-0.1, -0.1, 0.2, 0.2, 0.4, 0.0, 0.0], atol=1e-12)


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
