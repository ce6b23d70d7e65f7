"""Build the Jinja environment, with the filters and words that all templates share."""

from __future__ import annotations

import json
import re
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import jinja2
import segno
from markupsafe import Markup, escape

from alerts.access.roles import ROLE_WORDS, Right, list_roles_with
from alerts.duty.reasons import RING_WORDS
from alerts.errors import UNDELIVERED_WORDS
from alerts.history_words import write_line
from alerts.incidents.incident import (
    ACTION_WORDS,
    CAUSE_WORDS,
    MAX_CASE_NUMBER,
    MAX_NOTE,
    VERDICT_WORDS,
    Verdict,
    find_answer_choices,
    write_answer,
)
from alerts.notify.evidence_picture import write_label
from alerts.notify.notice import KIND_WORDS, NOTICE_WORDS, write_respond_label
from alerts.secrets import write_channel
from detection.events import KIND_NAMES, EventKind
from detection.quantities import QUANTITIES, describe_unit
from language.messages import (
    ENGLISH,
    LANGUAGES,
    Words,
    _,
    capitalize,
    get_language,
    gettext,
    join_words,
    mark,
    plural,
    write_date,
)
from language.plain_text import replace_hidden
from reports.look import STATES
from reports.text import translate
from reports.wording import format_share
from storage.registry import format_floor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alerts.page.guard import Session
    from alerts.page.settings import StaffPageSettings

_HERE: Final = Path(__file__).parent
_JUST_NOW_S: Final = 30.0
_MINUTE_AGO_S: Final = 120.0
_SCRIPT_TEXT: Final = re.compile(r'\b_\("([^"\\]+)"')
SPANS: Final = {"day": 86_400.0, "week": 7 * 86_400.0, "month": 30 * 86_400.0}
_WORDS: Final = {
    "state": Words(
        {
            "needs_responder": mark("Needs a responder"),
            "responding": mark("Responding"),
            "answered": mark("Answered"),
            "nobody_responded": mark("Nobody responded"),
            "responded": mark("Not reported yet"),
            "suppressed": mark("Suppressed, recorded only"),
            "resolved": mark("Resolved"),
            "noted": mark("Noted, nobody was notified"),
        }
    ),
    "life": Words(
        {
            "alive": mark("reporting"),
            "silent": mark("silent"),
            "offline": mark("offline"),
            "never heard": mark("no reading yet"),
            "not checked yet": mark("not checked yet"),
        }
    ),
    "delivery": Words(
        {
            "sent": mark("sent"),
            "due": mark("waiting"),
            "leased": mark("being sent"),
            "failed": mark("failed"),
            "cancelled": mark("no longer needed"),
        }
    ),
}


@dataclass(frozen=True, slots=True)
class NavLink:
    """A navigation link, marked as current on its page, and on and below the paths `below`.

    On phones, links without an icon are in a menu.
    """

    path: str
    label: str
    below: tuple[str, ...] = ()
    right: Right | None = None
    icon: str = ""
    """SVG path elements, in a 24-unit view box."""
    of_sensors: bool = False
    """Whether people without access to incidents see the link."""

    def is_for(self, session: Session | None) -> bool:
        """Return whether a person can open the page; None means not signed in (demo only)."""
        if session is None:
            return self.right is None
        needed = self.right or (Right.SENSORS if self.of_sensors else Right.INCIDENTS)
        return session.may(needed) or (self.right is None and session.may(Right.INCIDENTS))

    def is_current(self, path: str) -> bool:
        """Return whether to mark the link as current on the page at `path`."""
        return path == self.path or any(f"{path}/".startswith(f"{one}/") for one in self.below)


NAV: Final = (
    NavLink(
        "/",
        mark("Rooms"),
        ("/rooms",),
        icon='<path d="M4 21V4h10v17M14 8l6 2v11M2 21h20" class="line"/>',
    ),
    NavLink(
        "/incidents",
        mark("Incidents"),
        ("/incidents",),
        icon='<path d="M12 3 22 20H2ZM12 10v5m0 2v1" class="line"/>',
    ),
    NavLink(
        "/duty",
        mark("Duty"),
        ("/duty",),
        icon='<path d="M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8M4 21c1-6 15-6 16 0" class="line"/>',
    ),
    NavLink("/silences", mark("Silences")),
    NavLink("/air", mark("Air")),
    NavLink("/figures", mark("Statistics")),
    NavLink("/reports", mark("Reports"), ("/reports",), Right.SUMMARY),
    NavLink(
        "/sensors",
        mark("Sensors"),
        ("/sensors", "/commission", "/levels", "/sign"),
        icon='<path d="M12 10v4m-5 3a7 7 0 1 1 10 0M4 20a11 11 0 1 1 16 0" class="line"/>',
        of_sensors=True,
    ),
    NavLink("/settings", mark("Settings"), ("/settings", "/tokens", "/people"), Right.DUTY),
)


