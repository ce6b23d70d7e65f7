"""Why a person is notified: codes, and their sentences."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from language.dates import clocks
from language.messages import Sentences, Words, _, mark, ngettext

if TYPE_CHECKING:
    from language.messages import Fact


class RingName(StrEnum):
    """Which people are notified together."""

    NEAREST = "nearest"
    NEXT_NEAREST = "next_nearest"
    LEAD = "lead"
    CATCH_ALL = "catch_all"
    EVERYONE = "everyone"
    RESPONDER = "responder"
    NOBODY = "nobody"


class Reason(StrEnum):
    """Why a person is in a ring."""

    ALWAYS = "always"
    SHIFT = "shift"
    ADDED = "added"
    SUBSTITUTE = "substitute"
    LEAD = "lead"
    CATCH_ALL = "catch_all"
    LAST_RESORT = "last_resort"
    RESPONDED = "responded"


RING_WORDS: Final = Words(
    {
        RingName.NEAREST: mark("nearest"),
        RingName.NEXT_NEAREST: mark("next nearest"),
        RingName.LEAD: mark("building lead"),
        RingName.CATCH_ALL: mark("catch-all"),
        RingName.EVERYONE: mark("everyone"),
        RingName.RESPONDER: mark("responder"),
        RingName.NOBODY: mark("nobody"),
    }
)
_REASONS: Final = Sentences(
    {
        Reason.ALWAYS: mark("%(receiver)s, always on duty"),
        Reason.SHIFT: mark("shift %(shift)s, %(span)s until %(end)s"),
        Reason.ADDED: mark("shift %(shift)s, added until %(end)s"),
        Reason.SUBSTITUTE: mark("shift %(shift)s, for %(instead_of)s until %(end)s"),
        Reason.LEAD: mark("%(receiver)s, lead of %(building)s"),
        Reason.CATCH_ALL: mark("%(receiver)s, catch-all"),
        Reason.LAST_RESORT: mark("no receiver can be reached"),
        Reason.RESPONDED: mark("responded there at %(time)s"),
    },
    dict.fromkeys(("span", "end", "time"), lambda text, _params: clocks(text)),
)


def reason_text(reason: Fact) -> str:
    """Say why a person is notified, and how far away their zone is."""
    text, zones = _REASONS.of(reason), reason.params.get("zones")
    if not isinstance(zones, int):
        return text
    where = ngettext("%(n)d zone away", "%(n)d zones away", zones) if zones else _("here")
    return f"{text}, {where}"
