"""Codes and texts that explain why a person is notified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from language.messages import Coded, Fact, Sentences, Words, _, mark, ngettext, write_clocks

if TYPE_CHECKING:
    from collections.abc import Callable


class RingName(Coded):
    """People who are notified together."""

    NEAREST = "nearest", mark("nearest")
    NEXT_NEAREST = "next_nearest", mark("next nearest")
    LEAD = "lead", mark("building lead")
    CATCH_ALL = "catch_all", mark("catch-all")
    EVERYONE = "everyone", mark("everyone")
    RESPONDER = "responder", mark("responder")
    NOBODY = "nobody", mark("nobody")


class Reason(Coded):
    """Why a person is in a ring."""

    ALWAYS = "always", mark("%(receiver)s, always on duty")
    SHIFT = "shift", mark("on shift until %(end)s")
    ADDED = "added", mark("added to the shift until %(end)s")
    SUBSTITUTE = "substitute", mark("for %(instead_of)s until %(end)s")
    LEAD = "lead", mark("%(receiver)s, lead of %(building)s")
    CATCH_ALL = "catch_all", mark("%(receiver)s, catch-all")
    LAST_RESORT = (
        "last_resort",
        mark("the receiver has nobody on duty with an address, so everyone is notified"),
    )
    RESPONDED = "responded", mark("responded there at %(time)s")


_RECEIVERS: Final = Words({"staff": mark("staff"), "facilities": mark("facilities")})
RING_WORDS: Final = Words(RingName.list_texts())
_REASONS: Final = Sentences(
    Reason.list_texts(),
    {
        "receiver": lambda receiver, _params: _RECEIVERS.get(receiver, receiver),
        **dict.fromkeys(("end", "time"), lambda text, _params: write_clocks(text)),
    },
)


def write_reason(reason: Fact, name_of: Callable[[str], str] = str) -> str:
    """Describe why a person is notified, and how far away their zone is."""
    text = _REASONS.write(name_people(reason, name_of))
    zones = reason.params.get("zones")
    if not isinstance(zones, int):
        return text
    where = ngettext("%(n)d zone away", "%(n)d zones away", zones) if zones else _("here")
    return f"{text}, {where}"


def name_people(fact: Fact, name_of: Callable[[str], str]) -> Fact:
    """Replace the ids of people in a fact by their names."""
    ids = {key: str(fact.params[key]) for key in ("instead_of", "owner") if key in fact.params}
    return Fact(fact.code, {**fact.params, **{key: name_of(one) for key, one in ids.items()}})
