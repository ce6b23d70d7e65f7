"""Compare each device model with measured figures: sizes, steps, lags, noise, gas from a puff.

Each row gives a quantity measured on simulated units, its allowed range, and the range's source.
Figures from recordings are quoted, so the files are not needed.
"""

import functools

import numpy as np
import pytest
from scipy.signal import lfilter

from detection.channels import RAW_SPAN
from research.tests.physics.plausibility import follow, smoothed
from sensor_sim.devices.climate import ClimateUnit
from sensor_sim.devices.models import MODELS, Device
from sensor_sim.devices.pm import PM_PARTS, PmUnit
from sensor_sim.devices.unit import DeviceUnit, Inlet
from sensor_sim.devices.voc import VOC_PARTS, VocUnit
from sensor_sim.physics.aerosol import BIN_MID_UM, N_BINS
from sensor_sim.physics.background import N_SLOW, Slow, count_coarse, count_fine
from sensor_sim.physics.plume import CO2, GAS, HEAT, N_ROWS, WATER
from sensor_sim.streams import make_stream

UNITS = range(60)
ROOM_GAS = np.array([14.0, 140.0, 26.0, 10.0, 26.0])
"""Gases in an ordinary school room by group, ppb."""


def unit_of(part, seed):
    return PmUnit.draw(make_stream(seed, "figures"), part)


@functools.cache
def puffs(source, *, near=None, single=False, n=100):
    found = (follow(source, s, ach=6.0, near=near, single=single) for s in range(n))
    return [p for p in found if p is not None]


def lagged(rows, lag_s):
    keep = np.exp(-1 / lag_s)
    return lfilter([1 - keep], [1, -keep], rows, axis=1)


# --- sizes -------------------------------------------------------------------------------------


@functools.cache
def read_near_pods(part):
    """Return the PM1 and PM2.5 excess in 10 s readings of pod puffs near units of a part."""
    out = []
    for seed, plume in enumerate(puffs("nicotine_pod", near=1.0, single=True, n=200)
                                 + puffs("disposable", near=1.0, single=True, n=200)):  # fmt: skip
        unit = unit_of(part, seed)
        bins = plume.rows[:N_BINS]
        signal = lagged(np.vstack([unit.matrix @ bins, bins[2:].sum(axis=0)]), unit.lag_s)
        unit.apply_coincidence(signal[:-1], signal[-1])
        rows = [signal[unit.part.channels.index(c)] for c in ("pm1", "pm25")]
        out.append(np.array([smoothed(row, 10) for row in rows]))
    return np.concatenate(out, axis=1)


NEAR_PODS = [
    # part, PM2.5 from, to, range of the median of PM1/PM2.5, recorded median (OPC-N3, 10 s)
    ("opcn3", 10, 30, (0.65, 0.80), 0.75),
    ("opcn3", 30, 60, (0.57, 0.71), 0.67),
    ("opcn3", 60, 120, (0.52, 0.67), 0.62),
    ("opcn3", 120, 1e9, (0.28, 0.52), 0.32),
    # photometers do not merge droplets
    ("sps30", 60, 1e9, (0.75, 1.0), None),
    ("pms5003", 60, 1e9, (0.55, 0.85), None),
]


@pytest.mark.parametrize(("part", "low", "high", "middle", "recorded"), NEAR_PODS)
def test_submicron_share_of_a_puff_by_level(part, low, high, middle, recorded):
    pm1, pm25 = read_near_pods(part)
    ratio = (pm1 / pm25)[(pm25 > low) & (pm25 <= high)]
    assert ratio.size >= 10
    assert middle[0] <= np.median(ratio) <= middle[1]
    # only one unit was recorded; it must lie within the simulated units' range
    assert recorded is None or ratio.min() <= recorded <= ratio.max()


def test_pm1_of_an_opc_stops_near_90():
    pm1, pm25 = read_near_pods("opcn3")
    assert pm25.max() > 200
    assert 60 < np.median(pm1[pm25 > 120]) < 110
    assert pm1.max() < 150


