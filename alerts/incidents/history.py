"""The history of an incident, stored as codes; `alerts.history_words` turns them into text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from language.messages import Coded, Words, mark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from language.messages import Parameter


class Happened(Coded):
    """Something that happened to an incident."""

    OPENED = "opened", mark("Detected")
    JOINED = "joined", mark("Detected again")
    ENDED = "ended", mark("End detected")
    CLEARED = "cleared", mark("Over, not yet checked")
    LIKELY = "likely", mark("Vaping now likely")
    SEVERITY = "severity", mark("Severity changed")
    HELD = "held", mark("Nobody notified yet")
    RELEASED = "released", mark("Notified after all")
    PAGED = "paged", mark("Sent to")
    ESCALATED = "escalated", mark("Sent to the next people")
    NOTIFIED = "notified", mark("Notice delivered")
    NEXT_CHANNEL = "next_channel", mark("Sent over the next channel")
    NOTICE_FAILED = "notice_failed", mark("Notice failed")
    NOBODY_NOTIFIED = "nobody_notified", mark("Nobody has an address")
    RING_SKIPPED = "ring_skipped", mark("Skipped: no address, quiet hours, or hourly limit reached")
    NO_RESPONSE = "no_response", mark("Nobody responded")
    UNDELIVERED = "undelivered", mark("No notice could be delivered")
    ACKNOWLEDGED = "acknowledged", mark("Responding")
    ACKNOWLEDGED_TOO = "acknowledged_too", mark("Also responding")
    ACK_EXPIRED = "ack_expired", mark("Did not report in time")
    REMINDED = "reminded", mark("Reminded")
    NOT_REMINDED = "not_reminded", mark("Could not be reminded")
    ARRIVED = "arrived", mark("On site")
    ARRIVED_TOO = "arrived_too", mark("Also on site")
    DECLINED = "declined", mark("Cannot go")
    RESOLVED = "resolved", mark("Resolved")
    FEEDBACK = "feedback", mark("Found")
    ACTION = "action", mark("Action taken")
    CASE_NUMBER = "case_number", mark("Case number")
    RESTARTED = "restarted", mark("Found stuck and restarted")
    THRESHOLD_ADJUSTED = "threshold_adjusted", mark("Alert threshold adjusted")
    THRESHOLD_RESTORED = "threshold_restored", mark("Alert threshold adjustment undone")


TITLES: Final = Words(Happened.list_texts())


@dataclass(frozen=True, slots=True)
class Record:
    """One line of history; `who` is a person or `SYSTEM`."""

    at: float
    who: str
    what: Happened
    params: Mapping[str, Parameter] = field(default_factory=dict)
