"""Wording of a notice: fits each channel, and is never empty (push services refuse that)."""

import pytest

from alerts.notify.notice import Notice, NoticeReason, render


@pytest.mark.parametrize("reason", [r for r in NoticeReason if r is not NoticeReason.REPORT])
@pytest.mark.parametrize("kind", ["vape", "sensor_fault", "vendor_alarm"])
def test_a_notice_without_evidence_and_link_has_a_text(reason, kind):
    title, body = render(Notice("1", reason, kind, "Boys N2", "2", "North", 0.0, "", "UTC"))
    assert title.startswith("Boys N2, floor 2, North: ")
    assert body.strip()


NOTICE = Notice(
    "20260907-001",
    NoticeReason.OPENED,
    "vape",
    "Boys N2",
    "2",
    "North",
    1_788_789_900.0,
    "PM2.5 rose from 4 to 180 µg/m³ in 6 s, fell by half in 62 s; " * 40,
    "America/New_York",
    "https://plumewatch.example/incidents/20260907-001",
)


@pytest.mark.parametrize(
    ("scheme", "title", "body"),
    [("twilio", 70, 85), ("pover", 100, 900), ("ntfys", 120, 600), ("workflows", 120, 800)],
)
def test_texts_fit_their_channel_and_keep_the_link(scheme, title, body):
    heading, text = render(NOTICE, scheme)
    assert len(heading) <= title
    assert len(text) <= body
    assert text.endswith(NOTICE.link)
    assert heading.startswith("Boys N2")