@functools.cache
def share(part, source, a, b):
    """Return the units' median ratio of two channels at a source's peak, or in ordinary air."""
    got = []
    for seed in UNITS:
        unit = unit_of(part, seed)
        if source == "background":
            bins = 6 * count_fine(kappa=0.25)[:, 90] + 3 * count_coarse()
        elif source == "coarse dust":
            bins = np.where((BIN_MID_UM > 3) & (BIN_MID_UM < 10), 1.0, 0.0)
        else:
            plumes = puffs(source)
            rows = plumes[seed % len(plumes)].rows[:N_BINS]
            bins = rows[:, int(np.argmax(rows.sum(axis=0)))]
        signal = unit.matrix @ bins
        got.append(signal[unit.part.channels.index(a)] / signal[unit.part.channels.index(b)])
    return float(np.median(got))


CADR = "air-cleaner recording"
SHARES = [
    ("sps30", "incense", "pm1", "pm25", 0.85, 1.0, f"{CADR}: 0.95"),
    ("sps30", "incense", "pm25", "pm10", 0.92, 1.0, f"{CADR}: 1.0"),
    ("sps30", "nebulizer", "pm1", "pm25", 0.35, 0.82, f"{CADR}: 0.41-0.82"),
    ("sps30", "nebulizer", "pm25", "pm10", 0.64, 0.92, f"{CADR}: 0.64-0.88"),
    ("sen55", "incense", "pm1", "pm25", 0.8, 1.0, "the same optics"),
    ("pms5003", "incense", "pm1", "pm25", 0.56, 0.78, f"{CADR}: 0.56-0.72"),
    ("pms5003", "incense", "pm25", "pm10", 0.88, 0.99, f"{CADR}: 0.93-0.99"),
    ("pms5003", "nebulizer", "pm1", "pm25", 0.36, 0.56, f"{CADR}: 0.36-0.42"),
    ("pms5003", "nebulizer", "pm25", "pm10", 0.62, 0.80, f"{CADR}: 0.64-0.66"),
    ("pms7003", "background", "pm1", "pm25", 0.55, 0.88, "Kolkata 0.55-0.72, gym 0.60-0.88"),
    ("pms7003", "background", "pm25", "pm10", 0.80, 1.0, "the same: 0.80-1.0"),
    ("one_size", "incense", "pm25", "pm10", 0.70, 1.0, "kitchens 0.72, gym 0.93-0.95"),
    ("one_size", "coarse dust", "pm25", "pm10", 0.70, 1.0, "the same proportion for all"),
    ("opcn3", "coarse dust", "pm25", "pm10", 0.0, 0.1, "single particles are sized"),
]


@pytest.mark.parametrize(("part", "what", "a", "b", "low", "high", "source"), SHARES)
def test_size_classes(part, what, a, b, low, high, source):
    assert low <= share(part, what, a, b) <= high, source


def test_a_device_of_one_size_reports_dust_as_smoke():
    for a, b in (("pm1", "pm25"), ("pm25", "pm10")):
        assert share("one_size", "coarse dust", a, b) == pytest.approx(
            share("one_size", "incense", a, b), abs=0.01
        )


@pytest.mark.parametrize("part", list(PM_PARTS))
def test_response_differs_between_units_by_a_factor_of_two_either_way(part):
    # Sousan 2022: optical monitors on the same vapor, gravimetric factors 0.13-6.
    largest = [c.startswith("pm") for c in PM_PARTS[part].channels].count(True) - 1
    typical = PM_PARTS[part].build_matrix()[largest].sum()
    gain = np.array([unit_of(part, seed).matrix[largest].sum() / typical for seed in range(300)])
    assert 0.4 <= gain.min() < 0.6
    assert 1.7 < gain.max() <= 2.3
    assert 0.85 < np.median(gain) < 1.15


# --- steps -------------------------------------------------------------------------------------

