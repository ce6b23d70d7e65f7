"""Draw the figures of `docs/simulator.md` and print its numbers.

Usage: python benchmarks/simulator_plots.py [FOLDER]; needs the extra ``bench``

FOLDER (default `docs/img`) gets `sim_*.png`. Real recordings are drawn where they are found in a
folder `shared/data` beside the repository or in `$PLUMEWATCH_SHARED/data`.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from detection.quantities import COLUMNS
from sensor_sim.devices.pm import PmUnit
from sensor_sim.physics.aerosol import BIN_MASS_UG, N_BINS, PM_FRACTION
from sensor_sim.physics.plume import CO2, GAS, WATER, Plume
from sensor_sim.school import random_school
from sensor_sim.simulate import simulate
from sensor_sim.streams import stream
from tests.support.plausibility import decay, follow, read_by, smoothed, steady_puffing

MONDAY = 20_703 * 86_400.0
SEEDS = range(100)
PARTS = ("sps30", "pms5003", "sds011")
COLOURS = {
    "nicotine_pod": "#c0392b", "thc_cartridge": "#e67e22", "cigarette": "#2c3e50",
    "incense": "#7f8c8d", "nebulizer": "#2980b9", "deodorant": "#8e44ad",
    "hand_sanitizer": "#16a085", "hot_tap": "#3498db", "class_change": "#a0522d",
    "box_mod": "#e74c3c", "shower": "#5dade2", "fog_machine": "#95a5a6",
}  # fmt: skip


def save(folder: Path, name: str) -> None:
    """Write the current figure and close it."""
    plt.tight_layout()
    plt.savefig(folder / f"sim_{name}.png", dpi=110)
    plt.close()


def followed(source: str, **kwargs: float) -> list[Plume]:
    """All sessions of the standard seeds that reach the sensor."""
    return [p for p in (follow(source, s, **kwargs) for s in SEEDS) if p is not None]


def recordings() -> Path:
    """Folder of the real recordings, whether or not it exists."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    return Path(os.environ.get("PLUMEWATCH_SHARED", beside)) / "data"


def real_runs() -> dict[tuple[str, ...], dict[str, np.ndarray]]:
    """Read runs of the air-cleaner recording by (sensor, source, run)."""
    path = recordings() / "cadr_runs_1s.csv.gz"
    runs = defaultdict(lambda: defaultdict(list))
    if path.exists():
        with gzip.open(path, "rt") as f:
            for row in csv.DictReader(f):
                key = row["sensor"].removeprefix("sensirion_"), row["source"], row["run"]
                for c in ("t_s", "pm1", "pm25", "pm10"):
                    runs[key][c].append(float(row[c]) if row[c] else np.nan)
    return {k: {c: np.array(v) for c, v in run.items()} for k, run in runs.items()}


def decays(folder: Path) -> None:
    """Fall of fine excess after one release, and its e-fold at two ventilation rates."""
    print("\nfine excess after the peak, SPS30 at 10 s, beside the sensor (25/50/75 %)")
    print(f"{'source':<16}{'ACH':>5}  {'e-fold, s':>20}   {'to a tenth, s':>14}")
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    sources = ("nicotine_pod", "thc_cartridge", "cigarette", "incense", "nebulizer")
    for row, source in enumerate(sources):
        for ach, shift in ((0.7, -0.17), (12.0, 0.17)):
            plumes = followed(source, ach=ach, near=1.0, single=source != "cigarette")
            series = [smoothed(read_by("sps30", p)["pm1"], 10) for p in plumes]
            found = [decay(x, 10.0) for x in series]
            q = np.nanpercentile([d.efold_s for d in found], [25, 50, 75])
            tenth = np.nanmedian([d.tenth_s for d in found])
            print(f"{source:<16}{ach:>5}  {q[0]:>6.0f}{q[1]:>7.0f}{q[2]:>7.0f}   {tenth:>14.0f}")
            alpha = 1.0 if ach > 1 else 0.45
            right.plot(q[[0, 2]], [row + shift] * 2, color=COLOURS[source], alpha=alpha, lw=4)
            right.plot(q[1], row + shift, "o", color=COLOURS[source], alpha=alpha)
            if ach > 1:
                curves = []
                for x in series:
                    top = int(np.argmax(x))
                    tail = np.zeros(60)
                    part = x[top : top + 60] / x[top]
                    tail[: part.size] = part
                    curves.append(tail)
                mid = np.median(curves, axis=0)
                left.semilogy(np.arange(60) * 10, np.maximum(mid, 1e-3), color=COLOURS[source],
                              label=source)  # fmt: skip
    left.set(xlabel="s after the peak", ylabel="share of the peak (median)", ylim=(3e-3, 1.1),
             title="12 air changes an hour")  # fmt: skip
    left.legend(fontsize=8)
    right.axvspan(15, 24, color="#c0392b", alpha=0.12)
    right.axvline(19, color="#c0392b", lw=1, ls=":")
    right.set_xscale("log")
    right.set_yticks(range(len(sources)), sources)
    right.set(xlabel="e-fold, s (faint: 0.7 ACH, full: 12 ACH)",
              title="shaded: Juul recording, middle half")  # fmt: skip
    save(folder, "decays")


