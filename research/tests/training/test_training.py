"""A training of seconds gives a model with the answers of torch and scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest

from detection.channels import ReadingBatch
from detection.detector import Detector
from detection.episodes import FACTS
from detection.model import Forest, Model, Network
from research.training import examples, forests, lessons, parts, recurrent
from research.training.air import Source

pytest.importorskip("sklearn")
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.timeout(600)

SETTINGS = parts.Settings(
    world=forests.Growth(8, 4, 12, 5, 0.2, 0.5),
    school=(forests.Growth(3, 3, 6, 5, 0.2), forests.Growth(4, 5, 12, 5, 0.2, 0.5)),
    kinds=forests.Growth(3, 3, 6, 5, 0.2),
    thc=forests.Growth(3, 3, 6, 5, 0.2),
    network=recurrent.Fitting(units=8, rounds=2),
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    for stage in ("air", "lessons", "parts"):
        (folder / stage).mkdir()
    return {
        name: lessons.collect(lessons.Task(Source(name, 1, 3, 3.0), variants, folder, folder))
        for name, variants in (("two_zones", (0,)), ("zone_network", (0, 1)))
    }


@pytest.fixture(scope="module")
def pulses(sources):
    return examples.pulses(sources)


@pytest.fixture(scope="module")
def network(pulses):
    scaled = recurrent.scaling(pulses.facts)
    module = recurrent.fit(pulses, scaled, SETTINGS.network)
    return module, recurrent.as_network(module, scaled)


def test_every_world_weighs_the_same_and_a_tenth_is_vaping(sources, pulses):
    sizes = [sum(map(lessons.pulses_in, paths)) for paths in sources.values()]
    first = np.arange(pulses.weight.size) < sizes[0]
    assert pulses.weight.size == sum(sizes)
    assert pulses.weight[first].sum() == pytest.approx(pulses.weight[~first].sum(), rel=1e-3)
    assert pulses.weight[pulses.label].sum() == pytest.approx(0.1 * pulses.weight.sum(), rel=1e-3)


def test_the_network_agrees_with_torch(pulses, network):
    module, exported = network
    starts = [*pulses.starts.tolist(), len(pulses.facts)]
    longest = np.argsort(np.diff(starts))[-20:]
    for k in longest.tolist():
        facts = pulses.facts[starts[k] : starts[k + 1]]
        inputs = torch.from_numpy(recurrent.normalized(facts, exported))[None]
        with torch.no_grad():
            expected = recurrent.log_odds(module, inputs)[0].numpy()
        state = np.zeros((1, exported.units))
        for moment, row in enumerate(facts.astype(np.float64)):
            score, state = exported.step(row[None], state)
            assert score[0] == pytest.approx(expected[moment], abs=1e-2)


def test_trees_agree_with_scikit_learn(pulses):
    learner, columns = forests.grow(pulses.facts, pulses.label, pulses.weight, SETTINGS.world)
    scores = forests.as_forest(learner, columns).score(pulses.facts.astype(np.float64))
    expected = learner.decision_function(pulses.facts[:, columns])
    np.testing.assert_allclose(scores, expected, atol=1e-9)


def test_another_fit_of_the_same_examples_gives_the_same_numbers(pulses, network):
    again = recurrent.as_network(
        recurrent.fit(pulses, recurrent.scaling(pulses.facts), SETTINGS.network),
        recurrent.scaling(pulses.facts),
    )
    for name, array in network[1].arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)


@pytest.fixture(scope="module")
def fitted(sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    tasks = {part: parts.Task(part, sources, folder, SETTINGS) for part in parts.PARTS}
    arrays = {part: parts.fitted(task) for part, task in tasks.items()}
    assert all(task.path.exists() for task in tasks.values())
    return arrays


def assembled(fitted, school, **settings):
    worlds = [Forest.from_arrays("world", fitted["world"])] * 2
    network = Network.from_arrays(fitted["network"])
    return parts.model("toy", 0.0, school, worlds, network, **settings)


def test_the_parts_make_a_model_file_that_a_detector_runs_with(fitted):
    school = parts.school(fitted["school"] | fitted["kinds"] | fitted["thc"])
    made = assembled(fitted, school)
    model = Model.from_bytes(made.to_bytes())
    assert model.to_bytes() == made.to_bytes()
    assert (model.version, model.units, len(model.vape), len(model.kinds)) == ("toy", 8, 2, 6)
    detector = Detector(model)
    detector.sensor_row("a")
    values = np.full((1, len(lessons.ALL_COLUMNS)), 5.0)
    assert detector.step(ReadingBatch(np.zeros(1, np.int32), np.ones(1), values)) == []


def test_a_score_is_the_weighted_mean_of_school_the_worlds_and_the_network(fitted, pulses):
    facts = pulses.facts[:200].astype(np.float64)
    plain, large, world = (
        Forest.from_arrays(name, fitted[part]).score(facts)
        for name, part in (("plain", "school"), ("vape0", "school"), ("world", "world"))
    )
    network = Network.from_arrays(fitted["network"])
    recurrent_score, _ = network.step(facts, np.zeros((200, network.units)))
    school = parts.school(fitted["school"] | fitted["kinds"] | fitted["thc"])
    nothing = {"by_interval": np.zeros((0, 4))}

    model = replace(assembled(fitted, school), **nothing)
    score, _ = model.vape_score(facts, np.zeros((200, 8)))
    mean = 0.25 * large + 0.5 * world + 0.25 * recurrent_score
    expected = np.where(plain < -3.0, plain, parts.ALPHA * mean + parts.BETA)
    np.testing.assert_allclose(score, expected, atol=1e-2)

    model = replace(assembled(fitted, school, knows_school=False), **nothing)
    score, _ = model.vape_score(facts, np.zeros((200, 8)))
    expected = parts.ALPHA * (0.6 * world + 0.4 * recurrent_score) + parts.BETA
    np.testing.assert_allclose(score, expected, atol=1e-2)


def test_what_is_taken_over_from_the_shipped_model_stays_as_it_is(fitted):
    shipped = Model.shipped()
    made = assembled(fitted, shipped)
    np.testing.assert_array_equal(made.by_interval, shipped.by_interval)
    assert (made.level, made.plain_level) == (shipped.level, shipped.plain_level)
    pairs = [(made.vape[0], shipped.vape[0]), (made.plain, shipped.plain), (made.thc, shipped.thc)]
    for forest, before in [*pairs, *zip(made.kinds, shipped.kinds, strict=True)]:
        for name, array in before.arrays("forest").items():
            np.testing.assert_array_equal(forest.arrays("forest")[name], array)


def test_a_part_is_fitted_once(sources, tmp_path, monkeypatch):
    task = parts.Task("thc", sources, tmp_path, SETTINGS)
    first = parts.fitted(task)
    monkeypatch.setattr(forests, "grow", None)
    again = parts.fitted(task)
    assert {name: a.tolist() for name, a in again.items()} == {
        name: a.tolist() for name, a in first.items()
    }


def test_lessons_have_the_facts_of_the_detector(sources):
    for paths in sources.values():
        taught = lessons.load(paths[0])
        assert taught.facts.shape == (taught.vape.size, len(FACTS))
        assert taught.is_pulse.any()
        assert (taught.vape == lessons.VISIBLE).any()
        assert (taught.thc[taught.vape == 0] == -1).all()
