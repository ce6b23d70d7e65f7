"""Errors of ingest.

::

    DecodeError              permanent: the same message would be rejected again
    +-- MessageRefusedError  rejected for its size, topic, depth, keys, or lack of permission
    +-- PayloadError         rejected for its content: syntax, types, identity, time, no values
    +-- GuardError           the conditions of a mapping do not hold; another decoder may read it

Every `DecodeError` has a `reason` from a closed set, and a `detail` of one line. The reason is also
the metric label, the dead letter's reason, and the word after ``rejected:`` on the command line.

::

    BrokerError              transient if the broker is unreachable, permanent if it refuses us
"""

from __future__ import annotations

from enum import StrEnum

from language.plain_text import escape

_DETAIL_LENGTH = 200


class Reason(StrEnum):
    """Reasons for rejecting a message; a closed set."""

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


def to_one_line(text: str, length: int = _DETAIL_LENGTH) -> str:
    r"""Escape control characters and line breaks, and cut the text to `length` characters.

    >>> to_one_line("a\nb")
    'a\\nb'
    """
    line = escape(text[: 2 * length])
    return line if len(line) <= length else line[: length - 1] + "…"


class DecodeError(Exception):
    """A message was rejected; `reason` is from a closed set, `detail` is one line for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = to_one_line(detail)
        super().__init__(f"{reason}: {self.detail}")


class MessageRefusedError(DecodeError):
    """The message was rejected before its content was parsed, or its sender has no permission."""


class PayloadError(DecodeError):
    """The message was rejected because of its content."""


class GuardError(DecodeError):
    """A condition of the mapping does not hold."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.GUARD_NOT_MET, detail)


class BrokerReason(StrEnum):
    """Reasons why there is no connection to the broker; a closed set."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"


class BrokerError(Exception):
    """There is no connection to the broker; `reason` shows whether a retry can help."""

    def __init__(self, reason: BrokerReason, sentence: str) -> None:
        self.reason = reason
        super().__init__(sentence)


class RefusedError(Exception):
    """A command refuses its input; the message explains why."""
