"""Detection and alerting."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from detection.alert_rules import BUDGET
from plumewatch.config.sections.common import FalseAlarms, FilePath, Flag, Number, Url, Whole


class DetectionConfig(BaseModel, extra="forbid", frozen=True):
    """How many false alarms are acceptable."""

    false_alarms_per_sensor_week: FalseAlarms = BUDGET
    """Acceptable false alarms per sensor per week; each sensor adjusts its threshold to it."""


class AlertsConfig(BaseModel, extra="forbid", frozen=True):
    """When staff are notified."""

    cooldown_s: Annotated[Number, Field(ge=0, le=3600)] = 300.0
    """Seconds after a notice during which new incidents of the same kind in the same room notify
    nobody, unless they are more severe."""
    escalate_after_s: Annotated[Number, Field(ge=30, le=3600)] = 90.0
    """Seconds without an acknowledgment until the next people are notified; half as long for
    critical, four times as long for info."""
    acknowledged_for_s: Annotated[Number, Field(ge=60, le=86_400)] = 600.0
    """Seconds after an acknowledgment until the responder is reminded to report an outcome."""
    late_after_s: Annotated[Number, Field(ge=60, le=86_400)] = 600.0
    """If the newest reading behind a detection is more than this many seconds old, the detection is
    recorded as late and notifies nobody."""
    notices_per_hour: Annotated[Whole, Field(ge=2, le=1000)] = 12
    """Maximum notices per person per hour; further ones are combined, except critical ones."""
    storm_rooms: Annotated[Whole, Field(ge=1, le=1000)] = 3
    """Number of rooms on a floor that get separate notices (twice as many in a building); further
    rooms are combined."""
    offline_after: Annotated[Whole, Field(ge=2, le=100)] = 3
    """Number of missed intervals after which a sensor counts as silent, but not before a minute
    has passed. After one more interval, it is reported offline."""
    allow_private_targets: Flag = False
    """Allow notices to addresses of private networks."""
    push_server: Annotated[Url, Field(min_length=1)] = "https://ntfy.sh"
    """ntfy server for the topics that the page creates."""
    email_url_file: FilePath | None = None
    """File with an Apprise URL that sends e-mail to `{to}`, the address that a person gives on the
    page, such as `mailtos://USER:PASSWORD@smtp.school.example?to={to}`."""
    phone_url_file: FilePath | None = None
    """File with an Apprise URL that sends text messages to the phone number `{to}`, such as
    `twilio://SID:TOKEN@+15550100/{to}`."""
    pictures: Flag = True
    """Attach the evidence picture to alerts."""
