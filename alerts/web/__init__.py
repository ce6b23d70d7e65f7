"""The staff page: rooms now, incidents, acknowledge, feedback."""

from alerts.web.app import create_app
from alerts.web.settings import (
    PipelineStatus,
    QuarantinedSensor,
    StaffPageSettings,
)

__all__ = [
    "PipelineStatus",
    "QuarantinedSensor",
    "StaffPageSettings",
    "create_app",
]
