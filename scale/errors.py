"""Errors of this package, all permanent.

ScaleError
    HistoryError    a folder holds no history, or a different one
    KafkaError      no server answers, or it does not have the topic
"""

from __future__ import annotations

from ingest.errors import RefusedError


class ScaleError(RefusedError):
    """A permanent fault; the message says what is wrong and where."""


class HistoryError(ScaleError):
    """A folder holds no history, or one with a different layout."""


class KafkaError(ScaleError):
    """No Kafka server answers, or it does not have the topic."""
