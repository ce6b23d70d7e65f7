"""Errors of this package, all permanent.

RefusedError (ingest)
    HistoryError    a folder holds no history, or a different one
    KafkaError      no server answers, or it does not have the topic
"""

from __future__ import annotations

from ingest.errors import RefusedError


class HistoryError(RefusedError):
    """A folder contains no history, or one with a different layout."""


class KafkaError(RefusedError):
    """No Kafka server answers, or it does not have the topic."""
