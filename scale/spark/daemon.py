"""Spark's Python daemon, which imports what its workers need once, before they are forked."""

from __future__ import annotations

from pyspark.daemon import manager

import scale.spark.stream  # noqa: F401 - for the workers

if __name__ == "__main__":
    manager()
