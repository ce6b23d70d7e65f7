"""Time series of readings (`series`), their averages, and records."""

from storage.timeseries.series import Aggregate, LatestReading, Series

__all__ = ["Aggregate", "LatestReading", "Series"]
