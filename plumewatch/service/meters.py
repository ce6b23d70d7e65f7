"""The service's metrics, which are read at `/metrics`.

Each part counts in its own state, and a `Meter` reads the number. `Meters` is a collector for
`prometheus_client`, which formats the text for Prometheus.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import Metric

log = logging.getLogger(__name__)


def read_histogram(waits: Histogram) -> dict[str, float]:
    """Return a histogram's counts by upper bound, with its ``sum`` and ``count``.

    >>> waits = Histogram("waits", "Waits.", buckets=(0.1, 1.0), registry=None)
    >>> for seconds in (0.05, 0.5, 7.0):
    ...     waits.observe(seconds)
    >>> read_histogram(waits)
    {'0.1': 1.0, '1.0': 2.0, '+Inf': 3.0, 'count': 3.0, 'sum': 7.55}
    """
    (family,) = waits.collect()
    return {s.labels.get("le") or s.name.rpartition("_")[2]: s.value for s in family.samples[:-1]}


_FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}

Value = float | Histogram | Mapping[Any, float] | None


@dataclass(frozen=True, slots=True)
class Meter:
    """One metric of the service, or one per combination of labels.

    `name`: name in ``/metrics``, including the unit, but not the prefix or ``_total``.
    """

    name: str
    help: str
    read: Callable[[], Value]
    kind: Literal["counter", "gauge", "histogram"] = "gauge"
    labels: tuple[str, ...] = ()
    continues: bool = False
    """Whether a counter continues across restarts; others start at zero."""
    blocks: bool = False
    """Whether reading it needs a database; its value is then as of the last `Meters.refresh`."""

    @property
    def metric(self) -> str:
        """Name of the metric as exported."""
        return f"plumewatch_{self.name}" + ("_total" if self.kind == "counter" else "")


class Meters(Collector):
    """All meters of a service; `refresh` reads from disk, and may block."""

    def __init__(self, meters: Iterable[Meter]) -> None:
        self.meters = tuple(meters)
        self.kept: dict[str, Value] = {}
        """Values of meters that block, by name."""
        self._unreadable: set[str] = set()

    def refresh(self) -> None:
        """Read the meters that block; call this in a thread."""
        self.kept = {meter.name: self._read(meter) for meter in self.meters if meter.blocks}

    def format_metrics(self) -> str:
        """Format all metrics that have samples as text for Prometheus."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry).decode()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that have samples, sorted by label."""
        for meter in self.meters:
            value = self.kept.get(meter.name) if meter.blocks else self._read(meter)
            if isinstance(value, Histogram):
                *buckets, _, (_, total) = read_histogram(value).items()
                yield HistogramMetricFamily(meter.metric, meter.help, buckets, total)
            elif value is not None:
                family = _FAMILIES[meter.kind](meter.metric, meter.help, labels=meter.labels)
                keyed = value if isinstance(value, Mapping) else {(): value}
                for key, number in sorted(keyed.items()):
                    family.add_metric(key if isinstance(key, tuple) else (key,), float(number))
                if family.samples:
                    yield family

    def _read(self, meter: Meter) -> Value:
        try:
            value = meter.read()
        except (StorageError, sqlite3.Error, OSError) as error:
            if meter.name not in self._unreadable:
                log.warning("%s cannot be read: %s", meter.name, error)
            self._unreadable.add(meter.name)
            return None
        self._unreadable.discard(meter.name)
        return value