def space_and_surfaces() -> None:
    """Print near and far of steady puffing, and what is left of a deodorant after ten minutes."""
    pairs = np.array([steady_puffing(s, volume_m3=80.0, gap_s=30.0) for s in SEEDS])
    near, far = np.median(pairs, axis=0)
    print(f"\nsteady puffing in 80 m³: near {near:.0f}, far {far:.0f} µg/m³ (medians)")
    left = []
    for p in followed("deodorant", ach=0.5):
        row = []
        for key in ("pm25", "pm10"):
            mass = (BIN_MASS_UG * 1e6 * PM_FRACTION[key]) @ p.rows[:N_BINS]
            row.append(mass[720] / mass[120])
        left.append(row)
    a, b = 100 * (1 - np.median(left, axis=0))
    print(f"deodorant, ten minutes at 0.5 ACH: PM2.5 -{a:.0f} %, PM10 -{b:.0f} %")


def against_recordings(folder: Path) -> None:  # noqa: C901 - one figure, one story
    """Decays and size ratios by sensor, simulated and recorded."""
    runs = real_runs()
    pairs = (("smoke", "incense"), ("incense", "incense"), ("salt", "nebulizer"))
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    print("\ne-fold of PM2.5, s: recorded range, simulated median at 12 and 0.7 ACH")
    labels = []
    for part in PARTS:
        for real, source in pairs:
            got = []
            for (sensor, what, _), run in runs.items():
                if sensor == part and what.startswith(real):
                    n = round(10 / np.median(np.diff(run["t_s"])))
                    x = smoothed(run["pm25"] - np.nanpercentile(run["pm25"], 2), n)
                    got.append(decay(x, 10.0).efold_s)
            if not got:
                continue
            sim = [np.nanmedian([decay(smoothed(read_by(part, p)["pm25"], 10), 10.0).efold_s
                                 for p in followed(source, ach=ach)])
                   for ach in (12.0, 0.7)]  # fmt: skip
            y = len(labels)
            labels.append(f"{part} {real}")
            left.plot(got, [y] * len(got), "k|", ms=10)
            left.plot(sim, [y, y], color="#2980b9", lw=5, alpha=0.4)
            print(f"{labels[-1]:<18} {min(got):6.0f}-{max(got):<6.0f} {sim[0]:6.0f} {sim[1]:6.0f}")
    left.set_xscale("log")
    left.set_yticks(range(len(labels)), labels)
    left.set(xlabel="e-fold of PM2.5, s", title="ticks: recorded runs (most with an air cleaner)\n"
             "bar: simulated, 12 to 0.7 ACH")  # fmt: skip
    print("\nPM1/PM2.5 and PM2.5/PM10: recorded median, simulated median")
    for marker, part in zip("os^", PARTS, strict=True):
        for (real, source), colour in zip(pairs, ("#2c3e50", "#7f8c8d", "#2980b9"), strict=True):
            got = []
            for (sensor, what, _), run in runs.items():
                loud = run["pm25"] > 20
                if sensor == part and what.startswith(real) and np.isfinite(run["pm1"]).any():
                    got.append([np.nanmedian(run[a][loud] / run[b][loud])
                                for a, b in (("pm1", "pm25"), ("pm25", "pm10"))])  # fmt: skip
            if not got:
                continue
            sim = []
            for p in followed(source, ach=2.0):
                read = read_by(part, p)
                top = int(np.argmax(read["pm25"]))
                sim.append([read["pm1"][top] / read["pm25"][top],
                            read["pm25"][top] / read["pm10"][top]])  # fmt: skip
            a, b = np.median(got, axis=0), np.median(sim, axis=0)
            right.plot(*np.array(got).T, marker, color=colour, alpha=0.3)
            right.plot(*b, marker, color=colour, ms=12, mec="k", label=f"{part} {real}")
            print(f"{part:<9}{real:<9} {a[0]:5.2f} {a[1]:5.2f}   {b[0]:5.2f} {b[1]:5.2f}")
    right.set(xlabel="PM1 / PM2.5", ylabel="PM2.5 / PM10", xlim=(0.15, 1.02), ylim=(0.5, 1.02),
              title="size classes (faint: recorded, ringed: simulated)")  # fmt: skip
    if right.get_legend_handles_labels()[0]:
        right.legend(fontsize=8)
    save(folder, "recordings")


