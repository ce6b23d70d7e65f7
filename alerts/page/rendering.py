"""Templates and the words in them: one environment, filled with what every page shares."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import jinja2

from alerts.incidents.incident import FALSE_CAUSES, MAX_CASE_NUMBER, MAX_NOTE
from alerts.notify.notice import KIND_WORDS
from detection.events import KIND_NAMES
from detection.quantities import QUANTITIES
from storage.registry import floor_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alerts.page.settings import StaffPageSettings

_HERE: Final = Path(__file__).parent
SPANS: Final = {"day": 86_400.0, "week": 7 * 86_400.0, "month": 30 * 86_400.0}
"""Spans to choose from, in seconds."""
VERDICT_WORDS: Final = {
    "confirmed": "Confirmed",
    "false_alarm": "False alarm",
    "nothing_found": "Nothing found",
    "test": "Test",
}
_WORDS: Final = {
    "verdict_words": VERDICT_WORDS,
    "status_words": {
        "open": "Open",
        "notified": "Staff notified",
        "acknowledged": "Acknowledged",
        "resolved": "Resolved",
    },
    "action_words": {
        "none": "Nothing",
        "referral": "Referral",
        "nurse": "Nurse",
        "facilities": "Facilities",
    },
    "notice_words": {
        "opened": "alert",
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


def environment(settings: StaffPageSettings, times: Times, **shared: Any) -> jinja2.Environment:
    """Create the environment of all templates; `shared` are further names that all of them know."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        clock=times.clock,
        when=times.when,
        ago=times.ago,
        ahead=times.ahead,
        iso=lambda t: datetime.fromtimestamp(t, UTC).isoformat(),
        path=lambda text: quote(text, safe=""),
        floor_name=floor_name,
        headline=headline,
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
        **_WORDS,
        **shared,
    )
    return made
