"""Fit the recurrent network with torch, and export it as `detection.model.Network`.

An example is the sequence of moments at which the detector scores an episode. In each round, some
examples have a group of channels hidden, so that the network does not depend on a single group.
Weights are rounded when the network is exported.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from detection.episodes import FEATURES
from detection.model import Network, round_to_step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from research.training.examples import Examples

COMPRESSED: Final = (
    "age_s", "since_peak_s", "rise_s", "half_s", "fifth_s", "tenth_s", "interval_s",
    "since_first_pulse_s", "since_earlier_s", "readings", "width_s", "episode_age_s",
    "least_half_s", "mean_gap_s", "pulses", "fast_pulses", "risen", "roughness", "voc_lag_s",
    "n05_share", "n10_share", "n25_share", "voc_per_pm", "voc_pm_highest",
)  # fmt: skip
"""Features with long-tailed distributions; the network gets their logarithms."""
GROUPS: Final = (
    ("pm1_",), ("coarse", "pm10"), ("n05", "n10", "n25"), ("voc",), ("rh",), ("temp",), ("co2",),
)  # fmt: skip
"""Prefixes of feature names by group: a sensor without the channel lacks the whole group."""
_GROUP_FEATURES: Final = tuple(
    np.array([number for number, name in enumerate(FEATURES) if name.startswith(begins)])
    for begins in GROUPS
)
LONGEST: Final = 96
OVERLAP: Final = 24
"""Maximum number of moments in an example; longer episodes become overlapping examples."""
BATCH: Final = 6_000
"""Number of moments in a batch."""
HIDDEN: Final = 0.15
"""Probability that an example has a group of channels hidden."""
_SAMPLED: Final = 300_000
_AT_ONCE: Final = 50_000


@dataclass(frozen=True, slots=True)
class Fitting:
    """Parameters of fitting the network."""

    units: int = 64
    rounds: int = 10
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    seed: int = 0


FITTING: Final = Fitting()


def scaling(features: NDArray[np.float32]) -> Network:
    """Return a network that has no units yet, with the scaling that fits these features."""
    draw = np.random.default_rng(0)
    sample = features[draw.choice(len(features), min(len(features), _SAMPLED), replace=False)]
    x = sample.astype(np.float64)
    compressed = np.isin(FEATURES, COMPRESSED)
    x[:, compressed] = np.copysign(np.log1p(np.abs(x[:, compressed])), x[:, compressed])
    x[~np.isfinite(x)] = np.nan
    with warnings.catch_warnings():
        # a feature that no sensor measures is 0 everywhere
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nan_to_num(np.nanquantile(x, (0.01, 0.99), axis=0))
        cut = np.clip(x, low, high)
        mean, scale = np.nan_to_num(np.nanmean(cut, axis=0)), np.nan_to_num(np.nanstd(cut, axis=0))
    none = np.zeros(0)
    groups = np.array([columns[0] for columns in _GROUP_FEATURES])
    return Network(
        compressed, low, high, mean, scale + 1e-3, groups,
        np.zeros((len(FEATURES) + groups.size, 0)), np.zeros((0, 0)), none, none, none, 0.0,
    )  # fmt: skip


def fit(examples: Examples, scaled: Network, fitting: Fitting = FITTING) -> Any:
    """Return a fitted `torch.nn.Module` with the members `gru` and `output`.

    Results are reproducible on the same machine: one thread, fixed seeds.
    """
    import torch  # noqa: PLC0415 - training only
    from torch import nn  # noqa: PLC0415

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(fitting.seed)
    draw = np.random.default_rng(fitting.seed)
    inputs = normalized(examples.features, scaled)
    batches = list(_batches(_spans(examples.starts, len(inputs)), draw))
    module = nn.ModuleDict(
        {
            "gru": nn.GRU(inputs.shape[1], fitting.units, batch_first=True),
            "output": nn.Linear(fitting.units, 1),
        }
    )
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=fitting.learning_rate, weight_decay=fitting.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, fitting.learning_rate, total_steps=fitting.rounds * len(batches)
    )
    for number in range(fitting.rounds):
        lost = weighed = 0.0
        for at in draw.permutation(len(batches)):
            x, label, weight = (
                torch.from_numpy(a) for a in _batch(inputs, examples, batches[at], draw)
            )
            score = log_odds(module, x)
            each = nn.functional.binary_cross_entropy_with_logits(score, label, reduction="none")
            loss = (each * weight).sum()
            optimizer.zero_grad()
            (loss / BATCH).backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            lost += float(loss.detach())
            weighed += float(weight.sum())
        print(f"network: round {number + 1} of {fitting.rounds}, loss {lost / weighed:.4f}")
    return module


def log_odds(module: Any, inputs: Any) -> Any:
    """Return torch's log-odds, shape (episodes, moments), for inputs from `normalized`."""
    states, _ = module["gru"](inputs)
    return module["output"](states)[..., 0]


