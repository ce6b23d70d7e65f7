"""Errors of detection.

::

    ValueError
    ├── SnapshotError   bytes are not a snapshot of this format: rebuild from readings
    └── ModelError      a model file is damaged, or made for other features
"""


class SnapshotError(ValueError):
    """Bytes that are not a snapshot, or a snapshot of another format."""


class ModelError(ValueError):
    """A file that is not a model, or a model trained on other features."""
