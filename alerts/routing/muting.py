"""What keeps an incident from being told: silences, and incidents that explain it (inhibition).

Both only say so; whoever asks records it. Nothing is dropped here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from alerts.errors import MatcherError
from alerts.routing.matchers import Matcher, all_match

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class SilenceState(StrEnum):
    """Where in its life a silence is; only an active one silences."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


def silence_state(starts_at: float, ends_at: float, now: float) -> SilenceState:
    """State of a silence over the half-open interval [starts_at, ends_at), Unix seconds.

    Examples
    --------
    >>> [silence_state(10, 20, now).value for now in (9.9, 10, 19.9, 20)]
    ['pending', 'active', 'active', 'expired']
    """
    if now < starts_at:
        return SilenceState.PENDING
    return SilenceState.ACTIVE if now < ends_at else SilenceState.EXPIRED


def check_silence(matchers: Iterable[Matcher]) -> None:
    """Refuse conditions that would silence everything.

    Raises
    ------
    MatcherError
        If there is no condition, or none that an absent label fails.
    """
    if all(matcher.matches({}) for matcher in matchers):
        raise MatcherError(
            'a silence needs a condition that an absent label fails, such as room="N2-boys"'
        )


@dataclass(frozen=True, slots=True)
class InhibitRule:
    """While an incident fulfils `source`, those that fulfil `target` are not told.

    Attributes
    ----------
    equal : tuple of str
        Labels in which both must agree; absent in both is agreement.
    """

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()

    def inhibits(self, source: Mapping[str, str], target: Mapping[str, str]) -> bool:
        """Tell whether one incident keeps the other from being told.

        One that fulfils both sides is not inhibited by another that does too, nor by itself.
        """
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
    """Labels of the first running incident that inhibits this one; None if none does.

    Parameters
    ----------
    labels : mapping
        Of the incident in question, which may be among `others`.
    others : iterable of mapping
        Of all running incidents, silenced and inhibited ones too.
    """
    running = tuple(others)
    for rule in rules:
        if not all_match(rule.target, labels):
            continue
        for other in running:
            if rule.inhibits(other, labels):
                return other
    return None
