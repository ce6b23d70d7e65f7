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
from storage.registry import floor_name

if TYPE_CHECKING:
    from alerts.page.settings import StaffPageSettings

_HERE: Final = Path(__file__).parent
VERDICT_WORDS: Final = {
    "confirmed": "Confirmed",
    "false_alarm": "False alarm",
    "nothing_found": "Nothing found",
    "test": "Test",
}
ACTION_WORDS: Final = {
    "none": "Nothing",
    "referral": "Referral",
    "nurse": "Nurse",
    "facilities": "Facilities",
}
"""What followed, by class."""
STATUS_WORDS: Final = {
    "open": "Open",
    "notified": "Staff told",
    "acknowledged": "Taken",
    "resolved": "Over",
}
_NOTED_WORDS: Final = {
    "clock": "wrong clock",
    "fault": "faulty value",
    "unjudged": "out of order",
    "disputed": "perhaps forged",
    "cached": "repeated by a bridge",
    "simulated": "console test",
    "maintenance": "while cleaning itself",
    "undecoded": "not decoded by the network server",
    "bad_firmware": "firmware version refused",
}


class Times:
    """Moments in the school's own words."""

    def __init__(self, settings: StaffPageSettings) -> None:
        self._now = settings.clock
        self.zone = ZoneInfo(settings.engine.policy.zone)

    def clock(self, moment: float) -> str:
        """Wall clock with seconds."""
        return self._local(moment).strftime("%H:%M:%S")

    def when(self, moment: float) -> str:
        """Wall clock, with the day where it is not today."""
        local, today = self._local(moment), self._local(self._now())
        if local.date() == today.date():
            return local.strftime("%H:%M")
        return local.strftime("%a %-d %b %H:%M")

    def ago(self, moment: float) -> str:
        """How long ago, in the largest unit that fits."""
        return _span(max(self._now() - moment, 0.0))

    def ahead(self, moment: float) -> str:
        """How long until then, in the largest unit that fits."""
        return _span(max(moment - self._now(), 0.0))

    def _local(self, moment: float) -> datetime:
        return datetime.fromtimestamp(moment, UTC).astimezone(self.zone)


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def environment(settings: StaffPageSettings, times: Times, **shared: Any) -> jinja2.Environment:
    """Make the environment of all templates.

    Parameters
    ----------
    **shared
        Further names that every template knows.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = {m.id: m.name for m in settings.engine.policy.staff}
    made.filters.update(
        clock=times.clock,
        when=times.when,
        ago=times.ago,
        ahead=times.ahead,
        iso=lambda t: datetime.fromtimestamp(t, UTC).isoformat(),
        path=lambda text: quote(text, safe=""),
        floor_name=floor_name,
        person=lambda known: names.get(known, known),
    )
    made.globals.update(
        school=settings.school,
        kind_words=KIND_WORDS,
        verdict_words=VERDICT_WORDS,
        status_words=STATUS_WORDS,
        action_words=ACTION_WORDS,
        noted_words=_NOTED_WORDS,
        causes=FALSE_CAUSES,
        max_note=MAX_NOTE,
        max_case_number=MAX_CASE_NUMBER,
        grafana_url=settings.grafana_url,
        **shared,
    )
    return made
