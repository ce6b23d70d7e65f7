"""Time series of readings (`series`), their averages and the records beside them."""

from storage.timeseries.series import Aggregate, LatestReading, Series

__all__ = ["Aggregate", "LatestReading", "Series"]
