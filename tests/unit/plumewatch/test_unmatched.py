"""What an unread topic suggests, from what it sent."""

import json

from ingest.intake import Intake
from ingest.validation import Message
from plumewatch.service.monitoring import suggestion_for


def test_its_payload():
    intake = Intake()
    intake.on_message(Message("odd/air", json.dumps({"pm25": 4.5}).encode(), 1_790_000_000.0))
    found = suggestion_for(intake, "odd/air")
    assert 'quantity = "pm25"' in found.mapping
    assert found.reason == ""
    assert suggestion_for(intake, "odd/a7") is None
