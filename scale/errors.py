"""Errors of this package, all permanent.

RefusedError (ingest)
    HistoryError    a history cannot be read or continued
    KafkaError      no server answers, or it does not have the topic
"""

from __future__ import annotations

from ingest.errors import RefusedError


class HistoryError(RefusedError):
    """A folder contains no readable history, or the history cannot be continued."""


class KafkaError(RefusedError):
    """No Kafka server answers, or it does not have the topic."""
