"""What the service tells about its work: to the demo's screen, to tests, to the staff page."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alerts.incidents.engine import AlertRecord
    from alerts.notify.pump import DeliveryOutcome
    from detection.events import Event


@dataclass(slots=True)
class Observer:
    """Told what happens, in the event loop; for the demo's screen and for tests."""

    on_events: Callable[[Sequence[Event]], None] = lambda _: None
    on_alerts: Callable[[Sequence[AlertRecord]], None] = lambda _: None
    on_delivery: Callable[[DeliveryOutcome], None] = lambda _: None


@dataclass(slots=True)
class Counters:
    """What the consumers have done since the start.

    Attributes
    ----------
    started : float
        Unix seconds.
    last_offset : int
        Of the newest reading that is durable.
    detected_received : float
        When the last reading that went through the detector was received, Unix seconds.
    behind_since : float
        When a reading was last stored while the detector had no other to do, Unix seconds.
    beat : float
        When the detector last gave a sign, monotonic seconds.
    annotations, annotation_failures, annotations_waiting : int
        Written into the Grafana, attempts that failed, and what is not written yet.
    annotations_refused, annotations_set_aside : int
        Refused by the Grafana for good, and incidents whose last annotation was.
    annotations_failing : str
        Why it cannot be at the moment; empty if it can.
    forgotten : Counter of str
        Stuck incidents and notices, by kind.
    """

    started: float
    last_offset: int = 0
    detected_received: float = 0.0
    behind_since: float = 0.0
    beat: float = 0.0
    readings_detected: int = 0
    deleted_unread: int = 0
    samples_dropped: int = 0
    events: int = 0
    alerts: int = 0
    annotations: int = 0
    annotation_failures: int = 0
    annotations_waiting: int = 0
    annotations_refused: int = 0
    annotations_set_aside: int = 0
    annotations_failing: str = ""
    forgotten: Counter[str] = field(default_factory=Counter)
    latency_s: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
