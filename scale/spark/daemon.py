"""Spark's Python daemon; it imports the workers' modules once, before forking."""

from __future__ import annotations

from pyspark.daemon import manager

import scale.spark.stream  # noqa: F401 - for the workers

if __name__ == "__main__":
    manager()
