"""Errors at scale, all permanent.

ScaleError
    HistoryError    a folder holds no history, or another one
    KafkaError      no server answers, or it has no such topic
"""

from __future__ import annotations

from ingest.errors import RefusedError


class ScaleError(RefusedError):
    """A permanent fault; the message says what and where."""


class HistoryError(ScaleError):
    """A folder holds no history, or one of another layout."""


class KafkaError(ScaleError):
    """No Kafka answers, or the topic is not there."""