def draw_icon(level: str) -> Markup:
    """Return the icon of a state, as SVG."""
    return Markup(
        '<svg class="icon" viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"'
        ' focusable="false">{}</svg>'
    ).format(Markup(STATES.get(level, STATES["silent"]).icon))  # noqa: S704 - ours


def write_headline(incident: Mapping[str, Any]) -> str:
    """Return an incident's kind, or its answer once there is one.

    >>> rows = {"kind": "vape", "cause": "spray"}
    >>> [write_headline({**rows, "verdict": v}) for v in (None, "false_alarm", "confirmed")]
    ['Vaping likely', 'False alarm: spray', 'Vaping confirmed']
    """
    kind: str = incident["kind"]
    verdict = incident["verdict"]
    if verdict == "confirmed":
        name = KIND_NAMES["vape" if kind == "possible" else kind]
        return _("%(kind)s confirmed", kind=capitalize(name))
    if verdict:
        return write_answer(verdict, incident["cause"] or "")
    return KIND_WORDS.get(kind, kind)


def write_status(incident: Mapping[str, Any], time: str) -> str:
    """Return an incident's headline; until there is an answer, with the time of its onset."""
    values = {"what": write_headline(incident), "time": time}
    if incident["verdict"]:
        return values["what"]
    if incident["status"] == "resolved":
        return _("%(what)s at %(time)s", **values)
    if incident["cleared_at"] is None:
        return _("%(what)s since %(time)s", **values)
    return _("%(what)s at %(time)s (over, not yet checked)", **values)


def list_answers(kind: str) -> dict[str, Any]:
    """Return the answers that people can give for a kind of incident, with their labels."""
    choices = find_answer_choices(EventKind(kind))
    return {
        "respond": write_respond_label(kind),
        "verdicts": [(verdict.value, VERDICT_WORDS[verdict]) for verdict in choices.verdicts],
        "explained": choices.explained.value,
        "because": _("Fixed; the cause was")
        if choices.explained is Verdict.FIXED
        else _("False alarm, caused by"),
        "causes": [(cause, capitalize(CAUSE_WORDS[cause])) for cause in choices.causes],
    }


def explain_undelivered(reason: str, detail: str = "") -> str:
    """Explain why a notice was not delivered, including the server's HTTP status.

    >>> explain_undelivered("refused", "HTTP 401")
    'the service refused it (HTTP 401)'
    """
    status = f" ({detail})" if detail.startswith("HTTP ") else ""
    return UNDELIVERED_WORDS[reason] + status


_ZONE: ContextVar[str] = ContextVar("time zone of the request", default="")
"""Empty means the default time zone."""


class Times:
    """Formats times in the zone of the request's site, or in the default zone."""

    def __init__(self, clock: Callable[[], float], zone: str) -> None:
        self._now = clock
        self._usual = ZoneInfo(zone)

    def use(self, zone: str) -> None:
        """Set the time zone for the rest of the request; empty means the default zone."""
        _ZONE.set(zone)

    @property
    def zone(self) -> ZoneInfo:
        """Return the time zone of the request."""
        return ZoneInfo(_ZONE.get()) if _ZONE.get() else self._usual

    def write_clock(
        self, moment: float, after: float | None = None, form: str = "clock with seconds"
    ) -> str:
        """Return the time of day, with the date if `after` is on another day."""
        local = self.to_local(moment)
        if after is not None and local.date() != (first := self.to_local(after)).date():
            form = "moment" if local.year == first.year else "short date and time"
        return write_date(local, form)

    def write_date(self, moment: float) -> str:
        """Return the date and the time of day."""
        return write_date(self.to_local(moment), "short date and time")

    def write_when(self, moment: float, zone: str = "") -> str:
        """Return the time of day, with the date if not today and the year if not this year.

        `zone` is the time zone of another site.
        """
        at = ZoneInfo(zone) if zone else self.zone
        local, now = (datetime.fromtimestamp(t, UTC).astimezone(at) for t in (moment, self._now()))
        form = "moment" if local.year == now.year else "short date and time"
        text = write_date(local, "clock" if local.date() == now.date() else form)
        return text if at.key == self.zone.key else f"{text} {local:%Z}"

    def write_ago(self, moment: float) -> str:
        """Return the time since a moment, in the largest unit that fits."""
        return _write_duration(max(self._now() - moment, 0.0))

    def write_time_ago(self, moment: float) -> str:
        """Return how long ago a moment was, in everyday words."""
        seconds = self._now() - moment
        if seconds < _JUST_NOW_S:
            return _("just now")
        if seconds < _MINUTE_AGO_S:
            return _("a minute ago")
        return _("%(time)s ago", time=_write_duration(seconds))

    def write_age(self, moment: float) -> Markup:
        """Return an age as an HTML element that the page's script keeps up to date."""
        seconds = max(self._now() - moment, 0.0)
        words = self.write_time_ago(moment)
        return Markup('<span data-age="{:.0f}">{}</span>').format(seconds, words)

    def to_local(self, moment: float) -> datetime:
        """Convert Unix seconds to the school's local time."""
        return datetime.fromtimestamp(moment, UTC).astimezone(self.zone)


