"""What a push says: never nothing, since push services refuse a notice without text."""

import pytest

from alerts.notify.notice import Notice, NoticeReason, render


@pytest.mark.parametrize("reason", [r for r in NoticeReason if r is not NoticeReason.REPORT])
@pytest.mark.parametrize("kind", ["vape", "sensor_fault", "vendor_alarm"])
def test_a_notice_without_evidence_and_link_has_a_text(reason, kind):
    title, body = render(Notice("1", reason, kind, "Boys N2", "2", "North", 0.0, "", "UTC"))
    assert title.startswith("Boys N2, floor 2, North: ")
    assert body.strip()
