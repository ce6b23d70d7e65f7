"""Write the history of an incident in the reader's language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from alerts.duty.reasons import RING_WORDS, name_people, write_reason
from alerts.errors import UNDELIVERED_WORDS
from alerts.incidents.history import TITLES
from alerts.incidents.incident import ACTION_WORDS, CAUSE_WORDS, SUPPRESSIONS, VERDICT_WORDS
from alerts.notify.notice import NOTICE_WORDS
from alerts.policy import SEVERITY_WORDS
from alerts.secrets import write_channel
from language.messages import Words, _, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_REASON_WORDS: Final = Words(
    {
        "quiet": mark("no more activity"),
        "no_news": mark("no update from the detector"),
        "school_closed": mark("the school closed"),
        "missed": mark("nobody responded"),
        "as_before": mark("alerts as before"),
        "less_readily": mark("less sensitive"),
        "more_readily": mark("more sensitive"),
    }
)


def write_line(
    what: str, params: Mapping[str, Any], name_of: Callable[[str], str] = str
) -> tuple[str, str]:
    """Return the title and details of a history line; `name_of` looks up a person's name."""
    details = (_DETAILS[key](value, name_of) for key, value in params.items() if key in _DETAILS)
    return TITLES[what], ", ".join(filter(None, details))


def _list_asked(people: Any, name_of: Callable[[str], str]) -> str:
    return "; ".join(
        f"{name_of(one.params['person'])} ({write_reason(one, name_of)})" for one in people
    )


_DETAILS: Final[Mapping[str, Callable[[Any, Callable[[str], str]], str]]] = {
    "sensor": lambda sensor, _name: sensor,
    "confidence": lambda p, _name: (
        _("%(percent)s%% likely", percent=f"{100 * p:.0f}") if p < 1.0 else ""
    ),
    "severity": lambda code, _name: SEVERITY_WORDS[code],
    "action": lambda code, _name: ACTION_WORDS[code or "none"],
    "case_number": lambda number, _name: number or "—",
    "before": lambda code, _name: _(
        "was %(before)s",
        before=SEVERITY_WORDS.get(code) or VERDICT_WORDS.get(code) or ACTION_WORDS.get(code, code),
    ),
    "again_after": lambda incident, _name: _("repeat of %(incident)s", incident=incident),
    "mute": lambda mute, name: SUPPRESSIONS.write(name_people(mute, name)),
    "ring": lambda code, _name: RING_WORDS[code],
    "asked": _list_asked,
    "person": lambda person, name: name(person),
    "reason": lambda code, _name: NOTICE_WORDS[code],
    "channel": lambda channel, _name: _("via %(channel)s", channel=write_channel(channel)),
    "then": lambda channel, _name: _("then %(channel)s", channel=write_channel(channel)),
    "error": lambda code, _name: UNDELIVERED_WORDS[code],
    "because": lambda code, _name: _REASON_WORDS[code],
    "follows": lambda incident, _name: _("detected again: %(incident)s", incident=incident),
    "verdict": lambda code, _name: VERDICT_WORDS[code],
    "cause": lambda code, _name: CAUSE_WORDS[code],
    "note": lambda text, _name: text,
}
