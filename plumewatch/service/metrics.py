"""Numbers in the text format that Prometheus reads.

The format is small enough to write here: families with a name, a kind and a sentence, samples with
labels, histograms as cumulative buckets. No registry, no background thread: what is counted lives
where it happens, and a scrape collects it.

References
----------
https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4) and
https://prometheus.io/docs/practices/naming/ (base units, ``_total``, ``_info``).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Counts of durations by upper bound.

    Parameters
    ----------
    bounds : sequence of float
        Upper bounds in seconds, growing; what is above all of them counts in ``+Inf``.

    Examples
    --------
    >>> waits = Histogram((0.1, 1.0))
    >>> for seconds in (0.05, 0.1, 0.5, 7.0):
    ...     waits.observe(seconds)
    >>> waits.cumulative()
    [('0.1', 2), ('1', 3), ('+Inf', 4)]
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.sum = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    @property
    def count(self) -> int:
        """How many were observed."""
        return sum(self._counts)

    def observe(self, seconds: float) -> None:
        """Count one duration; a negative one, of a clock that was set back, as 0."""
        seconds = max(seconds, 0.0)
        self._counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, int]]:
        """Return the counts at or below each bound."""
        total, found = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self._counts, strict=True):
            total += count
            found.append(("+Inf" if bound == float("inf") else f"{bound:g}", total))
        return found


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes
    ----------
    name : str
        With its unit; a counter's ends in ``_total``.
    help : str
        One sentence.
    samples : sequence of (mapping, float)
        Labels and value of each; empty for a histogram.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]] = field(default_factory=tuple)
    histogram: Histogram | None = None


def exposition(families: Iterable[Family]) -> str:
    r"""Write families as Prometheus reads them; those without a sample are left out.

    Examples
    --------
    >>> print(exposition([Family("up_total", "counter", "Ups.", [({"by": 'a"b'}, 3)])]), end="")
    # HELP up_total Ups.
    # TYPE up_total counter
    up_total{by="a\"b"} 3
    """
    lines: list[str] = []
    for family in families:
        body = list(_lines(family))
        if body:
            said = family.help.replace("\\", "\\\\").replace("\n", "\\n")
            lines += [f"# HELP {family.name} {said}", f"# TYPE {family.name} {family.kind}", *body]
    return "".join(line + "\n" for line in lines)


def _lines(family: Family) -> Iterable[str]:
    for labels, value in family.samples:
        yield f"{family.name}{_labels(labels)} {_number(value)}"
    if family.histogram is not None:
        for bound, count in family.histogram.cumulative():
            yield f'{family.name}_bucket{{le="{bound}"}} {count}'
        yield f"{family.name}_sum {_number(family.histogram.sum)}"
        yield f"{family.name}_count {family.histogram.count}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
