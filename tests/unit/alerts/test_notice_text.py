"""Wording of a notice: fits each channel, and is never empty (push services refuse that)."""

import pytest
from msgspec import structs

from alerts.notify.notice import Note, Notice, NoticeReason, render
from detection.events import ChannelEvidence, Evidence
from detection.quantities import QUANTITIES
from language.messages import fact
from tests.support.leftovers import leftovers


@pytest.mark.parametrize("reason", [r for r in NoticeReason if r is not NoticeReason.REPORT])
@pytest.mark.parametrize("kind", ["vape", "sensor_fault", "vendor_alarm"])
def test_a_notice_without_evidence_and_link_has_a_text(reason, kind):
    title, body = render(Notice("1", reason, kind, "Boys N2", "2", "North", 0.0))
    place = "Boys N2, floor 2, North"
    is_test = reason is NoticeReason.TEST
    assert title.startswith(f"Test notice, {place}" if is_test else f"{place}: ")
    assert body.strip()


NOTICE = Notice(
    "20260907-001",
    NoticeReason.OPENED,
    "vape",
    "Boys N2",
    "2",
    "North",
    1_788_789_900.0,
    Evidence({}, dict.fromkeys(QUANTITIES, ChannelEvidence(4.0, 17_600.0, 6.0, 62.0))),
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


PARAMS = {
    "name": "",
    "silent": 5,
    "answer": "test:",
    "before": "false_alarm:spray",
    "left": 3,
    "time": 1_788_789_900.0,
    "now": 1_788_789_900.0,
    "zone": "America/New_York",
    "room": "X1",
    "building": "X2",
    "floor": "2",
    "n": 2,
}


@pytest.mark.parametrize("kind", ["", "vape"])
@pytest.mark.parametrize("code", Note)
def test_every_sentence_is_worded_in_both_languages(code, kind):
    sentence = fact(code, **PARAMS, kind=kind)
    notice = Notice("1", NoticeReason.REMINDER, "vape", "X1", "", "", 0.0, notes=(sentence,))
    english = render(notice)[1]
    title, spanish = render(structs.replace(notice, language="es"))
    assert leftovers(f"{title} {spanish}") == set()
    assert spanish != english