def classes(folder: Path) -> None:
    """Draw what separates the classes: gas per particle, humidity, sizes."""
    print("\nat the inlet, ACH 6: median peak PM2.5 µg/m³, gas ppb, +%RH, PM1/PM2.5 on OPC-N3")
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for source, colour in COLOURS.items():
        pm25, gas, humid, ratio = [], [], [], []
        for p in followed(source, ach=6.0):
            pm25.append(max(float(p.pm25.max()), 0.03))
            gas.append(max(float(p.rows[GAS:CO2].sum(axis=0).max()), 0.3))
            humid.append(max(float(p.rows[WATER].max()) / 0.194, 0.01))
            read = read_by("opcn3", p)
            top = int(np.argmax(read["pm25"]))
            if read["pm25"][top] > 1:
                ratio.append(read["pm1"][top] / read["pm25"][top])
        left.loglog(pm25, gas, ".", color=colour, ms=4, label=source)
        right.loglog(humid, pm25, ".", color=colour, ms=4)
        r = np.median(ratio) if ratio else np.nan
        print(f"{source:<16}{np.median(pm25):>8.1f}{np.median(gas):>10.0f}"
              f"{np.median(humid):>7.1f}{r:>7.2f}")  # fmt: skip
    left.set(xlabel="peak PM2.5 excess, µg/m³", ylabel="peak gas, ppb",
             title="milligrams against grams")  # fmt: skip
    left.set_ylim(top=1e10)
    left.legend(fontsize=7, ncol=3, loc="upper center")
    right.set(xlabel="humidity step, %RH", ylabel="peak PM2.5 excess, µg/m³",
              title="steam lifts humidity, a puff does not")  # fmt: skip
    save(folder, "classes")


def noise(folder: Path) -> None:
    """Noise against level of SPS30 and PMS5003, simulated and recorded."""
    runs = real_runs()
    _, axes = plt.subplots(1, 2, figsize=(10, 3.6))
    kernel = np.ones(15) / 15
    for ax, part in zip(axes, ("sps30", "pms5003"), strict=True):
        for (sensor, _, _), run in runs.items():
            if sensor != part:
                continue
            x = run["pm25"]
            level = np.convolve(x, kernel, mode="same")[8:-8]
            rest = (x - np.convolve(x, kernel, mode="same"))[8:-8]
            for low in np.geomspace(2, 1000, 12):
                inside = (level > low) & (level < 1.6 * low)
                if inside.sum() > 40:
                    ax.loglog(1.3 * low, rest[inside].std(), "k.", alpha=0.35)
        levels = np.geomspace(1, 1500, 25)
        for seed in range(8):
            unit = PmUnit.draw(stream(seed, "noise"), part)
            row = unit.part.channels.index("pm25")
            sd = []
            for level in levels:
                signal = np.full((len(unit.part.channels), 1500), level, np.float32)
                read = unit.read(stream(seed, "read"), signal, 1)[row]
                sd.append((read - np.convolve(read, kernel, mode="same"))[8:-8].std())
            ax.loglog(levels, np.maximum(sd, 0.05), color="#2980b9", alpha=0.5)
        published = {"sps30": ((2, 0.25), (19, 0.8), (165, 4.4), (572, 12)),
                     "pms5003": ((1, 0.3), (225, 3), (607, 5.4), (1195, 6))}[part]  # fmt: skip
        ax.loglog(*np.array(published).T, "r^", label="medians of the recordings")
        ax.set(title=f"{part}: dots recorded, lines units", xlabel="PM2.5, µg/m³",
               ylabel="noise sd, µg/m³")  # fmt: skip
        ax.legend(fontsize=8)
    save(folder, "noise")


