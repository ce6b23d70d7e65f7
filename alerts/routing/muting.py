"""What mutes an incident: silences, and incidents that explain it (inhibition)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from alerts.errors import MatcherError
from alerts.routing.matchers import Matcher, all_match

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class SilenceState(StrEnum):
    """State of a silence; only an active one mutes."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


def silence_state(starts_at: float, ends_at: float, now: float) -> SilenceState:
    """Return the state of a silence over the half-open interval [starts_at, ends_at).

    >>> [silence_state(10, 20, now).value for now in (9.9, 10, 19.9, 20)]
    ['pending', 'active', 'active', 'expired']
    """
    if now < starts_at:
        return SilenceState.PENDING
    return SilenceState.ACTIVE if now < ends_at else SilenceState.EXPIRED


def check_silence(matchers: Iterable[Matcher]) -> None:
    """Raise MatcherError for matchers that would silence everything."""
    if all(matcher.matches({}) for matcher in matchers):
        raise MatcherError(
            'a silence needs a matcher that does not match an absent label, such as room="N2-boys"'
        )


@dataclass(frozen=True, slots=True)
class InhibitRule:
    """While an incident matches `source`, those that match `target` are muted.

    Both must agree in the labels `equal`; absent in both is agreement.
    """

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()

    def inhibits(self, source: Mapping[str, str], target: Mapping[str, str]) -> bool:
        """Whether one incident mutes another; not if both match both sides, nor itself."""
        if not all_match(self.target, target) or not all_match(self.source, source):
            return False
        if any(source.get(name, "") != target.get(name, "") for name in self.equal):
            return False
        return not (all_match(self.source, target) and all_match(self.target, source))


def inhibited_by(
    rules: Iterable[InhibitRule],
    labels: Mapping[str, str],
    others: Iterable[Mapping[str, str]],
) -> Mapping[str, str] | None:
    """Return the labels of the first running incident that inhibits this one; None without one."""
    running = tuple(others)
    return next(
        (other for rule in rules for other in running if rule.inhibits(other, labels)), None
    )
