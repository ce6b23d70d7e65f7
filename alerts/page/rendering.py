"""Templates and the words in them: one environment, filled with what every page shares."""

from __future__ import annotations

import json
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import jinja2
from markupsafe import Markup

from alerts.access.roles import ROLE_WORDS
from alerts.incidents.incident import CAUSE_WORDS, MAX_CASE_NUMBER, MAX_NOTE, answer_choices
from alerts.notify.notice import KIND_WORDS, respond_words
from alerts.page.stored_words import STORED
from detection.events import KIND_NAMES, EventKind
from detection.quantities import QUANTITIES, QUANTITY_WORDS
from language.dates import date_text
from language.messages import (
    LANGUAGES,
    Words,
    _,
    gettext,
    language,
    mark,
    of_file,
    plural,
    retell,
)
from reports.look import STATES
from storage.registry import floor_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alerts.page.settings import StaffPageSettings

_HERE: Final = Path(__file__).parent
SPANS: Final = {"day": 86_400.0, "week": 7 * 86_400.0, "month": 30 * 86_400.0}
"""Spans to choose from, in seconds."""
SPAN_WORDS: Final = Words({"day": mark("Day"), "week": mark("Week"), "month": mark("Month")})
VERDICT_WORDS: Final = Words(
    {
        "confirmed": mark("Confirmed"),
        "false_alarm": mark("False alarm"),
        "nothing_found": mark("Nothing found"),
        "fixed": mark("Fixed"),
        "test": mark("Test"),
    }
)
_WORDS: Final = {
    "role_words": ROLE_WORDS,
    "verdict_words": VERDICT_WORDS,
    "status_words": Words(
        {
            "open": mark("Open"),
            "notified": mark("Staff notified"),
            "acknowledged": mark("Acknowledged"),
            "resolved": mark("Resolved"),
        }
    ),
    "state_words": Words(
        {
            "needs_responder": mark("Needs a responder"),
            "responding": mark("Responding"),
            "answered": mark("Answered"),
            "nobody_responded": mark("Nobody responded"),
            "responded": mark("Not reported yet"),
            "suppressed": mark("Suppressed, recorded only"),
            "withdrawn": mark("Withdrawn by the detector"),
            "resolved": mark("Resolved"),
        }
    ),
    "action_words": Words(
        {
            "referral": mark("Referral"),
            "nurse": mark("Nurse"),
            "facilities": mark("Facilities"),
            "none": mark("Nothing"),
        }
    ),
    "notice_words": Words(
        {
            "opened": mark("alert"),
            "again": mark("detected again"),
            "handed_over": mark("hand-over"),
            "reminder": mark("reminder"),
            "taken": mark("acknowledged"),
            "recovered": mark("resolved"),
            "digest": mark("summary"),
            "withdrawn": mark("withdrawn"),
            "test": mark("test"),
            "changed": mark("change"),
        }
    ),
    "delivery_words": Words(
        {
            "sent": mark("sent"),
            "due": mark("waiting"),
            "leased": mark("being sent"),
            "failed": mark("failed"),
            "cancelled": mark("no longer needed"),
        }
    ),
    "noted_words": Words(
        {
            "clock": mark("wrong clock"),
            "fault": mark("faulty value"),
            "unjudged": mark("out of order"),
            "cached": mark("repeated by a bridge"),
            "simulated": mark("console test"),
            "maintenance": mark("during self-cleaning"),
            "undecoded": mark("not decoded by the network server"),
            "bad_firmware": mark("firmware version rejected"),
            "unread": mark("a value of unknown unit left out"),
            "repaired": mark("faulty JSON repaired"),
            "waiting": mark("waiting for a description"),
        }
    ),
    "span_words": SPAN_WORDS,
    "cause_words": CAUSE_WORDS,
    "phase_words": Words(
        {
            "alerted": mark("ongoing"),
            "updated": mark("ongoing"),
            "ended": mark("ended"),
            "withdrawn": mark("withdrawn"),
        }
    ),
    "life_words": Words(
        {
            "alive": mark("alive"),
            "silent": mark("silent"),
            "offline": mark("offline"),
            "never heard": mark("never heard"),
            "not checked yet": mark("not checked yet"),
        }
    ),
    "quantity_words": QUANTITY_WORDS,
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
        name = KIND_NAMES.get(kind, kind)
        return _("%(kind)s confirmed", kind=capitalized(name))
    if verdict and incident["cause"]:
        cause = CAUSE_WORDS.get(incident["cause"], incident["cause"])
        return f"{VERDICT_WORDS[verdict]}: {cause}"
    if verdict:
        return VERDICT_WORDS[verdict]
    if incident["withdrawn_at"] is not None:
        return _("Ruled out by later readings")
    return KIND_WORDS.get(kind, kind)


def capitalized(words: str) -> str:
    """Begin with a capital, and leave the rest as it is."""
    return f"{words[:1].upper()}{words[1:]}"


def answers_of(kind: str) -> dict[str, Any]:
    """Return the answers that people may give for a kind of incident, with their words."""
    choices = answer_choices(EventKind(kind))
    return {
        "respond": respond_words(kind),
        "verdicts": [(verdict.value, VERDICT_WORDS[verdict]) for verdict in choices.verdicts],
        "explained": choices.explained.value,
        "because": _BECAUSE[choices.explained],
        "causes": [(cause, capitalized(CAUSE_WORDS[cause])) for cause in choices.causes],
    }


_BECAUSE: Final = Words(
    {"false_alarm": mark("False alarm, caused by"), "fixed": mark("Fixed; the cause was")}
)
_HISTORY: Final = Words(
    {
        "opened": mark("Detected"),
        "joined": mark("Detected again"),
        "paged": mark("Asked to respond"),
        "escalated": mark("Asked the next people"),
        "notified": mark("Notice delivered"),
        "held": mark("Nobody notified yet"),
        "released": mark("Notified after all"),
        "acknowledged": mark("Responding"),
        "acknowledged again": mark("Responding, said again"),
        "acknowledged as well": mark("Also responding"),
        "acknowledged after it was over": mark("Responded after it was over"),
        "acknowledgement ran out": mark("Did not report in time"),
        "arrived": mark("On site"),
        "arrived as well": mark("Also on site"),
        "declined": mark("Cannot go"),
        "no response": mark("Nobody responded"),
        "reminded": mark("Reminded"),
        "could not remind": mark("Could not be reminded"),
        "nobody notified": mark("Nobody could be notified"),
        "nobody notified now": mark("Nobody could be notified now"),
        "next channel": mark("Sent by the next channel"),
        "severity": mark("Severity changed"),
        "level": mark("Alert threshold adjusted"),
    }
)
_SERVER: Final = re.compile(r"\b([a-z]+)-[0-9a-f]{6}\b")
_CHANNELS: Final = Words(
    {
        "ntfy": mark("push"),
        "ntfys": mark("push"),
        "pover": mark("push"),
        "mailto": mark("e-mail"),
        "mailtos": mark("e-mail"),
        "tgram": mark("Telegram"),
        "twilio": mark("text message"),
        "webpush": mark("push"),
        "workflows": mark("Teams"),
        "json": mark("web hook"),
        "jsons": mark("web hook"),
    }
)


_UNDELIVERED: Final = Words(
    {
        "bad_target": mark("the address is not complete"),
        "forbidden_scheme": mark("this kind of address is not allowed"),
        "forbidden_address": mark("the address is not allowed"),
        "target_gone": mark("the browser or account is gone"),
        "refused": mark("the service refused it"),
        "rate_limited": mark("the service asks to wait"),
        "quota": mark("the day's quota is used up"),
        "server_error": mark("the service has a fault"),
        "connection": mark("the service cannot be reached"),
        "timeout": mark("the service did not answer in time"),
        "busy": mark("earlier notices are still being sent"),
        "expired": mark("it was too old to be sent"),
        "library": mark("the program that sends it failed"),
    }
)


def undelivered(error: object) -> str:
    """Say why a notice was not delivered, by `NotifyReason` and detail as stored.

    >>> undelivered("refused: HTTP 401"), undelivered("connection: cannot be reached: OSError")
    ('the service refused it (HTTP 401)', 'the service cannot be reached')
    """
    reason, _sep, detail = str(error).partition(": ")
    if reason not in _UNDELIVERED:
        return said(str(error))
    status = f" ({detail})" if detail.startswith("HTTP ") else ""
    return _UNDELIVERED[reason] + status


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
        found = retell(what.removeprefix("feedback: "), STORED)
        return _("Found: %(found)s", found=found)
    return _HISTORY.get(what) or retell(capitalized(what), STORED)


_ZONE: ContextVar[str] = ContextVar("time zone of the request", default="")
"""Empty for the usual one."""


class Times:
    """Writes moments in the time zone of the site that a request is about, else the usual one."""

    def __init__(self, clock: Callable[[], float], zone: str) -> None:
        self._now = clock
        self._usual = ZoneInfo(zone)

    def use(self, zone: str) -> None:
        """Write moments in a time zone from now on; empty for the usual one."""
        _ZONE.set(zone)

    @property
    def zone(self) -> ZoneInfo:
        """Return the time zone of the request."""
        return ZoneInfo(_ZONE.get()) if _ZONE.get() else self._usual

    def clock(self, moment: float) -> str:
        """Write the time of day with seconds."""
        return self.local(moment).strftime("%H:%M:%S")

    def when(self, moment: float, zone: str = "") -> str:
        """Write the time of day, with the date unless it is today; `zone` of another site."""
        at = ZoneInfo(zone) if zone else self.zone
        local, now = (datetime.fromtimestamp(t, UTC).astimezone(at) for t in (moment, self._now()))
        text = f"{local:%H:%M}" if local.date() == now.date() else date_text(local, "moment")
        return text if at.key == self.zone.key else f"{text} {local:%Z}"

    def ago(self, moment: float) -> str:
        """Write the time since then, in the largest unit that fits."""
        return _duration(max(self._now() - moment, 0.0))

    def age(self, moment: float) -> Markup:
        """Write how old something is, as an element in which the page's script counts on."""
        seconds = max(self._now() - moment, 0.0)
        words = _("%(time)s ago", time=_duration(seconds))
        return Markup('<span data-age="{:.0f}">{}</span>').format(seconds, words)

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
    return channel_words(said(text))


def said(text: str) -> str:
    """Say a stored text in the reader's language."""
    return retell(text, STORED)


def script_messages(*scripts: str) -> Markup:
    """Return the messages of scripts for their own `_`; nothing in English, which they contain."""
    found: dict[str, str] = {}
    for script in scripts:
        found |= of_file(f"alerts/page/static/{script}")
    if not found:
        return Markup()
    return Markup('  <meta name="messages" content="{}">\n').format(json.dumps(found))


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
        said=said,
        undelivered=undelivered,
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
        answers_of=answers_of,
        max_note=MAX_NOTE,
        max_case_number=MAX_CASE_NUMBER,
        grafana_url=settings.grafana_url,
        language=language,
        states=STATES,
        script_messages=script_messages,
        languages=LANGUAGES,
        may_set=settings.config is not None,
        **_WORDS,
        **shared,
    )
    return made