STEPS = [
    ("pms5003", 1.0, "datasheet"),
    ("pms7003", 1.0, "datasheet"),
    ("gs601", 1.0, "frames of the device"),
    ("merakimt", 1.0, "messages of the device"),
    ("one_size", 1.0, "gym and kitchens: whole µg/m³"),
    ("sds011", 0.1, "datasheet"),
    ("sen55", 0.1, "datasheet"),
    ("sps30", 0.01, "air-cleaner recording"),
    ("opcn3", 0.01, "recording beside pod vaping"),
]


def test_every_particle_sensor_has_a_step():
    assert {part for part, _, _ in STEPS} == set(PM_PARTS)


@pytest.mark.parametrize(("part", "step", "source"), STEPS)
def test_resolution_of_mass(part, step, source):
    steps = np.round(np.diff(np.unique(noisy(part, 8.0, "pm25"))), 3)
    assert steps.min() == pytest.approx(step, abs=step / 20), source


# --- noise -------------------------------------------------------------------------------------


def noisy(part, level, channel, seed=1, n=3000, averaged=1):
    """Return a unit's readings in air in which every channel would read `level`."""
    unit = unit_of(part, seed)
    signal = np.full((len(unit.part.channels), n), level, np.float32)
    return unit.read(make_stream(seed, "read"), signal, averaged)[unit.part.channels.index(channel)]


NOISE = [
    # part, channel, level, standard deviation of 1 s readings there, source
    ("pms5003", "pm25", 1, 0.3, CADR),
    ("pms5003", "pm25", 225, 3.0, CADR),
    ("pms5003", "pm25", 607, 5.4, CADR),
    ("pms5003", "pm25", 1195, 6.0, CADR),
    ("pms5003", "n03", 1.85, 0.10, f"{CADR}, 185 in 0.1 L"),
    ("pms5003", "n03", 240, 2.68, f"{CADR}, 24,000 in 0.1 L"),
    ("pms5003", "n25", 1.79, 0.07, f"{CADR}, 179 in 0.1 L"),
    ("pms5003", "n25", 5.73, 0.14, f"{CADR}, 573 in 0.1 L"),
    ("pms7003", "pm25", 10, 0.8, "a home below 15 µg/m³"),
    ("sps30", "pm25", 2, 0.25, CADR),
    ("sps30", "pm25", 19, 0.8, CADR),
    ("sps30", "pm25", 165, 4.4, CADR),
    ("sps30", "pm25", 572, 12, CADR),
]


@pytest.mark.parametrize(("part", "channel", "level", "sd", "source"), NOISE)
def test_noise_against_level(part, channel, level, sd, source):
    spread = [
        1.4826 * np.median(abs(x - x.mean())) if level > 30 else x.std()
        for x in (
            noisy(part, level, channel, seed)
            for seed in UNITS
            if unit_of(part, seed).spikes_per_day == 0
        )
    ]
    # recorded sensors smooth their readings, so simulated readings may be noisier
    assert 0.5 * sd <= np.median(spread) <= 2.5 * sd, source


def test_coarse_mass_of_an_opc_is_single_hits():
    # OPC-N3 in clean air, 10 s: PM10 median 1.6, 99% 113 µg/m³; PM2.5 median 0.42, 99% 4.5.
    unit = unit_of("opcn3", 3)
    clean = unit.matrix @ (0.6 * count_fine(kappa=0.25)[:, 90] + 3 * count_coarse())
    read = unit.read(make_stream(1, "read"), np.tile(clean[:, None], 5000), 10)
    pm25, pm10 = (read[unit.part.channels.index(c)] for c in ("pm25", "pm10"))
    assert np.percentile(pm10, 99) > 10 * np.median(pm10)
    assert np.percentile(pm25, 99) < 4.5


# --- lags --------------------------------------------------------------------------------------


