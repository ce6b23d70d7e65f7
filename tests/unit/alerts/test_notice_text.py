"""Test that a notice's text fits each channel and is never empty (push services refuse that)."""

import pytest
from msgspec import structs

from alerts.notify.notice import Notice, NoticeReason, render
from detection.events import ChannelEvidence, Evidence
from detection.quantities import QUANTITIES
from tests.support.provider import RISING


@pytest.mark.parametrize("reason", [r for r in NoticeReason if r is not NoticeReason.REPORT])
@pytest.mark.parametrize("kind", ["vape", "sensor_fault", "vendor_alarm"])
def test_a_notice_without_evidence_and_link_has_a_text(reason, kind):
    title, body = render(Notice("1", reason, kind, "Boys N2", "2", "North", 0.0))
    place = "Boys N2, floor 2, North"
    is_test = reason is NoticeReason.TEST
    assert title.startswith(f"Test notice, {place}" if is_test else f"{place}: ")
    assert body.strip()


LONG = Evidence({}, dict.fromkeys(QUANTITIES, ChannelEvidence(4.0, 17_600.0, 6.0, 62.0)))
NOTICE = structs.replace(RISING, evidence=LONG)


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
