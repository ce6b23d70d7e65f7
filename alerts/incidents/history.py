"""The history of an incident: what happened, by code. `alerts.history_words` writes a line."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from language.messages import Words, mark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from language.messages import Parameter


class Happened(StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    JOINED = "joined"
    ENDED = "ended"
    CLEARED = "cleared"
    LIKELY = "likely"
    SEVERITY = "severity"
    HELD = "held"
    RELEASED = "released"
    PAGED = "paged"
    ESCALATED = "escalated"
    NOTIFIED = "notified"
    NEXT_CHANNEL = "next_channel"
    NOTICE_FAILED = "notice_failed"
    NOBODY_NOTIFIED = "nobody_notified"
    RING_SKIPPED = "ring_skipped"
    NO_RESPONSE = "no_response"
    UNDELIVERED = "undelivered"
    ACKNOWLEDGED = "acknowledged"
    ACKNOWLEDGED_TOO = "acknowledged_too"
    ACK_EXPIRED = "ack_expired"
    REMINDED = "reminded"
    NOT_REMINDED = "not_reminded"
    ARRIVED = "arrived"
    ARRIVED_TOO = "arrived_too"
    DECLINED = "declined"
    RESOLVED = "resolved"
    FEEDBACK = "feedback"
    ACTION = "action"
    CASE_NUMBER = "case_number"
    RESTARTED = "restarted"
    THRESHOLD_ADJUSTED = "threshold_adjusted"
    THRESHOLD_RESTORED = "threshold_restored"


TITLES: Final = Words(
    {
        Happened.OPENED: mark("Detected"),
        Happened.JOINED: mark("Detected again"),
        Happened.ENDED: mark("Detection ended"),
        Happened.CLEARED: mark("Over, not yet checked"),
        Happened.LIKELY: mark("Now vaping likely"),
        Happened.SEVERITY: mark("Severity changed"),
        Happened.HELD: mark("Nobody notified yet"),
        Happened.RELEASED: mark("Notified after all"),
        Happened.PAGED: mark("Sent to"),
        Happened.ESCALATED: mark("Sent to the next people"),
        Happened.NOTIFIED: mark("Notice delivered"),
        Happened.NEXT_CHANNEL: mark("Sent by the next channel"),
        Happened.NOTICE_FAILED: mark("Notice failed"),
        Happened.NOBODY_NOTIFIED: mark("Nobody has an address"),
        Happened.RING_SKIPPED: mark("Nobody could be notified now"),
        Happened.NO_RESPONSE: mark("Nobody responded"),
        Happened.UNDELIVERED: mark("No notice could be delivered"),
        Happened.ACKNOWLEDGED: mark("Responding"),
        Happened.ACKNOWLEDGED_TOO: mark("Also responding"),
        Happened.ACK_EXPIRED: mark("Did not report in time"),
        Happened.REMINDED: mark("Reminded"),
        Happened.NOT_REMINDED: mark("Could not be reminded"),
        Happened.ARRIVED: mark("On site"),
        Happened.ARRIVED_TOO: mark("Also on site"),
        Happened.DECLINED: mark("Cannot go"),
        Happened.RESOLVED: mark("Resolved"),
        Happened.FEEDBACK: mark("Found"),
        Happened.ACTION: mark("Action taken"),
        Happened.CASE_NUMBER: mark("Case number"),
        Happened.RESTARTED: mark("Stuck incident check"),
        Happened.THRESHOLD_ADJUSTED: mark("Alert threshold adjusted"),
        Happened.THRESHOLD_RESTORED: mark("Alert threshold adjustment undone"),
    }
)


@dataclass(frozen=True, slots=True)
class Record:
    """One line of history; `who` is a person or `SYSTEM`, `params` by name."""

    at: float
    who: str
    what: Happened
    params: Mapping[str, Parameter] = field(default_factory=dict)
