"""Templates and the words in them: one environment, filled with what every page shares."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import jinja2
from markupsafe import Markup

from alerts.access.roles import ROLE_WORDS
from alerts.incidents.incident import FALSE_CAUSES, MAX_CASE_NUMBER, MAX_NOTE
from alerts.notify.notice import KIND_WORDS
from detection.events import KIND_NAMES
from detection.quantities import QUANTITIES
from language.messages import LANGUAGES, Words, gettext, language, mark, plural
from storage.registry import floor_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alerts.page.settings import StaffPageSettings

_HERE: Final = Path(__file__).parent
SPANS: Final = {"day": 86_400.0, "week": 7 * 86_400.0, "month": 30 * 86_400.0}
"""Spans to choose from, in seconds."""
VERDICT_WORDS: Final = Words(
    {
        "confirmed": mark("Confirmed"),
        "false_alarm": mark("False alarm"),
        "nothing_found": mark("Nothing found"),
        "test": mark("Test"),
    }
)
_WORDS: Final = {
    "role_words": ROLE_WORDS,
    "verdict_words": VERDICT_WORDS,
    "status_words": {
        "open": "Open",
        "notified": "Staff notified",
        "acknowledged": "Acknowledged",
        "resolved": "Resolved",
    },
    "state_words": {
        "needs_responder": "Needs a responder",
        "responding": "Responding",
        "answered": "Answered",
        "nobody_responded": "Nobody responded",
        "responded": "Not reported yet",
        "suppressed": "Suppressed, recorded only",
        "withdrawn": "Withdrawn by the detector",
        "resolved": "Resolved",
    },
    "action_words": {
        "referral": "Referral",
        "nurse": "Nurse",
        "facilities": "Facilities",
        "none": "Nothing",
    },
    "notice_words": {
        "opened": "alert",
        "again": "detected again",
        "handed_over": "hand-over",
        "reminder": "reminder",
        "taken": "acknowledged",
        "recovered": "resolved",
        "digest": "summary",
        "withdrawn": "withdrawn",
        "test": "test",
        "changed": "change",
    },
    "delivery_words": {
        "sent": "sent",
        "due": "waiting",
        "leased": "being sent",
        "failed": "failed",
        "cancelled": "no longer needed",
    },
    "noted_words": {
        "clock": "wrong clock",
        "fault": "faulty value",
        "unjudged": "out of order",
        "cached": "repeated by a bridge",
        "simulated": "console test",
        "maintenance": "during self-cleaning",
        "undecoded": "not decoded by the network server",
        "bad_firmware": "firmware version rejected",
    },
}


def headline(incident: Mapping[str, Any]) -> str:
    """Write what an incident is, or what people found once they have answered.

    >>> rows = {"kind": "vape", "withdrawn_at": None, "cause": "spray"}
    >>> [headline({**rows, "verdict": v}) for v in (None, "false_alarm", "confirmed")]
    ['Vaping likely', 'False alarm: spray', 'Vaping confirmed']
    """
    kind: str = incident["kind"]
    verdict = incident["verdict"]
    if verdict == "confirmed":
        return f"{KIND_NAMES.get(kind, kind).capitalize()} confirmed"
    if verdict == "false_alarm" and incident["cause"]:
        return f"{VERDICT_WORDS[verdict]}: {incident['cause']}"
    if verdict:
        return VERDICT_WORDS[verdict]
    if incident["withdrawn_at"] is not None:
        return "Ruled out by later readings"
    return KIND_WORDS.get(kind, kind)


_HISTORY: Final = {
    "opened": "Detected",
    "joined": "Detected again",
    "paged": "Asked to respond",
    "escalated": "Asked the next people",
    "notified": "Notice delivered",
    "held": "Nobody notified yet",
    "released": "Notified after all",
    "acknowledged": "Responding",
    "acknowledged again": "Responding, said again",
    "acknowledged as well": "Also responding",
    "acknowledged after it was over": "Responded after it was over",
    "acknowledgement ran out": "Did not report in time",
    "arrived": "On site",
    "arrived as well": "Also on site",
    "declined": "Cannot go",
    "no response": "Nobody responded",
    "reminded": "Reminded",
    "could not remind": "Could not be reminded",
    "nobody notified": "Nobody could be notified",
    "nobody notified now": "Nobody could be notified now",
    "next channel": "Sent by the next channel",
    "severity": "Severity changed",
    "level": "Alert threshold adjusted",
}
_SERVER: Final = re.compile(r"\b([a-z]+)-[0-9a-f]{6}\b")
_CHANNELS: Final = {
    "ntfy": "push",
    "ntfys": "push",
    "pover": "push",
    "mailto": "e-mail",
    "mailtos": "e-mail",
    "tgram": "Telegram",
    "twilio": "text message",
    "workflows": "Teams",
    "json": "web hook",
    "jsons": "web hook",
}


def channel_words(text: str) -> str:
    """Write the names of channels for people, without the mark of their server.

    >>> channel_words("by ntfy-729d05, then pover"), channel_words("mailtos-1a2b3c")
    ('by push, then push', 'e-mail')
    """
    text = _SERVER.sub(lambda m: m[1] if m[1] in _CHANNELS else m[0], text)
    return re.sub(r"\b[a-z]+\b", lambda m: _CHANNELS.get(m[0], m[0]), text)


def history_words(what: str) -> str:
    """Write what happened as people say it.

    >>> history_words("feedback: false alarm"), history_words("resolved")
    ('Found: false alarm', 'Resolved')
    """
    if what.startswith("feedback: "):
        return f"Found: {what.removeprefix('feedback: ')}"
    return _HISTORY.get(what, f"{what[:1].upper()}{what[1:]}")


class Times:
    """Writes moments in the school's time zone."""

    def __init__(self, clock: Callable[[], float], zone: str) -> None:
        self._now = clock
        self.zone = ZoneInfo(zone)

    def clock(self, moment: float) -> str:
        """Write the time of day with seconds."""
        return self.local(moment).strftime("%H:%M:%S")

    def when(self, moment: float) -> str:
        """Write the time of day, with the date unless it is today."""
        local = self.local(moment)
        today = local.date() == self.local(self._now()).date()
        return local.strftime("%H:%M" if today else "%a, %b %-d, %H:%M")

    def ago(self, moment: float) -> str:
        """Write the time since then, in the largest unit that fits."""
        return _duration(max(self._now() - moment, 0.0))

    def age(self, moment: float) -> Markup:
        """Write how old something is, as an element in which the page's script counts on."""
        seconds = max(self._now() - moment, 0.0)
        return Markup('<span data-age="{:.0f}">{} ago</span>').format(seconds, _duration(seconds))

    def ahead(self, moment: float) -> str:
        """Write the time until then, in the largest unit that fits."""
        return _duration(max(moment - self._now(), 0.0))

    def local(self, moment: float) -> datetime:
        """Return a moment, Unix seconds, as the school's local time."""
        return datetime.fromtimestamp(moment, UTC).astimezone(self.zone)


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _with_names(names: Mapping[str, str], text: str) -> str:
    """Write people by name and channels in words, in the detail of a line of history."""
    found = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    if found:
        text = re.sub(rf"(?<![\w.-])({found})(?![\w-])", lambda m: names[m[0]], text)
    return channel_words(text)