def _write_duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def write_unreachable(sentence: str, phone: str) -> str:
    """Warn that alerts may not be going out, and give the number to call.

    >>> write_unreachable("Can't reach Plumewatch.", "555-0100")
    "Can't reach Plumewatch. Alerts may not be going out. Call 555-0100."
    """
    call = _("Call %(phone)s.", phone=phone) if phone else ""
    return " ".join(filter(None, (sentence, _("Alerts may not be going out."), call)))


def link_phone(text: str, phone: str) -> Markup:
    """Return the text as HTML, in which a tap on the phone number calls it.

    >>> link_phone("Call 555-0100.", "555-0100")
    Markup('Call <a href="tel:5550100">555-0100</a>.')
    """
    number = "".join(c for c in phone if c in "+0123456789")
    if not number:
        return escape(text)
    return escape(text).replace(phone, Markup('<a href="tel:{}">{}</a>').format(number, phone))


def write_script_messages() -> Markup:
    """Return a meta tag with the translations that `page.js` needs; empty in English."""
    if get_language() == ENGLISH:
        return Markup()
    found = {text: gettext(text) for text in _find_script_texts()}
    return Markup('  <meta name="messages" content="{}">\n').format(json.dumps(found))


@cache
def _find_script_texts() -> list[str]:
    return _SCRIPT_TEXT.findall((_HERE / "static/page.js").read_text(encoding="utf-8"))


def draw_code(text: str) -> str:
    """Return the QR code of a text, as a data URI."""
    return segno.make(text, error="m", micro=False).svg_data_uri(scale=4, border=4, light="#fff")


def write_measured(value: float, form: str, unit: str) -> str:
    """Format a value with its unit; a percent sign follows without a space.

    >>> write_measured(41.04, "%.1f", "%"), write_measured(5, "%+.1f", "µg/m³")
    ('41.0%', '+5.0 µg/m³')
    """
    return form % value + ("" if unit == "%" else " ") + unit


def build_environment(
    settings: StaffPageSettings, times: Times, **shared: Any
) -> jinja2.Environment:
    """Create the environment of all templates; `shared` contains additional globals."""

    def find_name(person: str) -> str:
        return settings.engine.policy.find_name(person)  # the policy changes at sign-ins

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        finalize=replace_hidden,
    )
    made.policies["ext.i18n.trimmed"] = True
    made.install_gettext_callables(gettext, plural, newstyle=True)  # type: ignore[attr-defined]
    made.filters.update(
        clock=times.write_clock,
        time=partial(times.write_clock, form="clock"),
        measured=write_measured,
        when=times.write_when,
        dated=times.write_date,
        ago=times.write_ago,
        age=times.write_age,
        iso=lambda t: datetime.fromtimestamp(t, UTC).isoformat(),
        path=lambda text: quote(text, safe=""),
        describe_unit=lambda quantity: capitalize(describe_unit(quantity)),
        floor_name=format_floor,
        label=write_label,
        headline=write_headline,
        status=write_status,
        channel=write_channel,
        word=translate,
        share=format_share,
        person=find_name,
        dial=partial(link_phone, phone=settings.help_phone),
    )
    made.globals.update(
        school=settings.school.name,
        banner=settings.banner,
        spans=tuple(SPANS),
        quantities=QUANTITIES,
        kind_names=KIND_NAMES,
        answers_of=list_answers,
        max_note=MAX_NOTE,
        max_case_number=MAX_CASE_NUMBER,
        grafana_url=settings.grafana_url,
        language=get_language,
        time_zone=lambda: times.zone.key,
        states=STATES,
        icon=draw_icon,
        help_phone=settings.help_phone,
        draw_code=draw_code,
        join_words=join_words,
        script_messages=write_script_messages,
        languages=LANGUAGES,
        cannot_reach=lambda: write_unreachable(_("Can't reach Plumewatch."), settings.help_phone),
        may_set=settings.config is not None,
        undelivered=explain_undelivered,
        line_words=partial(write_line, name_of=find_name),
        action_words=ACTION_WORDS,
        cause_words=CAUSE_WORDS,
        kind_words=KIND_WORDS,
        notice_words=NOTICE_WORDS,
        ring_words=RING_WORDS,
        verdict_words=VERDICT_WORDS,
        role_words=ROLE_WORDS,
        roles_with=list_roles_with,
        **{f"{name}_words": words for name, words in _WORDS.items()},
        **shared,
    )
    return made
