"""Draw people's activities and their emissions; ``releases.toml`` has the ranges."""

from __future__ import annotations

import tomllib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from research.worlds.two_zones.emission import Act, Emission, Source, aerosol, bin_shares, emit
from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

_RELEASES: Final[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("releases.toml").read_text(encoding="utf-8")
)
_GLYCOL_PPB_M3_MG: Final = 330.0
"""VOC of propylene glycol: 1 mg in 30 m³ reads 11 ppb."""
_VAPE_MG: Final = {
    "pod": (0.2, 3.0),
    "disposable": (0.4, 4.0),
    "mod": (2.0, 20.0),
    "thc": (2.5, 6.5),
    "stealth": (0.1, 0.6),
}
"""Aerosol exhaled per puff, mg."""
_VAPE_VOLATILITY: Final = {"thc": (0.1, 0.5), "mod": (0.7, 0.95)}
_VAPE_EFOLD_S: Final = {"thc": (60.0, 600.0), "mod": (20.0, 180.0)}


def vape(rng: np.random.Generator, onset: float) -> Source:
    """Vape: 1-10 puffs, 5-60 s apart."""
    style = str(rng.choice(list(_VAPE_MG), p=[0.3, 0.32, 0.1, 0.16, 0.12]))
    puffs = int(rng.integers(1, 4 if style == "stealth" else 11))
    if style == "mod":
        median_um, spread = rng.uniform(0.5, 1.0), rng.uniform(1.6, 2)
    else:
        median_um, spread = rng.uniform(0.4, 0.65), rng.uniform(1.4, 1.8)
    if style == "thc":
        median_um, spread = rng.uniform(0.45, 0.75), rng.uniform(1.7, 2.0)
    volatile = rng.uniform(*_VAPE_VOLATILITY.get(style, (0.75, 0.97)))
    efold_s = draw_log(rng, *_VAPE_EFOLD_S.get(style, (8.0, 60.0)))
    voc_response = rng.uniform(0.3, 1.0) * draw_log(rng, 1, 5)
    direct = rng.uniform(0.0, 0.3)
    emissions: list[Emission] = []
    at = onset
    for _ in range(puffs):
        mg, duration_s = draw_log(rng, *_VAPE_MG[style]), rng.uniform(1.2, 4)
        voc = draw_log(rng, 0.2, 1.2) * mg * _GLYCOL_PPB_M3_MG * voc_response
        emissions += aerosol(
            at, duration_s, mg, median_um, spread, volatile, efold_s, voc, direct, vape=True
        )
        at += rng.uniform(5, 60)
    return emissions, Act("vape", style, onset, at)


def steam(rng: np.random.Generator, onset: float) -> Source:
    """Run a hot tap or shower: heat and humidity, and droplets that last in saturated air."""
    shower = rng.random() < 0.3
    duration_s = rng.uniform(240, 900) if shower else rng.uniform(25, 200)
    water_g_s = rng.uniform(0.5, 2.0) if shower else rng.uniform(0.05, 0.35)
    emission = emit(
        onset,
        duration_s,
        bin_shares(rng.uniform(2, 7), 1.8) * draw_log(rng, 300, 6000),
        1 / rng.uniform(0.4, 4),
        voc=draw_log(rng, 0.5, 8),
        water_g_s=water_g_s,
        heat_w=water_g_s * 900,
        direct=rng.uniform(0.05, 0.3),
    )
    return [emission], Act("steam", "shower" if shower else "tap", onset, onset + duration_s)


def spray(rng: np.random.Generator, onset: float) -> Source:
    """Use deodorant, hairspray, freshener or perfume, with propellant and ethanol."""
    kinds = ["deodorant", "hairspray", "freshener", "perfume"]
    style = str(rng.choice(kinds, p=[0.45, 0.15, 0.2, 0.2]))
    emissions, end = _released(rng, onset, "perfume" if style == "perfume" else "can")
    return emissions, Act("spray", style, onset, end)


def _cleaning(rng: np.random.Generator, onset: float) -> Source:
    duration_s = rng.uniform(*_RELEASES["wet_floor"]["duration_s"])
    emissions: list[Emission] = []
    for _ in range(int(rng.integers(2, 12))):
        emissions += _released(rng, onset + rng.uniform(0, duration_s * 0.7), "cleaner")[0]
    emissions += _parts(rng, onset, duration_s, "wet_floor")
    return emissions, Act("cleaning", "cart", onset, onset + duration_s)


def _act(rng: np.random.Generator, onset: float, kind: str, style: str) -> Source:
    emissions, end = _released(rng, onset, style)
    return emissions, Act(kind, style, onset, end)


def _released(rng: np.random.Generator, onset: float, name: str) -> tuple[list[Emission], float]:
    """Return a release's emissions and its end."""
    duration_s = rng.uniform(*_RELEASES[name]["duration_s"])
    return _parts(rng, onset, duration_s, name), onset + duration_s


def _parts(rng: np.random.Generator, onset: float, duration_s: float, name: str) -> list[Emission]:
    emissions: list[Emission] = []
    for part in _RELEASES[name]["part"]:
        drawn = {key: _drawn(rng, given) for key, given in part.items()}
        if "mg" in drawn:
            emissions += aerosol(onset, duration_s, **drawn)
            continue
        if "voc_whole" in drawn:
            drawn["voc"] = drawn.pop("voc_whole") / duration_s
        particles = bin_shares(drawn.pop("median_um"), drawn.pop("spread")) * drawn.pop("ug_s")
        emissions.append(emit(onset, duration_s, particles, **drawn))
    return emissions


def _drawn(rng: np.random.Generator, given: Any) -> Any:
    if isinstance(given, list):
        return rng.uniform(*given)
    if not isinstance(given, dict):
        return given
    draw = draw_log(rng, *given["log"]) if "log" in given else rng.uniform(*given["range"])
    return draw * given.get("times", 1.0)


NUISANCES_AN_HOUR: Final[tuple[tuple[Callable[..., Source], float], ...]] = (
    (steam, 0.35),
    (spray, 0.20),
    (partial(_act, kind="sanitizer", style="gel"), 0.6),
    (partial(_act, kind="dust", style="crowd"), 1.1),
    (partial(_act, kind="dryer", style="hand"), 2.0),
    (partial(_act, kind="flush", style="toilet"), 6.0),
    (partial(_act, kind="smoke", style="cigarette"), 0.012),
    (_cleaning, 0.06),
    (partial(_act, kind="nebulizer", style="asthma"), 0.004),
)
