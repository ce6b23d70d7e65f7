"""Test that a short training gives a model with the same results as torch and scikit-learn."""

import numpy as np
import pytest

from detection.channels import ReadingBatch
from detection.detector import Detector
from detection.episodes import FEATURES
from detection.model import Forest, Model, Network
from research.training import examples, forests, lessons, recurrent, train, variation
from research.training.air import Source
from research.training.model_file import store_network, write_model
from research.worlds.world import COLUMNS, Readings

pytest.importorskip("sklearn")
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.timeout(600)

GROWTH = forests.Growth(8, 4, 12, 5, 0.2, 0.5)
FITTING = recurrent.Fitting(units=8, rounds=2)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    for stage in ("air", "lessons"):
        (folder / stage).mkdir()

    def collected(name, *, is_varied):
        runs = (Source(name, 1, 3, 3.0), Source(name, 2, 3, 3.0))
        return lessons.collect(lessons.Task(runs, is_varied, folder, folder))

    return {
        "two_zones": [collected("two_zones", is_varied=False)],
        "zone_network": [collected("zone_network", is_varied=varied) for varied in (False, True)],
    }


@pytest.fixture(scope="module")
def pulses(sources):
    return examples.pulses(sources)


@pytest.fixture(scope="module")
def network(pulses):
    scaled = recurrent.scaling(pulses.features)
    module = recurrent.fit(pulses, scaled, FITTING)
    return module, recurrent.as_network(module, scaled)


def test_every_world_weighs_the_same_and_a_twelfth_is_vaping(sources, pulses):
    first = examples.pulses({"two_zones": sources["two_zones"]})
    mine = np.arange(pulses.weight.size) < first.weight.size
    assert pulses.weight[mine].sum() == pytest.approx(pulses.weight[~mine].sum(), rel=1e-3)
    for part in (mine, ~mine):
        vaping = pulses.weight[part & pulses.label].sum()
        assert vaping == pytest.approx(0.08 * pulses.weight[part].sum(), rel=1e-3)


def test_all_vaping_is_learned_from(sources, pulses):
    taught = [lessons.load(path) for paths in sources.values() for path in paths]
    assert pulses.label.sum() == sum((one.vape[one.is_pulse] > 0).sum() for one in taught)


def test_a_moment_weighs_by_the_time_since_the_one_before(sources):
    taught = lessons.load(sources["two_zones"][0])
    age_s = taught.features[:, FEATURES.index("age_s")]
    assert (taught.gap_s[taught.is_pulse] > 0).all()
    assert (taught.gap_s <= age_s + 1e-3)[taught.is_pulse].all()
    assert not taught.gap_s[~taught.is_pulse].any()


def readings_of(n_sensors, n):
    """Return readings of sensors at 1 Hz in steady air."""
    time = np.repeat(np.arange(float(n)), n_sensors)
    values = np.full((time.size, len(COLUMNS)), 40.0)
    names = tuple(f"s{k}" for k in range(n_sensors))
    return Readings(names, np.tile(np.arange(n_sensors, dtype=np.int32), n), time, values)


def test_other_sensors_have_other_gains_artifacts_and_channels():
    readings = readings_of(60, 7200)
    pm25, rh = COLUMNS.index("pm25"), COLUMNS.index("rh")
    values = variation.varied(readings, {}, np.random.default_rng(3))
    by_sensor = [values[readings.sensor == k] for k in range(60)]
    gains = np.array([np.median(one[:, pm25]) for one in by_sensor]) / 40.0
    assert (gains > 0.5).all()
    assert (gains < 1.9).all()
    assert np.std(gains) > 0.2
    assert 3 <= sum(np.ptp(one[:, pm25]) > 5.0 for one in by_sensor) < 50
    assert 3 <= sum(np.isnan(one[:, rh]).all() for one in by_sensor) < 30
    assert (readings.values == 40.0).all()


