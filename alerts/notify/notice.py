"""The words of a notice: what an adult reads on a lock screen.

First the place, then what and since when, then one reason. Texts are cut to what each channel
shows; nothing here knows a student, and no text holds an address of a target.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from storage.registry import floor_name


class NoticeReason(StrEnum):
    """Why somebody is told; part of the outbox key, so each is told once."""

    OPENED = "opened"
    HANDED_OVER = "handed_over"
    REMINDER = "reminder"
    TAKEN = "taken"
    RECOVERED = "recovered"
    DIGEST = "digest"
    WITHDRAWN = "withdrawn"
    TEST = "test"
    CHANGED = "changed"

    @property
    def asks(self) -> bool:
        """Whether it asks somebody to do something, and so is loud."""
        return self in (NoticeReason.OPENED, NoticeReason.HANDED_OVER, NoticeReason.REMINDER)


class Priority(StrEnum):
    """How loud a channel may be."""

    QUIET = "quiet"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


KIND_WORDS: Final = {
    "vape": "Vaping likely",
    "smoke": "Smoke",
    "spray": "Spray",
    "steam": "Steam",
    "voc": "Cleaning agent or solvent",
    "dust": "Dust",
    "ambient": "Building-wide air change",
    "tamper": "Sensor tampered with",
    "sensor_fault": "Sensor fault",
    "offline": "Sensor offline",
    "integrity": "Messages are forged or flooded",
}
"""What people call each kind of event."""


class Notice(msgspec.Struct, frozen=True):
    """What one person is told, before it is cut to their channel.

    Attributes
    ----------
    kind : str
        Key of `KIND_WORDS`.
    room, floor, building : str
        Names for people; floor and building may be empty.
    since : float
        Onset, Unix seconds.
    evidence : str
        One sentence.
    zone : str
        The school's time zone.
    link : str
        Staff page of the incident; empty leaves it out.
    by : str
        Name of whoever did what is told: took it, handed it over.
    note : str
        What comes before the evidence, such as that nobody has answered yet.
    headline : str
        Title of a digest; empty otherwise.
    incidents : tuple of str
        All that a digest tells of; empty for a notice of one.
    """

    incident: str
    reason: NoticeReason
    kind: str
    room: str
    floor: str
    building: str
    since: float
    evidence: str
    zone: str = "UTC"
    link: str = ""
    priority: Priority = Priority.NORMAL
    by: str = ""
    note: str = ""
    headline: str = ""
    incidents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Limits:
    """Characters a channel shows of title and body."""

    title: int
    body: int


_DEFAULT_LIMITS: Final = _Limits(120, 1000)
_LIMITS: Final = {
    "twilio": _Limits(70, 85),
    "pover": _Limits(100, 900),
    "tgram": _Limits(120, 800),  # both are the caption of a picture, at most 1024
    "ntfy": _Limits(120, 600),
    "ntfys": _Limits(120, 600),
    "workflows": _Limits(120, 800),
}


def clock_text(moment: float, zone: str) -> str:
    """Wall clock at the school.

    Examples
    --------
    >>> clock_text(1_788_789_900.0, "America/New_York")
    '10:05:00'
    """
    return datetime.fromtimestamp(moment, UTC).astimezone(ZoneInfo(zone)).strftime("%H:%M:%S")


def render(notice: Notice, scheme: str = "") -> tuple[str, str]:
    """Title and body for one kind of channel.

    Parameters
    ----------
    scheme : str
        Scheme of the target's URL, such as ``"twilio"``.

    Examples
    --------
    >>> n = Notice("20260907-001", NoticeReason.OPENED, "vape", "Boys N2", "2", "North",
    ...            1_788_789_900.0, "PM2.5 rose from 4 to 180 µg/m³ in 6 s", "America/New_York")
    >>> title, body = render(n)
    >>> title
    'Boys N2, floor 2, North: Vaping likely since 10:05:00'
    >>> body
    'PM2.5 rose from 4 to 180 µg/m³ in 6 s'
    """
    limits = _LIMITS.get(scheme, _DEFAULT_LIMITS)
    floor = floor_name(notice.floor)
    place = ", ".join(part for part in (notice.room, floor, notice.building) if part)
    what = KIND_WORDS.get(notice.kind, notice.kind)
    when = clock_text(notice.since, notice.zone)
    did, evidence = _saying(notice, what, when)
    title = notice.headline or f"{place}: {did}"
    evidence = " ".join(part for part in (notice.note, evidence) if part)
    room_for_text = limits.body - (len(notice.link) + 1 if notice.link else 0)
    lines = [_cut(evidence, max(room_for_text, 20))]
    if notice.link:
        lines.append(notice.link)
    return _cut(title, limits.title), "\n".join(line for line in lines if line)


def _saying(notice: Notice, what: str, when: str) -> tuple[str, str]:
    """Return what the title says after the place, and the reason below it."""
    evidence, past = notice.evidence, f"{what.lower()} at {when}"
    match notice.reason:
        case NoticeReason.WITHDRAWN:
            said = f"taken back, {past}"
            evidence = evidence or "What followed spoke against it. Nothing to do."
        case NoticeReason.TAKEN:
            said, evidence = f"{notice.by} has it, {past}", "Nothing to do."
        case NoticeReason.RECOVERED:
            said, evidence = f"over, {past}", "Nothing to do."
        case NoticeReason.HANDED_OVER:
            said = f"yours now, {what.lower()} since {when}"
            evidence = f"{notice.by} hands it over. {evidence}"
        case NoticeReason.REMINDER:
            said = f"still yours, {what.lower()} since {when}"
        case NoticeReason.TEST:
            said = "test notice"
        case _:
            said = f"{what} since {when}"
    return said, evidence


def _cut(text: str, limit: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"
