"""Alerting errors.

::

    AlertError
    +-- SecretError               permanent: a secret cannot be read
    +-- UnknownIncidentError      permanent: there is no incident with this id
    +-- FeedbackError             permanent: the answer or follow-up is not valid
    +-- AnsweredError             permanent: somebody else gave a different answer
    +-- MatcherError              permanent: a matcher cannot be read
    +-- SilenceError              permanent: no such silence, or it is not allowed
    +-- ConfigFileError           permanent: the configuration file cannot be changed now
        +-- ConfigFaultsError     permanent: the change would leave faults
    +-- ProviderError             transient: the sign-in provider gave no usable answer
        +-- NotAuthenticatedError    permanent: it did not authenticate this person
    +-- NotifyError
        +-- PermanentNotifyError  sending it to the same target would fail again
        +-- TransientNotifyError  the same notice may succeed after `retry_after_s`

Messages never contain the address of a target, which is a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from language.messages import Coded, Message, Words, mark

if TYPE_CHECKING:
    from collections.abc import Sequence


class NotifyReason(Coded):
    """Why a notice was not delivered."""

    BAD_TARGET = "bad_target", mark("the address is not complete or cannot be used")
    FORBIDDEN_SCHEME = "forbidden_scheme", mark("this kind of address is not allowed")
    FORBIDDEN_ADDRESS = "forbidden_address", mark("the address is not allowed")
    TARGET_GONE = "target_gone", mark("the browser or account no longer exists")
    REFUSED = "refused", mark("the service refused it")
    RATE_LIMITED = "rate_limited", mark("the service asked to try again later")
    QUOTA = "quota", mark("the daily quota is used up")
    SERVER_ERROR = "server_error", mark("the service has a problem")
    CONNECTION = "connection", mark("the service cannot be reached")
    TIMEOUT = "timeout", mark("the service did not answer in time")
    BUSY = "busy", mark("earlier notices are still being sent")
    EXPIRED = "expired", mark("the notice was too old to send")
    LIBRARY = "library", mark("the process that sends notices failed")


UNDELIVERED_WORDS: Final = Words(NotifyReason.list_texts())


class AlertError(Exception):
    """Base class of all alerting errors."""


class SecretError(AlertError):
    """A secret cannot be read from where it is configured."""


class UnknownIncidentError(AlertError):
    """There is no incident with this id."""


class FeedbackError(AlertError):
    """The answer is not valid, or the follow-up is not valid or has no answer."""


class AnsweredError(AlertError):
    """Another person gave a different answer; `number` identifies it within the incident."""

    def __init__(self, number: int, person: str, at: float, verdict: str, cause: str) -> None:
        super().__init__(f"answered by {person}")
        self.number, self.person, self.at = number, person, at
        self.verdict, self.cause = verdict, cause


class MatcherError(AlertError):
    """A matcher cannot be read."""


class SilenceError(AlertError):
    """The silence doesn't exist, or it has these `faults`."""

    def __init__(self, *faults: Message) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


class ConfigFileError(AlertError):
    """The configuration file cannot be read or changed; the message is shown to people."""


class EntryFault(NamedTuple):
    """A configuration fault; `path` is like ``room.3.name``, and `place` is the same in words."""

    path: str
    value: str
    allowed: str
    place: str


class ConfigFaultsError(ConfigFileError):
    """The change would leave the configuration with these `faults`."""

    def __init__(self, faults: Sequence[EntryFault]) -> None:
        super().__init__("\n".join(f"{f.place}: {f.value}: {f.allowed}" for f in faults))
        self.faults = faults


class ProviderError(AlertError):
    """The sign-in provider gave no usable answer; `message` is shown to people."""

    def __init__(self, message: str, **values: object) -> None:
        self.message = Message(message, values)
        super().__init__(str(self.message))


class NotAuthenticatedError(ProviderError):
    """The provider did not authenticate the person, or its answer failed verification."""


class NotifyError(AlertError):
    """A notice was not delivered; `retry_after_s` is the wait that the provider asked for."""

    def __init__(
        self, reason: NotifyReason, detail: str = "", *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return ": ".join(filter(None, (UNDELIVERED_WORDS[self.reason], self.detail)))


class PermanentNotifyError(NotifyError):
    """Sending the same notice to the same target would fail again."""


class TransientNotifyError(NotifyError):
    """The same notice may succeed later."""
