"""Write a notice for an adult to read on a lock screen.

The place comes first, then what happened and when, then the evidence. The text is cut to the
channel's limits.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from alerts.channels import SERVICES, Service
from alerts.incidents.incident import write_answer
from detection.events import EventKind, Evidence
from language.messages import (
    ENGLISH,
    Coded,
    Fact,
    Sentences,
    Words,
    _,
    capitalize,
    clean,
    mark,
    mark_plural,
    use_language,
    write_date,
)
from storage.registry import format_floor, join_place


class NoticeReason(Coded):
    """Why a person is notified; part of the outbox key, so that each notice is sent once."""

    OPENED = "opened", mark("alert")
    REMINDER = "reminder", mark("reminder")
    AGAIN = "again", mark("detected again")
    TAKEN = "taken", mark("acknowledged")
    REPLACED = "replaced", mark("another answer")
    RECOVERED = "recovered", mark("resolved")
    DIGEST = "digest", mark("summary")
    TEST = "test", mark("test")
    REPORT = "report", mark("report")

    @property
    def asks(self) -> bool:
        """Whether the notice asks for a response and so must be loud."""
        return self in (NoticeReason.OPENED, NoticeReason.AGAIN, NoticeReason.REMINDER)


class Priority(StrEnum):
    """How loudly a channel delivers a notice."""

    QUIET = "quiet"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


KIND_WORDS: Final = Words(
    {
        EventKind.VAPE: mark("Vaping likely"),
        EventKind.POSSIBLE: mark("Possible vaping"),
        EventKind.SMOKE: mark("Smoke"),
        EventKind.SPRAY: mark("Spray"),
        EventKind.STEAM: mark("Steam"),
        EventKind.VOC: mark("Cleaner or solvent"),
        EventKind.DUST: mark("Dust"),
        EventKind.AMBIENT: mark("Building-wide air change"),
        EventKind.TAMPER: mark("Sensor tampered with"),
        EventKind.SENSOR_FAULT: mark("Sensor fault"),
        EventKind.OFFLINE: mark("Sensor offline"),
        EventKind.INTEGRITY: mark("Messages forged or flooded"),
        EventKind.SERVICE: mark("Plumewatch needs attention"),
    }
)
NOTICE_WORDS: Final = Words(NoticeReason.list_texts())


def write_respond_label(kind: str) -> str:
    """Return the label of the button that a person clicks to respond."""
    return _("I'm responding") if kind in {"vape", "smoke"} else _("I'll look")


class Note(Coded):
    """A sentence in a notice."""

    DEFERRED = "deferred", mark("Deferred until the end of your quiet hours.")
    RESPONDING = "responding", mark("You are responding.")
    DISPUTED = "disputed", mark("Another sender may be using this sensor's name.")
    CANNOT_GO = "cannot_go", mark("%(name)s can't go.")
    NO_RESPONSE = "no_response", mark("Nobody has responded to this one yet.")
    NO_REPORT = "no_report", mark("%(name)s responded but has not reported what they found.")
    REPORT_DUE = (
        "report_due",
        mark(
            "No answer for %(silent)d min. What did you find? If you don't answer, others"
            " are notified again in %(left)d min."
        ),
    )
    RESPONDED_LAST = (
        "responded_last",
        mark("%(name)s responded to the last alert here at %(time)s."),
    )
    REPLACED = "replaced", mark("%(name)s answered %(answer)s. You had answered %(before)s.")
    CLOSED_EARLY = "closed_early", mark("%(name)s closed it while it was still going on.")
    NOTHING_MORE = "nothing_more", mark("The detector sent no further updates.")
    BUDGET_USED = (
        "budget_used",
        mark("You've had many notices, so further ones may wait until %(time)s."),
    )
    STILL_SILENT = "still_silent", mark("Sensors that are still silent get their own notice.")
    # why notices were deferred; the notice that combines them begins with one of these
    QUIET = "quiet", mark("During your quiet hours:")
    BUDGET = "budget", mark("You had many notices in the last hour, so these are combined:")
    STORM = "storm", mark("Many rooms at once:")
    # lines for one incident, and headlines for several
    LINE = "line", mark("%(room)s %(kind)s %(time)s")
    LINE_RESOLVED = "line_resolved", mark("%(room)s %(kind)s %(time)s (resolved)")
    TIMES_IN_ROOM = (
        "times_in_room",
        mark_plural("%(room)s: %(kind)s", "%(room)s: %(kind)s, %(n)d times"),
    )
    ROOMS_ON_FLOOR = "rooms_on_floor", mark("%(n)d rooms on %(floor)s, %(building)s: %(kind)s")
    ROOMS_IN_BUILDING = "rooms_in_building", mark("%(n)d rooms in %(building)s: %(kind)s")
    ROOMS = "rooms", mark("%(n)d rooms: %(kind)s")


_NOTES: Final = Sentences(
    Note.list_texts(),
    {
        "name": lambda name, _params: name or _("Someone"),
        "kind": lambda kind, _params: _lower_first(KIND_WORDS.get(kind, kind)) or _("alerts"),
        "floor": lambda floor, _params: format_floor(floor),
        "answer": lambda answer, _params: write_answer(*answer.split(":")),
        "before": lambda answer, _params: write_answer(*answer.split(":")),
        "time": lambda at, params: write_clock(at, params["zone"], params["now"]),
    },
)


def _lower_first(words: str) -> str:
    return words[:1].lower() + words[1:]


class Notice(msgspec.Struct, frozen=True):
    """A notice to one person, before it is cut to their channel's limits.

    `notes` come before the evidence. `by` is the name of the person who responded, or who replaced
    the recipient's answer. `link` leads to the incident's page. `over` means that the detections
    ended before anyone answered. `again` means that people had already responded to an earlier
    detection of the same kind in this room. A digest has a `headline` and a line for each of its
    `incidents`, but no evidence. `site` and `site_id` are set if there are several sites. `written`
    is when the notice was written, in Unix seconds. A report has its own `title` and `text`.
    """

    incident: str
    reason: NoticeReason
    kind: str
    room: str = ""
    floor: str = ""
    building: str = ""
    since: float = 0.0
    evidence: Evidence | None = None
    zone: str = "UTC"
    link: str = ""
    priority: Priority = Priority.NORMAL
    by: str = ""
    notes: tuple[Fact, ...] = ()
    headline: Fact | None = None
    lines: tuple[Fact, ...] = ()
    incidents: tuple[str, ...] = ()
    again: bool = False
    over: bool = False
    language: str = ENGLISH
    site: str = ""
    site_id: str = ""
    written: float | None = None
    title: str = ""
    text: str = ""


_OTHER: Final = Service("")
_WEEK_DAYS: Final = 7


def write_clock(moment: float, zone: str, now: float | None = None) -> str:
    """Return the time of day at the school, with the day if `now` is on another day.

    >>> at = 1_788_789_900.0
    >>> for days in (0, 1, 9):
    ...     write_clock(at, "America/New_York", at + days * 86_400)
    '10:05 AM'
    'Mon 10:05 AM'
    'Sep 7 10:05 AM'
    """
    local = datetime.fromtimestamp(moment, ZoneInfo(zone))
    clock = write_date(local, "clock")
    today = local if now is None else datetime.fromtimestamp(now, ZoneInfo(zone))
    days = abs((today.date() - local.date()).days)
    if not days:
        return clock
    return f"{write_date(local, 'weekday' if days < _WEEK_DAYS else 'month and day')} {clock}"


def render(notice: Notice, scheme: str = "") -> tuple[str, str]:
    """Return the title and body for a channel, given its URL scheme, such as ``"twilio"``.

    >>> from detection.events import ChannelEvidence
    >>> rose = Evidence({}, {"pm25": ChannelEvidence(4.0, 176.0, 6.0, None)})
    >>> n = Notice("20260907-001", NoticeReason.OPENED, "vape", "Boys N2", "2", "North",
    ...            1_788_789_900.0, rose, "America/New_York")
    >>> title, body = render(n)
    >>> title
    'Boys N2, floor 2, North: Vaping likely since 10:05 AM'
    >>> body
    'Fine particles rose from 4 to 180 in 6 s'
    """
    limits = SERVICES.get(scheme, _OTHER)
    with use_language(notice.language):
        if notice.reason is NoticeReason.REPORT:  # keep the lines
            text = "\n".join(map(clean, notice.text.split("\n")))
            return _cut(notice.title, limits.title), text[: limits.body]
        return _render(notice, limits)


def _render(notice: Notice, limits: Service) -> tuple[str, str]:
    floor = format_floor(notice.floor)
    place = join_place(notice.room, floor, notice.building, notice.site)
    state, evidence = _write_state(notice)
    title = _("%(place)s: %(state)s", place=place, state=state) if place else capitalize(state)
    if notice.headline is not None:
        title = _NOTES.write(notice.headline)
    elif notice.reason is NoticeReason.TEST:
        title = _("Test notice, %(place)s", place=place)
    text = " ".join(filter(None, [*map(_NOTES.write, notice.notes), evidence]))
    room_for_text = limits.body - (len(notice.link) + 1 if notice.link else 0)
    # a device's own alarm has no evidence, but push services reject notices without text
    lines = [_cut(text or state, max(room_for_text, 20))]
    if notice.link:
        lines.append(notice.link)
    return _cut(title, limits.title), "\n".join(line for line in lines if line)


def _write_state(notice: Notice) -> tuple[str, str]:
    """Return the part of the title after the place, and the text below it."""
    what = KIND_WORDS.get(notice.kind, notice.kind)
    when = write_clock(notice.since, notice.zone, notice.written)
    evidence = "; ".join(map(_NOTES.write, notice.lines))
    if notice.evidence is not None:
        evidence = notice.evidence.describe(notice.kind)
    past = _("%(what)s at %(time)s", what=what.lower(), time=when)
    match notice.reason:
        case NoticeReason.TAKEN:
            state = _("%(name)s is responding, %(what)s", name=notice.by, what=past)
            evidence = _("No action needed.")
        case NoticeReason.REPLACED:
            state = _("%(name)s replaced your answer, %(what)s", name=notice.by, what=past)
            evidence = ""
        case NoticeReason.RECOVERED if notice.notes:  # another problem remains
            state = _("closed, %(what)s", what=past)
        case NoticeReason.RECOVERED:
            state, evidence = _("resolved, %(what)s", what=past), _("No action needed.")
        case NoticeReason.REMINDER:
            state = _("reminder, %(what)s", what=_write_since(notice, what.lower(), when))
        case NoticeReason.TEST:
            state = ""
            evidence = _("This is a test. Plumewatch alerts will arrive here.")
        case _other:
            state = _write_since(notice, what, when)
    return state, evidence


def _write_since(notice: Notice, what: str, when: str) -> str:
    if notice.over:
        return _("%(what)s at %(time)s (over, not yet checked)", what=what, time=when)
    if notice.again:
        return _("%(what)s again since %(time)s", what=what, time=when)
    return _("%(what)s since %(time)s", what=what, time=when)


def _cut(text: str, limit: int) -> str:
    flat = clean(text)
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"