def step_response(model, seed):
    """Return the seconds until each signal has covered 63% of a step in all of the air's
    values."""
    device = Device(f"d{seed}", "r", model, 1)
    unit = DeviceUnit(device, seed, 0.0)
    n, begin = 1800, 60
    slow = np.zeros((N_SLOW, n), np.float32)
    slow[Slow.FINE], slow[Slow.COARSE], slow[Slow.CO2] = 2.0, 1.0, 500.0
    slow[Slow.WATER], slow[Slow.TEMP], slow[Slow.GLYCOL :] = 8.0, 21.0, ROOM_GAS[:, None]
    plume = np.zeros((N_ROWS, n), np.float32)
    plume[int(np.argmin(abs(BIN_MID_UM - 0.5))), begin:] = 500
    plume[GAS:CO2, begin:] = 300
    plume[WATER, begin:], plume[HEAT, begin:] = 2.0, 2.0
    air = Inlet.mix(np.arange(n, dtype=float), plume, slow)
    signals = unit.sense(make_stream(seed, "sense"), air).astype(float)
    spec = MODELS[model]
    rows, k = {}, len(PM_PARTS[spec.pm].channels)
    rows["pm"] = signals[PM_PARTS[spec.pm].channels.index("pm25")]
    rows["temp"] = signals[k + 1]
    if spec.voc and VOC_PARTS[spec.voc].hold_s == (1,):
        rows["voc"] = signals[k + 5] if unit.has_index else signals[k + 3]
    out = {}
    for key, row in rows.items():
        before, after = row[begin - 20 : begin].mean(), row[-100:].mean()
        gone = (row[begin:] - before) / (after - before)
        out[key] = int(np.argmax(gone >= 1 - np.exp(-1)))
    return out


@pytest.mark.parametrize("model", list(MODELS))
def test_lag(model):
    # Particles: 2-10 s; metal oxide: 5-12 s raw, 8-30 s in a case; temperature in a case 30-300 s.
    ranges = {"pm": (1, 12), "voc": (3, 32), "temp": (25, 320)}
    for seed in range(6):
        for key, seconds in step_response(model, seed).items():
            assert ranges[key][0] <= seconds <= ranges[key][1], (key, seconds)


@pytest.mark.parametrize("part", ["sht_open", "sht_case", "bme_case"])
def test_humidity_follows_within_8_to_60_s(part):
    lags = [ClimateUnit.draw(make_stream(s, "climate"), part).rh_lag_s for s in UNITS]
    assert min(lags) >= 8
    assert max(lags) <= 60


# --- gas ---------------------------------------------------------------------------------------


def doublings(source):
    """Return the 90th percentile of the raw signal's doublings during a session, in 10 s means."""
    got = []
    for seed, plume in enumerate(puffs(source)):
        if plume.pm25.max() < 5:
            continue
        unit = VocUnit.draw(make_stream(seed, "figures"), "sgp40")
        gas = ROOM_GAS[:, None] + plume.rows[GAS:CO2]
        gas = np.concatenate([np.repeat(ROOM_GAS[:, None], 300, axis=1), gas], axis=1)
        ppb = lagged((unit.answer @ gas)[None, :], unit.lag_s)[0].astype(np.float32)
        raw = unit.read_raw(make_stream(seed, "raw"), ppb, np.full(ppb.size, 50, np.float32), 0.0)
        means = smoothed(raw[200:].astype(float), 10)
        got.append((means[:10].mean() - means.min()) / RAW_SPAN)
    return np.percentile(got, 90)


@pytest.mark.parametrize(
    ("source", "low", "high"),
    [
        ("stealth", 0.05, 1.0),
        ("nicotine_pod", 0.1, 1.0),
        ("disposable", 0.1, 1.0),
        ("thc_cartridge", 0.1, 1.0),
        ("box_mod", 0.8, 2.5),
    ],
)
def test_gas_of_vaping_by_device(source, low, high):
    # Not published: from 0.05 doublings (pods) to 1 and more (mods) at the 90th percentile.
    assert low <= doublings(source) <= high


def test_sgp40_ticks_of_a_doubling():
    ticks = [VocUnit.draw(make_stream(s, "figures"), "sgp40").ticks for s in range(200)]
    assert np.median(ticks) == pytest.approx(870, abs=30)
    assert 710 <= min(ticks) < max(ticks) <= 1030
