"""What can happen to an incident. `at` is in Unix seconds; `channel` is like ``"ntfy"``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from alerts.errors import FeedbackError
from alerts.incidents.incident import MAX_CASE_NUMBER, MAX_NOTE
from language.messages import defer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alerts.incidents.incident import ActionClass, Mute, Verdict
    from detection.events import Event

_CASE_NUMBER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9./_-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewIncident:
    """Data that the caller supplies when a detection opens an incident."""

    id: str
    room: str
    repeats: int = 0
    again_of: str = ""


@dataclass(frozen=True, slots=True)
class Detected:
    """The detector reported an event that opens or joins the incident.

    `mute` is the mute that applies, if any. `notifies` means that such events notify people.
    """

    event: Event
    at: float
    new: NewIncident | None = None
    mute: Mute | None = None
    notifies: bool = True


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; `mute` is as in `Detected`."""

    at: float
    mute: Mute | None = None


@dataclass(frozen=True, slots=True)
class AckExpired:
    """The acknowledgment expired without an answer."""

    at: float


@dataclass(frozen=True, slots=True)
class ChainEnded:
    """The last round of paging ended without a response."""

    at: float


@dataclass(frozen=True, slots=True)
class Delivered:
    """A page reached one person."""

    person: str
    channel: str
    at: float


@dataclass(frozen=True, slots=True)
class Response:
    """A person responded."""

    by: str
    at: float
    channel: str = ""


class Acknowledged(Response):
    """A person is on the way."""


class Arrived(Response):
    """A person is on site."""


class Declined(Response):
    """A person cannot go."""


@dataclass(frozen=True, slots=True)
class Resolved(Response):
    """A person ended the incident, or the program did for the reason in `because`.

    ``{"follows": ID}``: after an answer or the last round, a detection opened another incident.
    ``{"because": "school_closed"}``: the school of the room closed.
    """

    because: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Feedback:
    """A person reported what they found; raises `FeedbackError` if the note is too long."""

    by: str
    verdict: Verdict
    at: float
    cause: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.note) > MAX_NOTE:
            raise FeedbackError(defer("the note is longer than %(n)s characters", n=MAX_NOTE))


@dataclass(frozen=True, slots=True)
class ActionReported:
    """A person reported the action taken; raises `FeedbackError` for a malformed case number."""

    by: str
    action: ActionClass | None
    at: float
    case_number: str = ""

    def __post_init__(self) -> None:
        digits, letters = (sum(map(kind, self.case_number)) for kind in (str.isdigit, str.isalpha))
        if self.case_number and not (
            _CASE_NUMBER.fullmatch(self.case_number) and digits >= max(letters, 1)
        ):
            raise FeedbackError(
                defer(
                    "a case number has at most %(n)s letters, digits and . / - _, begins with a"
                    " letter or digit, and has no more letters than digits; do not enter names",
                    n=MAX_CASE_NUMBER,
                )
            )


Input = Detected | Tick | AckExpired | ChainEnded | Delivered | Response | Feedback | ActionReported
