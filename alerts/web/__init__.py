"""The staff page: rooms now, incidents, acknowledge, feedback."""

from alerts.web.app import create_app
from alerts.web.settings import (
    LatestReading,
    PipelineStatus,
    QuarantinedSensor,
    SeriesReader,
    StaffPageSettings,
)

__all__ = [
    "LatestReading",
    "PipelineStatus",
    "QuarantinedSensor",
    "SeriesReader",
    "StaffPageSettings",
    "create_app",
]