def environment(settings: StaffPageSettings, times: Times, **shared: Any) -> jinja2.Environment:
    """Create the environment of all templates; `shared` are further names that all of them know."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.policies["ext.i18n.trimmed"] = True
    made.install_gettext_callables(gettext, plural, newstyle=True)  # type: ignore[attr-defined]
    made.filters.update(
        clock=times.clock,
        when=times.when,
        ago=times.ago,
        age=times.age,
        ahead=times.ahead,
        iso=lambda t: datetime.fromtimestamp(t, UTC).isoformat(),
        path=lambda text: quote(text, safe=""),
        floor_name=floor_name,
        headline=headline,
        channel=channel_words,
        happened=history_words,
        named=partial(_with_names, {m.id: m.name for m in settings.engine.policy.staff}),
        person=settings.engine.policy.name_of,
    )
    made.globals.update(
        school=settings.school,
        banner=settings.banner,
        spans=tuple(SPANS),
        quantities=QUANTITIES,
        kind_words=KIND_WORDS,
        kind_names=KIND_NAMES,
        causes=FALSE_CAUSES,
        max_note=MAX_NOTE,
        max_case_number=MAX_CASE_NUMBER,
        grafana_url=settings.grafana_url,
        language=language,
        languages=LANGUAGES,
        may_set=settings.config is not None,
        **_WORDS,
        **shared,
    )
    return made