def normalized(features: NDArray[np.float32], scaled: Network) -> NDArray[np.float32]:
    """Scale features as the exported network does."""
    inputs = np.empty((len(features), len(FEATURES) + scaled.groups.size), np.float32)
    for at in range(0, len(features), _AT_ONCE):
        part = slice(at, at + _AT_ONCE)
        inputs[part] = scaled.normalize(features[part].astype(np.float64))
    return inputs


def as_network(module: Any, scaled: Network) -> Network:
    """Convert a fitted module to the detector's network; its output is rounded later."""
    weights = {
        name: tensor.detach().numpy().astype(np.float64)
        for name, tensor in module.state_dict().items()
    }
    return replace(
        scaled,
        inputs=np.ascontiguousarray(round_to_step(weights["gru.weight_ih_l0"]).T),
        recurrent=np.ascontiguousarray(round_to_step(weights["gru.weight_hh_l0"]).T),
        bias=round_to_step(weights["gru.bias_ih_l0"]),
        recurrent_bias=round_to_step(weights["gru.bias_hh_l0"]),
        output=weights["output.weight"][0],
        offset=float(weights["output.bias"][0]),
    )


def _spans(starts: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    spans = []
    for begin, end in pairwise([*starts.tolist(), n]):
        at = begin
        while end - at > LONGEST:
            spans.append((at, at + LONGEST))
            at += LONGEST - OVERLAP
        spans.append((at, end))
    return np.array(spans)


def _batches(spans: NDArray[np.int64], draw: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    length = spans[:, 1] - spans[:, 0]
    order = np.argsort(length + 4 * draw.random(length.size))
    first = moments = 0
    for at, i in enumerate(order.tolist(), start=1):
        moments += int(length[i])
        if moments >= BATCH or at == order.size:
            yield spans[order[first:at]]
            first, moments = at, 0


def _batch(
    inputs: NDArray[np.float32],
    examples: Examples,
    spans: NDArray[np.int64],
    draw: np.random.Generator,
) -> tuple[NDArray[np.float32], ...]:
    """Return inputs, labels and weights of some examples, padded with weight 0."""
    n, longest = len(spans), int((spans[:, 1] - spans[:, 0]).max())
    x = np.zeros((n, longest, inputs.shape[1]), np.float32)
    label, weight = np.zeros((n, longest), np.float32), np.zeros((n, longest), np.float32)
    for k, (a, b) in enumerate(spans.tolist()):
        x[k, : b - a] = inputs[a:b]
        label[k, : b - a] = examples.label[a:b]
        weight[k, : b - a] = examples.weight[a:b]
    for number, columns in enumerate(_GROUP_FEATURES):
        hidden = np.flatnonzero(draw.random(n) < HIDDEN)
        x[hidden[:, None], :, columns] = 0.0
        x[hidden, :, len(FEATURES) + number] = 1.0
    return x, label, weight