def test_only_counters_of_single_droplets_merge_them():
    readings = readings_of(40, 60)
    pm1, pm25 = COLUMNS.index("pm1"), COLUMNS.index("pm25")
    readings.values[:, [pm1, pm25]] = 200.0
    devices = {f"s{k}": "OPC-N3" if k < 20 else "SPS30" for k in range(40)}
    values = variation.varied(readings, devices, np.random.default_rng(3))
    share = np.median((values[:, pm1] / values[:, pm25]).reshape(60, 40), axis=0)
    assert 5 <= (share[:20] < 0.8).sum() <= 15
    assert (np.isnan(share[20:]) | (np.abs(share[20:] - 1.0) < 0.01)).all()


def test_the_network_agrees_with_torch(pulses, network):
    module, exported = network
    starts = [*pulses.starts.tolist(), len(pulses.features)]
    longest = np.argsort(np.diff(starts))[-20:]
    for k in longest.tolist():
        features = pulses.features[starts[k] : starts[k + 1]]
        inputs = torch.from_numpy(recurrent.normalized(features, exported))[None]
        with torch.no_grad():
            expected = recurrent.log_odds(module, inputs)[0].numpy()
        state = np.zeros((1, exported.units))
        for moment, row in enumerate(features.astype(np.float64)):
            score, state = exported.step(row[None], state)
            assert score[0] == pytest.approx(expected[moment], abs=1e-2)


def test_trees_agree_with_scikit_learn(pulses):
    learner, columns = forests.grow(pulses.features, pulses.label, pulses.weight, GROWTH)
    scores = forests.as_forest((learner, columns)).score(pulses.features.astype(np.float64))[0]
    expected = learner.decision_function(pulses.features[:, columns])
    np.testing.assert_allclose(scores, expected, atol=1e-9)


def test_another_fit_of_the_same_examples_gives_the_same_numbers(pulses, network):
    again = recurrent.as_network(
        recurrent.fit(pulses, recurrent.scaling(pulses.features), FITTING),
        recurrent.scaling(pulses.features),
    )
    for name, array in store_network(network[1]).items():
        np.testing.assert_array_equal(store_network(again)[name], array)


@pytest.fixture(scope="module")
def arrays(sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    fitted = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrent.fit, "__defaults__", (FITTING,))
        for name in ("VAPE", "KIND", "THC"):
            patch.setattr(forests, name, GROWTH)
        for part in ("network", "vape", "kinds", "thc"):
            path = folder / f"{part}.npz"
            fitted |= train.fitted(part, sources, path)
            again = train.fitted(part, {}, path)
            assert {name: again[name].tolist() for name in again} == {
                name: fitted[name].tolist() for name in again
            }
    return fitted


def test_the_parts_make_a_model_file_that_a_detector_runs_with(arrays):
    made = train.model("toy", arrays)
    model = Model.from_bytes(write_model(made))
    assert write_model(model) == write_model(made)
    assert (model.version, model.units, model.kinds.offset.size) == ("toy", 8, 6)
    detector = Detector(model)
    detector.assign_row("a")
    values = np.full((1, len(lessons.ALL_COLUMNS)), 5.0)
    assert detector.step(ReadingBatch(np.zeros(1, np.int32), np.ones(1), values)) == []


def test_a_score_is_the_mean_of_trees_and_network_above_the_level(arrays, pulses):
    features = pulses.features[:200].astype(np.float64)
    state = np.zeros((200, 8))
    (trees,) = Forest.from_arrays("vape", arrays).score(features)
    network, _ = Network.from_arrays(arrays).step(features, state)
    score, _ = train.model("toy", arrays).score_vaping(features, state)
    share = train.NETWORK_SHARE
    expected = (1 - share) * trees + share * network - train.LEVEL
    np.testing.assert_allclose(score, expected, atol=1e-2)


def test_lessons_have_the_features_of_the_detector(sources):
    for paths in sources.values():
        taught = lessons.load(paths[0])
        assert taught.features.shape == (taught.vape.size, len(FEATURES))
        assert taught.is_pulse.any()
        assert (taught.vape == lessons.VISIBLE).any()
        assert (taught.thc[taught.vape == 0] == -1).all()
