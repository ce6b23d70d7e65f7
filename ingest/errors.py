"""Errors of ingest.

::

    DecodeError              permanent: the same message is refused again
    +-- MessageRefusedError  the envelope: size, topic, depth, keys; nothing was parsed
    +-- PayloadError         the content: syntax, types, identity, time, nothing measured
    +-- GuardError           the conditions of a mapping do not hold: another decoder may read it

Every error carries a `reason` from a closed set, which is the metric label, the dead letter's
reason and the word after ``rejected:`` on the command line, and a `detail` of one line.

::

    BrokerError              transient when unreachable, permanent when refused
"""

from __future__ import annotations

from enum import StrEnum

from language.plain_text import escape

_DETAIL_LENGTH = 200


class Reason(StrEnum):
    """Closed set of reasons for refusing a message."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    TOO_MANY_KEYS = "too_many_keys"
    WRONG_TYPE = "wrong_type"
    BAD_TIME = "bad_time"
    BAD_TOPIC = "bad_topic"
    BAD_ID = "bad_id"
    ID_MISMATCH = "id_mismatch"
    BAD_FRAME = "bad_frame"
    UNKNOWN_TOPIC = "unknown_topic"
    UNKNOWN_DEVICE = "unknown_device"
    NOT_ALLOWED = "not_allowed"
    NO_MEASUREMENT = "no_measurement"
    GUARD_NOT_MET = "guard_not_met"
    DECODER_FAILED = "decoder_failed"


def one_line(text: str, length: int = _DETAIL_LENGTH) -> str:
    r"""Text with every control character and line break made visible, cut to `length`.

    >>> one_line("a\nb")
    'a\\nb'
    """
    line = escape(text[: 2 * length])
    return line if len(line) <= length else line[: length - 1] + "…"


class DecodeError(Exception):
    """A message that is refused: `reason` from the closed set, `detail` one line for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = one_line(detail)
        super().__init__(f"{reason}: {self.detail}")


class MessageRefusedError(DecodeError):
    """Refused before its content was parsed."""


class PayloadError(DecodeError):
    """Refused for its content."""


class GuardError(DecodeError):
    """Not of this mapping: one of its conditions does not hold."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.GUARD_NOT_MET, detail)


class BrokerReason(StrEnum):
    """Closed set of reasons why there is no connection to the broker."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"


class BrokerError(Exception):
    """No connection to the broker; `reason` says whether trying again can help."""

    def __init__(self, reason: BrokerReason, sentence: str) -> None:
        self.reason = reason
        super().__init__(sentence)


class RefusedError(Exception):
    """The input of a command cannot be read; the message says why."""
