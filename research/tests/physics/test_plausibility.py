"""Compare the simulator with published facts and real recordings; each check names its source.

The recordings are in the folder `shared/data` next to the repository, or in
`$PLUMEWATCH_SHARED/data`. Tests that need missing recordings are skipped.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict

import numpy as np
import pytest

from detection.quantities import COLUMNS
from research.tests.physics.plausibility import (
    decay,
    follow,
    read_by,
    recordings,
    smoothed,
    steady_puffing,
)
from sensor_sim.devices.pm import PmUnit
from sensor_sim.physics.aerosol import BIN_MASS_UG, N_BINS, PM_FRACTION
from sensor_sim.physics.plume import CO2, GAS, WATER
from sensor_sim.school import draw_school
from sensor_sim.simulate import simulate
from sensor_sim.streams import make_stream

MONDAY = 20_703 * 86_400.0
SEEDS = range(60)


def plumes(source, **kwargs):
    found = (follow(source, seed, **kwargs) for seed in SEEDS)
    return [p for p in found if p is not None]


def efolds(source, ach, *, part="sps30", **kwargs):
    """Return e-folding times measured as in the Juul recording: one sensor's fine excess, every 10
    s."""
    return np.array([
        decay(smoothed(read_by(part, p)["pm1" if part != "sds011" else "pm25"], 10), 10.0).efold_s
        for p in plumes(source, ach=ach, **kwargs)
    ])  # fmt: skip


def pm(plume, key):
    return (BIN_MASS_UG * 1e6 * PM_FRACTION[key]) @ plume.rows[:N_BINS]


# --- decay -------------------------------------------------------------------------------------


def test_a_pod_puff_beside_the_sensor_falls_in_19_s():
    # Public Juul recording (OPC-N3, 10 s): e-fold of the fine excess 19 s, middle half 15-24 s.
    low, middle, high = np.nanpercentile(efolds("nicotine_pod", 6.0, near=1.0, single=True),
                                         [25, 50, 75])  # fmt: skip
    assert 15 <= middle <= 24
    assert low > 10
    assert high < 35


def test_and_does_not_depend_on_ventilation():
    # Martuzevicius 2018 (doi 10.1093/ntr/nty121): seconds, regardless of ventilation.
    closed, open_ = (
        np.nanmedian(efolds("nicotine_pod", ach, near=1.0, single=True)) for ach in (0.7, 12.0)
    )
    assert closed / open_ < 1.25


def test_smoke_takes_minutes_and_depends_on_ventilation():
    # Same source: a cigarette takes 30-45 min to reach background, depending on ventilation.
    closed, open_ = (np.nanmedian(efolds("cigarette", ach)) for ach in (0.7, 12.0))
    assert closed > 300
    assert closed / open_ > 2


def test_thc_aerosol_decays_slower_than_nicotine():
    # Wallace, AAAR 2020, abstract 210.
    tenth = {}
    for source in ("nicotine_pod", "thc_cartridge"):
        series = [smoothed(read_by("sps30", p)["pm25"], 10)
                  for p in plumes(source, ach=3.0, near=1.0, single=True)]  # fmt: skip
        tenth[source] = np.nanmedian([decay(x, 10.0).tenth_s for x in series])
    assert tenth["thc_cartridge"] > 2.5 * tenth["nicotine_pod"]


def test_antiperspirant_after_ten_minutes_without_ventilation():
    # Seller 2021 (doi 10.1016/j.buildenv.2021.107738): PM2.5 -60%, PM10 -77%.
    left = np.median(
        [[pm(p, key)[720] / pm(p, key)[120] for key in ("pm25", "pm10")]
         for p in plumes("deodorant", ach=0.5)],
        axis=0,
    )  # fmt: skip
    assert left[0] == pytest.approx(0.40, abs=0.15)
    assert left[1] == pytest.approx(0.23, abs=0.17)
    assert left[1] < left[0]


# --- space -------------------------------------------------------------------------------------


def test_near_and_far_of_ten_minutes_of_puffing():
    # Zhao 2017 (doi 10.1080/02786826.2017.1355548), 80 m³ room: 188 (sd 433) µg/m³ at 0.8 m,
    # 19 (sd 14) at 1.5 m.
    pairs = [steady_puffing(seed, volume_m3=80.0, gap_s=30.0) for seed in range(100)]
    near, far = np.array(pairs).T
    assert 80 < np.median(near) < 450
    assert 8 < np.median(far) < 50
    assert 4 < np.median(near / far) < 25


# --- gas and water -----------------------------------------------------------------------------


def test_a_puff_is_milligrams_of_gas_and_a_spray_grams():
    # 1 mg of PG in 30 m³ is 11 ppb, 1 g of ethanol 14-18 ppm: a ratio of 100-1000 or more.
    puff = np.median([p.rows[GAS:CO2].sum(axis=0).max()
                      for p in plumes("nicotine_pod", ach=6.0, single=True)])  # fmt: skip
    for source in ("deodorant", "hand_sanitizer"):
        gas = np.median([p.rows[GAS:CO2].sum(axis=0).max() for p in plumes(source, ach=6.0)])
        assert 100 < gas / puff < 10_000


def test_vaping_gives_no_usable_humidity_step():
    # Juul recording: +0.0..0.4 %RH typical, 2 at most.
    step = np.array([p.rows[WATER].max() / 0.194 for p in plumes("nicotine_pod", ach=6.0)])
    assert np.median(step) < 0.4
    assert np.percentile(step, 95) < 2


def test_steam_is_seen_only_near_saturation():
    # d² law: water droplets below 90 %RH live under a second; Jayaratne 2018: growth from 75%.
    peak = {
        rh: np.median([0.0, *(pm(p, "pm10").max() for p in plumes("hot_tap", ach=2.0, rh=rh))])
        for rh in (40.0, 60.0, 88.0)
    }
    assert peak[40.0] < 0.1
    assert peak[60.0] < 1
    assert peak[88.0] > 50


def test_a_hot_shower_lifts_humidity_as_recorded_in_homes():
    # uHoo homes: 9-37 %RH (median 12-17) in events of +8 %RH in 10 min.
    step = np.array([p.rows[WATER].max() / 0.194 for p in plumes("shower", ach=6.0)])
    assert 8 < np.median(step) < 37


# --- sampling ----------------------------------------------------------------------------------


def test_a_minute_mean_loses_most_of_a_puff():
    # With an e-folding time of 19 s, 60 s means keep 25-35% of the 1 s peak; less if they split a
    # puff.
    kept = []
    for seed, p in enumerate(plumes("nicotine_pod", ach=6.0, near=1.0, single=True)):
        x = read_by("sps30", p)["pm25"]
        kept.append(smoothed(x[seed % 60 :], 60).max() / x.max())
    assert 0.12 < np.median(kept) < 0.38


# --- background --------------------------------------------------------------------------------


def test_school_air_without_sources_is_as_measured():
    # Dosumu 2025, ten school rooms: PM2.5 5.8 +- 2.3, CO2 737 +- 347, RH 57.6 +- 4.3,
    # T 18.5 +- 2.2.
    school = draw_school(1, 10, models=["airgradient"], intervals=[60])
    chunks = simulate(school, seed=3, start=MONDAY + 9 * 3600, duration_s=5 * 3600,
                      nuisance_rate=0.0, vape_rate=0.0)  # fmt: skip
    devices = zip(*(chunk.traces for chunk in chunks), strict=True)
    values = [np.concatenate([t.values for t in device]) for device in devices]
    mean = {c: np.array([np.nanmean(own[:, COLUMNS.index(c)]) for own in values])
            for c in ("pm25", "co2", "rh", "temp")}  # fmt: skip
    assert 2 < np.median(mean["pm25"]) < 12
    assert 450 < np.median(mean["co2"]) < 1100
    assert 30 < np.median(mean["rh"]) < 65
    assert 17 < np.median(mean["temp"]) < 24


# --- recordings --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cadr():
    path = recordings() / "cadr_runs_1s.csv.gz"
    if not path.exists():
        pytest.skip(f"no recording at {path.name}")
    runs = defaultdict(lambda: defaultdict(list))
    with gzip.open(path, "rt") as f:
        for row in csv.DictReader(f):
            run = runs[row["sensor"].removeprefix("sensirion_"), row["source"], row["run"]]
            for column in ("t_s", "pm1", "pm25", "pm10"):
                run[column].append(float(row[column]) if row[column] else np.nan)
    return {key: {c: np.array(v) for c, v in run.items()} for key, run in runs.items()}


def ratios(cadr, part, source, a, b):
    got = []
    for (sensor, what, _), run in cadr.items():
        if sensor == part and what.startswith(source):
            loud = run[b] > 20
            got.append(np.median(run[a][loud] / run[b][loud]))
    return np.array(got)


def simulated_ratio(part, source, a, b):
    got = []
    for p in plumes(source, ach=2.0):
        read = read_by(part, p)
        top = int(np.argmax(read[b]))
        got.append(read[a][top] / read[b][top])
    return float(np.median(got))


@pytest.mark.parametrize(
    ("part", "real", "source", "a", "b"),
    [
        ("sps30", "incense", "incense", "pm1", "pm25"),
        ("sps30", "incense", "incense", "pm25", "pm10"),
        ("sps30", "woodsmoke", "incense", "pm1", "pm25"),
        ("sps30", "salt", "nebulizer", "pm1", "pm25"),
        ("pms5003", "salt", "nebulizer", "pm1", "pm25"),
        ("pms5003", "salt", "nebulizer", "pm25", "pm10"),
        ("pms5003", "smoke", "incense", "pm25", "pm10"),
        ("sds011", "incense", "incense", "pm25", "pm10"),
    ],
)
def test_size_classes_of_each_sensor_are_those_recorded(cadr, part, real, source, a, b):
    recorded = ratios(cadr, part, real, a, b)
    assert recorded.size
    got = simulated_ratio(part, source, a, b)
    assert recorded.min() - 0.12 <= got <= recorded.max() + 0.12, (got, recorded)


@pytest.mark.parametrize(
    ("part", "real", "source"),
    [("pms5003", "smoke", "incense"), ("sds011", "incense", "incense"),
     ("sps30", "incense", "incense"), ("pms5003", "salt", "nebulizer"),
     ("sps30", "salt", "nebulizer"), ("sds011", "salt", "nebulizer")],
)  # fmt: skip
def test_smoke_and_salt_fog_decay_over_minutes_as_recorded(cadr, part, real, source):
    # runs with an air cleaner decay faster than in any room, runs without as in a closed room
    recorded = []
    for (sensor, what, _), run in cadr.items():
        if sensor == part and what.startswith(real):
            step = float(np.median(np.diff(run["t_s"])))
            smooth = smoothed(run["pm25"] - np.nanpercentile(run["pm25"], 2), round(10 / step))
            recorded.append(decay(smooth, step * round(10 / step)).efold_s)
    got = [np.nanmedian(efolds(source, ach, part=part)) for ach in (0.7, 12.0)]
    assert np.nanmin(recorded) > 40
    assert min(got) > 60
    # open and closed rooms cover the range of recordings without an air cleaner
    assert max(got) < 2 * np.nanmax(recorded)
    assert max(got) > 0.3 * np.nanmedian(recorded)
    assert min(got) < np.nanmax(recorded)


def residual(x):
    kernel = np.ones(15) / 15
    return (x - np.convolve(x, kernel, mode="same"))[8:-8]


@pytest.mark.parametrize("part", ["sps30", "pms5003"])
def test_noise_against_level_is_that_recorded(cadr, part):
    compared = 0
    for low, high in ((10, 40), (100, 300), (400, 900)):
        real = []
        for (sensor, _, _), run in cadr.items():
            if sensor != part:
                continue
            x = run["pm25"]
            level = np.convolve(x, np.ones(15) / 15, mode="same")[8:-8]
            inside = (level > low) & (level < high)
            if inside.sum() > 60:
                real.append(residual(x)[inside].std())
        if not real:
            continue
        compared += 1
        mid = np.sqrt(low * high)
        unit_sd = []
        for seed in range(10):
            unit = PmUnit.draw(make_stream(seed, "noise"), part)
            n = unit.part.channels.index("pm25")
            signal = np.full((len(unit.part.channels), 2000), mid, np.float32)
            read = unit.read(make_stream(seed, "read"), signal, 1)[n]
            unit_sd.append(residual(read.astype(float)).std())
        assert 0.4 < np.median(unit_sd) / np.median(real) < 2.5, (part, mid, unit_sd, real)
    assert compared >= 2


def test_plantower_background_ratio_is_that_of_the_gym():
    path = recordings() / "gym_pms5003_61s.csv.gz"
    if not path.exists():
        pytest.skip(f"no recording at {path.name}")
    with gzip.open(path, "rt") as f:
        rows = [(float(r["pm1"]), float(r["pm25"]), float(r["pm10"])) for r in csv.DictReader(f)]
    real = np.array(rows)
    real = real[real[:, 1] > 5]
    # units differ widely, so eight of them are few
    school = draw_school(1, 24, models=["pms5003"], intervals=[60])
    chunks = simulate(school, seed=3, start=MONDAY + 9 * 3600, duration_s=4 * 3600,
                      nuisance_rate=0.0, vape_rate=0.0)  # fmt: skip
    columns = [COLUMNS.index(c) for c in ("pm1", "pm25", "pm10")]
    got = np.concatenate([t.values[:, columns] for chunk in chunks for t in chunk.traces])
    got = got[got[:, 1] > 5]
    for a, b in ((0, 1), (1, 2)):
        low, high = np.percentile(real[:, a] / real[:, b], [2, 98])
        # ratios of sums, because in whole micrograms, ratios of single readings jump
        assert low - 0.02 <= got[:, a].sum() / got[:, b].sum() <= high + 0.02