def minute(folder: Path) -> None:
    """One puff at 1, 10 and 60 s."""
    share = {}
    for step in (10, 30, 60):
        kept = []
        for seed, p in enumerate(followed("nicotine_pod", ach=6.0, near=1.0, single=True)):
            x = read_by("sps30", p)["pm25"]
            kept.append(smoothed(x[seed % step :], step).max() / x.max())
        share[step] = np.percentile(kept, [25, 50, 75])
    print("\nshare of a puff's 1 s peak left in means (25/50/75 %)")
    for step, q in share.items():
        print(f"{step:>3} s  {q[0]:.2f} {q[1]:.2f} {q[2]:.2f}")
    plt.figure(figsize=(7, 3.4))
    p = follow("nicotine_pod", 11, ach=6.0, near=1.0, single=True)
    x = np.concatenate([np.zeros(60), read_by("sps30", p)["pm25"]])[:360]
    plt.plot(x, color="#c0392b", lw=1, label="1 s")
    for step, colour in ((10, "#2980b9"), (60, "#2c3e50")):
        plt.step(np.arange(0, 360, step) + step, smoothed(x, step), color=colour, where="pre",
                 label=f"{step} s means")  # fmt: skip
    plt.xlabel("s")
    plt.ylabel("PM2.5 excess, µg/m³")
    plt.title("one pod puff beside a sensor")
    plt.legend()
    save(folder, "sampling")


def steam(folder: Path) -> None:
    """Visible steam against the room's humidity."""
    humidities = np.arange(40, 98, 4.0)
    plt.figure(figsize=(6, 3.6))
    for source in ("hot_tap", "shower"):
        peaks = []
        for rh in humidities:
            got = [float((BIN_MASS_UG * 1e6 @ p.rows[:N_BINS]).max())
                   for p in (follow(source, s, ach=2.0, rh=float(rh)) for s in range(40))
                   if p is not None]  # fmt: skip
            peaks.append(np.percentile(got, [25, 50, 75]))
        q = np.maximum(np.array(peaks), 1e-3)
        plt.fill_between(humidities, q[:, 0], q[:, 2], color=COLOURS[source], alpha=0.2)
        plt.semilogy(humidities, q[:, 1], color=COLOURS[source], label=source)
    plt.xlabel("humidity of the room before, %RH")
    plt.ylabel("peak droplets at the sensor, µg/m³")
    plt.legend()
    save(folder, "steam")


def day(folder: Path) -> None:
    """Draw three hours of a hard restroom on one device."""
    school = random_school(6, 1, models=["sen55"], intervals=[1])
    chunks = list(simulate(school, seed=6, start=MONDAY + 10 * 3600, duration_s=3 * 3600,
                           chunk_s=1e6, activity="hard_restroom"))  # fmt: skip
    trace, truths = chunks[0].traces[0], chunks[0].truths
    mine = [t for t in truths if t.sensor == trace.sensor]
    shown = ("pm1", "pm25", "pm10", "voc_index", "tvoc_ppb", "rh")
    keys = [k for k in shown if np.isfinite(trace.values[:, COLUMNS.index(k)]).any()]
    groups = [[k for k in keys if k.startswith("pm")], [k for k in keys if "voc" in k], ["rh"]]
    groups = [[k for k in g if k in keys] for g in groups]
    groups = [g for g in groups if g]
    _, axes = plt.subplots(len(groups), 1, figsize=(11, 6), sharex=True)
    minutes = (trace.time - MONDAY - 10 * 3600) / 60
    for ax, group in zip(np.atleast_1d(axes), groups, strict=True):
        for key in group:
            ax.plot(minutes, trace.values[:, COLUMNS.index(key)], lw=0.7, label=key)
        ax.legend(fontsize=8, loc="upper right")
        for t in mine:
            if np.isfinite(t.arrival):
                ax.axvline((t.arrival - MONDAY - 10 * 3600) / 60, lw=0.6,
                           color="#c0392b" if t.kind == "vape" else "#bbbbbb")  # fmt: skip
    np.atleast_1d(axes)[0].set_yscale("symlog", linthresh=10)
    np.atleast_1d(axes)[0].set_title(f"{trace.model}: red vaping, grey everything else")
    np.atleast_1d(axes)[-1].set_xlabel("minutes")
    save(folder, "hard_restroom")


def main() -> None:
    """Draw everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/img"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    space_and_surfaces()
    for figure in (decays, against_recordings, classes, noise, minute, steam, day):
        figure(folder)
    print(f"\nwrote {', '.join(sorted(p.name for p in folder.glob('sim_*.png')))}")


if __name__ == "__main__":
    main()
