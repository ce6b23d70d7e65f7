"""Detection, alerting and inhibition."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from detection.alert_thresholds import BUDGET
from plumewatch.config.sections.common import FalseAlarms


class DetectionConfig(BaseModel, extra="forbid", frozen=True):
    """How many false alarms are tolerable; sensors set their levels by it."""

    false_alarms_per_sensor_week: FalseAlarms = BUDGET
    """False alarms a week and sensor that are tolerable; each sets its level by it."""


class AlertsConfig(BaseModel, extra="forbid", frozen=True):
    """When staff are told."""

    cooldown_s: Annotated[float, Field(ge=0, le=3600)] = 300.0
    """After a delivered notice the same room and kind stay quiet so long."""
    escalate_after_s: Annotated[float, Field(ge=30, le=3600)] = 90.0
    """Without an answer the next people are told after it; half for critical, four times for
    info."""
    acknowledged_for_s: Annotated[float, Field(ge=60, le=86_400)] = 600.0
    """Without word of what was found, whoever took it is reminded after it."""
    notices_per_hour: Annotated[int, Field(ge=2, le=1000)] = 12
    """Beyond it a person gets the rest as one notice, except what is critical."""
    storm_rooms: Annotated[int, Field(ge=1, le=1000)] = 3
    """Rooms of a floor that are told one by one; further ones come together."""
    offline_after: Annotated[int, Field(ge=2, le=100)] = 3
    """Intervals without a reading until a sensor is offline, never less than a minute."""
    allow_private_targets: bool = False
    """Whether notices and webhooks may go to addresses of private networks."""
    pictures: bool = True
    """Whether alerts carry the evidence picture."""


class InhibitConfig(BaseModel, extra="forbid", frozen=True):
    """Incidents that explain others, which then are not told meanwhile."""

    source: Annotated[list[str], Field(min_length=1, max_length=8)]
    """Matchers of the incidents that explain."""
    target: Annotated[list[str], Field(min_length=1, max_length=8)]
    """Matchers of the incidents that are not told while one of those goes on."""
    equal: Annotated[list[str], Field(max_length=8)] = []
    """Labels that must be alike in both."""
