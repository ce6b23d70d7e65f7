"""The staff page: rooms now, incidents, acknowledge, feedback."""

from alerts.page.app import create_app
from alerts.page.settings import (
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
